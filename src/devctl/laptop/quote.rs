//! A command line for the bastion, which takes it apart as a shell would.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

/// The words as one line; each comes out as it went in.
pub(super) fn quote(words: &[OsString]) -> Vec<u8> {
    words.iter().map(|word| quote_word(word.as_bytes())).collect::<Vec<_>>().join(&b' ')
}

fn quote_word(word: &[u8]) -> Vec<u8> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_=+./:,@%^".contains(byte);
    if !word.is_empty() && word.iter().all(plain) {
        return word.to_owned();
    }
    // A script may be full of one kind of quotes: the other kind is the shorter.
    let is_special = |byte: u8| b"\"$`\\".contains(&byte);
    let singles = word.iter().filter(|byte| **byte == b'\'').count();
    let specials = word.iter().filter(|byte| is_special(**byte)).count();
    let doubled = singles * 3 > specials;
    let mark = if doubled { b'"' } else { b'\'' };
    let mut quoted = vec![mark];
    for byte in word {
        match *byte {
            b'\'' if !doubled => quoted.extend(br"'\''"),
            byte if doubled && is_special(byte) => quoted.extend([b'\\', byte]),
            byte => quoted.push(byte),
        }
    }
    quoted.push(mark);
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_the_same_words() {
        const SINGLES: &str = "it's `\"$B\" \\n!''''''";
        let words = ["create", "my dev", "", "it's", "--env=A=$B", "a\nb", "\\", "ä", "*", "~", SINGLES, "\"$\"'"];
        let line = quote(&words.map(OsString::from));
        let script = [b"for word in ".as_slice(), &line, b"; do printf '%s\\0' \"$word\"; done"].concat();
        let script = String::from_utf8(script).unwrap();
        let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        let read = String::from_utf8(output.stdout).unwrap();
        assert_eq!(read.split_terminator('\0').collect::<Vec<_>>(), words);
        assert_eq!(quote(&["'".repeat(1000).into()]).len(), 1002);
        assert_eq!(quote(&["list".into(), "-o".into(), "json".into()]), b"list -o json");
    }
}
