//! What lets nobody in, of what a user's object says of keys and accounts: by the same judgement as a login's.

use super::authorized_key::AuthorizedKey;
use super::options::Options;
use super::{Refusal, registry};
use crate::plain::{plain, shortened};

/// Which of `lines`, a user's `authorized_keys`, are not used, and why.
pub(crate) fn unusable_keys(lines: &[String]) -> Vec<String> {
    let wrong = |(number, line): (usize, &String)| {
        let (what, why) = match AuthorizedKey::parse(line)? {
            Err(why) => (String::new(), why),
            Ok(found) => match Options::parse(found.options) {
                Ok(_) => return None,
                Err(Refusal::Options(why)) => (named(&found), why),
                Err(other) => (named(&found), other.to_string()),
            },
        };
        Some(format!("line {number}{what}: {}", short(&why)))
    };
    (1..).zip(lines).filter_map(wrong).collect()
}

/// Whether no account at a code host can have that name.
pub(crate) fn is_unusable_account(name: &str) -> bool {
    !registry::is_account(name)
}

/// The start of what somebody wrote, as one line.
pub(crate) fn short(text: &str) -> String {
    shortened(&plain(text), LONGEST)
}

/// Which key it is. Of a line without one nothing is told: it may be anything, a private key even.
fn named(line: &AuthorizedKey<'_>) -> String {
    let algorithm = line.key.algorithm();
    let comment = String::from_utf8_lossy(line.key.comment().as_bytes()).into_owned();
    match comment.trim() {
        "" => format!(" ({})", algorithm.as_str()),
        comment => format!(" ({} {})", algorithm.as_str(), short(comment)),
    }
}

/// In characters: enough to find it again.
const LONGEST: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";

    fn told(lines: &[&str]) -> Vec<String> {
        unusable_keys(&lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn what_lets_somebody_in_or_is_meant_not_to_is_not_told() {
        let options = format!("restrict,from=\"10.0.0.0/8\",expiry-time=\"20200101\" {KEY} old");
        assert_eq!(told(&[KEY, "# a comment", "  ", &options]), [""; 0]);
    }

    #[test]
    fn a_line_is_told_by_its_number_and_its_key_by_type_and_comment() {
        let tunnel = format!("tunnel=\"1\" {KEY} alice@laptop");
        let time = format!("expiry-time=\"soon\" {KEY}");
        let told = told(&[KEY, &tunnel, "ssh-ed25519 nonsense", &time]);
        assert_eq!(told[0], "line 2 (ssh-ed25519 alice@laptop): tunnel is not supported");
        assert!(told[1].starts_with("line 3: not a public key: "), "{told:?}");
        assert_eq!(told[2], "line 4 (ssh-ed25519): expiry-time \"soon\" is not a valid time");
        assert_eq!(told.len(), 3);
    }

    #[test]
    fn neither_a_key_nor_what_plays_tricks_is_repeated() {
        let private = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAA\n";
        let body = "A".repeat(4000);
        let lines = [
            private,
            &format!("ssh-rsa {body}"),
            &body,
            &format!("{body} {KEY} \u{202e}{body}"),
            &format!("no-\x1bsuch {KEY} {body}"),
        ];
        for (told, line) in told(&lines).iter().zip(lines) {
            assert!(told.chars().count() < 300, "{line}: {told}");
            assert!(!told.contains("b3Blbn") && !told.contains(['\n', '\x1b', '\u{202e}']), "{told}");
        }
        assert_eq!(told(&lines).len(), 5);
    }
}
