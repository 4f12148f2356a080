//! `--startup-script FILE`: the file is here, and whoever makes the DevServer is not.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;

use super::failure::{Failure, USAGE};
use crate::api::devserver::MAX_STARTUP_SCRIPT;

const OPTION: &[u8] = b"--startup-script";
/// What takes all words that follow, whatever they look like.
const REST: [&str; 2] = ["--command", "--"];

/// `words` with the file's text in place of its name.
pub(super) fn inline(words: Vec<OsString>) -> Result<Vec<OsString>, Failure> {
    if words.first().is_none_or(|verb| verb != "create" && verb != "update") {
        return Ok(words);
    }
    let mut inlined = Vec::with_capacity(words.len());
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        if REST.iter().any(|rest| word == *rest) {
            inlined.push(word);
            break;
        }
        let file = match word.as_bytes().strip_prefix(OPTION) {
            Some([]) => words.next(),
            Some([b'=', file @ ..]) => Some(OsStr::from_bytes(file).to_owned()),
            _ => None,
        };
        inlined.push(match file {
            Some(file) => format!("--startup-script-text={}", read(&file)?).into(),
            None => word,
        });
    }
    inlined.extend(words);
    Ok(inlined)
}

fn read(file: &OsStr) -> Result<String, Failure> {
    let shown = file.to_string_lossy();
    let failed = |error: io::Error| Failure::new(format!("failed to read the startup script {shown}: {error}"));
    let mut bytes = Vec::new();
    // A little more, to be told that it is too much.
    let most = MAX_STARTUP_SCRIPT as u64 + 1;
    let read = match file.as_bytes() {
        b"-" => io::stdin().take(most).read_to_end(&mut bytes),
        _ => std::fs::File::open(file).map_err(failed)?.take(most).read_to_end(&mut bytes),
    };
    read.map_err(failed)?;
    if bytes.len() > MAX_STARTUP_SCRIPT {
        let cure = "keep what is longer in the image or the home, and call it from a short one";
        return Err(Failure::new(format!("{shown} has more than 64 KiB")).cure(cure).status(USAGE));
    }
    String::from_utf8(bytes).map_err(|_| {
        Failure::new(format!("{shown} is not UTF-8 text")).cure("a script is; call a program from one").status(USAGE)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_takes_the_place_of_the_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("it's a file");
        std::fs::write(&file, "#!/bin/sh\necho 'x'\n").unwrap();
        let name = file.to_str().unwrap();
        let inline = |words: &[&str]| {
            let words = words.iter().map(OsString::from).collect();
            super::inline(words)
                .map(|words| words.into_iter().map(|word| word.into_string().unwrap()).collect::<Vec<_>>())
        };
        let text = "--startup-script-text=#!/bin/sh\necho 'x'\n";
        assert_eq!(inline(&["create", "x", "--startup-script", name, "-w"]).unwrap(), ["create", "x", text, "-w"]);
        assert_eq!(inline(&["update", &format!("--startup-script={name}")]).unwrap(), ["update", text]);
        // Words of somebody else's.
        for words in [
            &["exec", "x", "--startup-script", name][..],
            &["create", "x", "--command", "sh", "--startup-script", name],
            &["create", "x", "--startup-script-text", name],
            &["create", "x", "--startup-script"],
        ] {
            assert_eq!(inline(words).unwrap(), words);
        }
        let missing = inline(&["create", "--startup-script", "/nonexistent"]).unwrap_err().to_string();
        assert!(missing.contains("/nonexistent"), "{missing}");
        std::fs::write(&file, "x".repeat(64 * 1024 + 1)).unwrap();
        assert!(inline(&["create", "--startup-script", name]).unwrap_err().to_string().contains("64 KiB"));
    }
}
