//! `devctl cp`: files here, DevServers, and files in them.

use std::ffi::OsStr;

use clap_complete::engine::{CompletionCandidate, PathCompleter, ValueCompleter};

use super::ask;

/// What `begun` may become.
pub(super) fn complete(begun: &OsStr) -> Vec<CompletionCandidate> {
    match begun.to_str().and_then(remote) {
        Some((name, path)) => {
            let found = ask::paths(name, path).unwrap_or_default();
            // Whoever made a file chose its name; what plays tricks on terminals and shells is not offered.
            let fits = |path: &&String| !path.chars().any(char::is_control);
            found.iter().filter(fits).map(|path| candidate(name, path)).collect()
        }
        None => names(begun).into_iter().chain(local(begun)).collect(),
    }
}

/// Files here.
pub(super) fn local(begun: &OsStr) -> Vec<CompletionCandidate> {
    PathCompleter::any().complete(begun)
}

/// DevServers, each with the colon that makes a path of it.
fn names(begun: &OsStr) -> Vec<CompletionCandidate> {
    let Some(begun) = begun.to_str().filter(|begun| !begun.contains('/')) else { return Vec::new() };
    let names = ask::names("enterable").unwrap_or_default();
    let names = names.lines().filter(|name| name.starts_with(begun));
    names.map(|name| CompletionCandidate::new(format!("{name}:"))).collect()
}

/// The DevServer and the path in it; a slash before the colon makes it a path here, as scp has it.
fn remote(begun: &str) -> Option<(&str, &str)> {
    begun.split_once(':').filter(|(name, _)| !name.contains('/'))
}

fn candidate(name: &str, path: &str) -> CompletionCandidate {
    CompletionCandidate::new(format!("{name}:{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colon_makes_a_path_in_a_devserver() {
        assert_eq!(remote("gpu:data/a:b"), Some(("gpu", "data/a:b")));
        assert_eq!(remote(":x"), Some(("", "x")));
        assert_eq!(remote("./a:b"), None);
        assert_eq!(remote("plain"), None);
    }
}
