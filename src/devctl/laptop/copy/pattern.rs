//! `devctl cp 'mydev:*.txt' .`: files that are meant by a pattern, which the shell here knows nothing of.

use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

use super::super::pattern::matches;
use super::super::sftp::Wrong;
use super::end::End;

/// The files that `path` means; itself if there is one of that name, or none that matches.
pub(super) async fn expand(end: &End, path: PathBuf) -> Result<Vec<PathBuf>, Wrong> {
    let is_pattern = |word: &OsStr| word.to_str().is_some_and(|word| word.contains(['*', '?']));
    if matches!(end, End::Here) || !is_pattern(path.as_os_str()) || is_there(end, &path).await? {
        return Ok(vec![path]);
    }
    let mut found = vec![PathBuf::new()];
    for part in path.components() {
        let pattern = match part {
            Component::Normal(word) if is_pattern(word) => word.to_string_lossy(),
            part => {
                found.iter_mut().for_each(|path| path.push(part));
                continue;
            }
        };
        let mut further = Vec::new();
        for folder in found {
            let listed = if folder.as_os_str().is_empty() { Path::new(".") } else { &folder };
            let names = match end.list(listed).await {
                Err(Wrong::Lost) => return Err(Wrong::Lost),
                names => names.unwrap_or_default(),
            };
            let names = names.iter().map(|(name, _)| name).filter(|name| is_meant(&pattern, name));
            further.extend(names.map(|name| folder.join(name)));
        }
        found = further;
    }
    let mut there = Vec::new();
    for path in found {
        if is_there(end, &path).await? {
            there.push(path);
        }
    }
    Ok(if there.is_empty() { vec![path] } else { there })
}

async fn is_there(end: &End, path: &Path) -> Result<bool, Wrong> {
    match end.stat(path).await {
        Err(Wrong::Lost) => Err(Wrong::Lost),
        found => Ok(found.is_ok()),
    }
}

/// What begins with a dot is hidden from patterns that do not, and a slash is in no name.
fn is_meant(pattern: &str, name: &OsStr) -> bool {
    let Some(name) = name.to_str().filter(|name| !name.is_empty() && !name.contains(['/', '\0'])) else { return false };
    !matches!(name, "." | "..") && (pattern.starts_with('.') || !name.starts_with('.')) && matches(pattern, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_shells_mean_by_them() {
        let meant = |pattern: &str, name: &str| is_meant(pattern, name.as_ref());
        assert!(meant("*.txt", "a.txt") && meant("?", "x") && meant(".*", ".bashrc"));
        for (pattern, name) in [("*", ".bashrc"), (".*", ".."), ("*", "../x"), ("*", "a/b"), ("?", "xy")] {
            assert!(!meant(pattern, name), "{pattern} {name}");
        }
    }
}
