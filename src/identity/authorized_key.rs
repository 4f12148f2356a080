//! One line of an `authorized_keys` file (sshd(8)).

use russh::keys::{Algorithm, PublicKey};

/// The key that `line` lets in, or why it lets none in. Comments and empty lines are `None`.
pub(super) fn parse(line: &str) -> Option<Result<PublicKey, String>> {
    let line = line.trim();
    let first = line.split_whitespace().next().filter(|word| !word.starts_with('#'))?;
    // Each option takes something from what a key may do (`from=`, `command=`, `restrict` …). One that is read over
    // would let more in than its author meant.
    if Algorithm::new(first).is_err() {
        return Some(Err(format!("key options are not supported: {first} …")));
    }
    Some(PublicKey::from_openssh(line).map_err(|error| format!("not a public key: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";

    #[test]
    fn a_key_with_or_without_comment_is_taken() {
        assert!(parse(KEY).unwrap().is_ok());
        assert!(parse(&format!("  {KEY} alice of laptop two ")).unwrap().is_ok());
    }

    #[test]
    fn a_key_with_options_is_refused() {
        for options in ["restrict", "from=\"10.0.0.0/8\"", "command=\"date -u\",no-pty"] {
            let refused = parse(&format!("{options} {KEY}")).unwrap().unwrap_err();
            assert!(refused.contains("not supported"), "{refused}");
        }
    }

    #[test]
    fn comments_are_nothing_and_nonsense_is_an_error() {
        assert!(parse("# nobody").is_none());
        assert!(parse("  ").is_none());
        assert!(parse("ssh-ed25519 nonsense").unwrap().is_err());
    }
}
