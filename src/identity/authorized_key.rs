//! One line of an `authorized_keys` file (sshd(8)).

use russh::keys::{Algorithm, PublicKey};

use super::options::find_unquoted;

/// A line that names a key.
#[derive(Debug)]
pub(super) struct AuthorizedKey<'a> {
    pub(super) key: PublicKey,
    /// What stands before the key, not looked at yet.
    pub(super) options: &'a str,
}

impl<'a> AuthorizedKey<'a> {
    /// Reads `line`. Comments and empty lines are `None`.
    pub(super) fn parse(line: &'a str) -> Option<Result<Self, String>> {
        let line = line.trim();
        let first = line.split_whitespace().next().filter(|word| !word.starts_with('#'))?;
        let (options, key) = match Algorithm::new(first) {
            // A private algorithm's name is any word with an `@` in it, and so may options be.
            Ok(known) if !matches!(known, Algorithm::Other(_)) => ("", line),
            _ => line.split_at(find_unquoted(line, &[' ', '\t']).unwrap_or(line.len())),
        };
        let key = PublicKey::from_openssh(key.trim_start()).map_err(|error| format!("not a public key: {error}"));
        Some(key.map(|key| Self { key, options }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";

    fn options(line: &str) -> &str {
        AuthorizedKey::parse(line).unwrap().unwrap().options
    }

    #[test]
    fn a_key_with_or_without_comment_is_taken() {
        assert_eq!(options(KEY), "");
        assert_eq!(AuthorizedKey::parse(&format!("  {KEY} alice of laptop two ")).unwrap().unwrap().options, "");
    }

    #[test]
    fn options_end_at_the_first_blank_outside_quotes() {
        let given = r#"command="echo \"a b\" c",no-pty"#;
        assert_eq!(options(&format!("{given} \t{KEY} alice")), given);
        assert_eq!(options(&format!("restrict {KEY}")), "restrict");
        let mail = r#"cert-authority,principals="alice@example.com""#;
        assert_eq!(options(&format!("{mail} {KEY}")), mail);
    }

    #[test]
    fn comments_are_nothing_and_nonsense_is_an_error() {
        assert!(AuthorizedKey::parse("# nobody").is_none());
        assert!(AuthorizedKey::parse("  ").is_none());
        for line in ["ssh-ed25519 nonsense", "restrict", "command=\"never ends ", &format!("\"{KEY}")] {
            assert!(AuthorizedKey::parse(line).unwrap().is_err(), "{line}");
        }
    }
}
