//! Lines of `authorized_keys`, as far as a list of keys needs them.

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use sha2::{Digest, Sha256};

use crate::devctl::{Caller, Error};
use crate::plain::plain;

/// More than this is no list of one person's keys, and it is kept in the bastion's memory: in bytes and in lines.
const MOST: usize = 256 << 10;
const MOST_LINES: usize = 1000;

/// Keys that are given, or read from stdin where that is said.
pub(super) async fn read(caller: &mut Caller, given: Vec<String>) -> Result<Vec<String>, Error> {
    let mut lines = Vec::new();
    for key in given {
        match key.as_str() {
            "-" => lines.extend(sent(caller).await?),
            _ => lines.push(key),
        }
    }
    let mut keys: Vec<String> = Vec::new();
    for line in lines.iter().map(|line| line.trim()).filter(|line| says_something(line)) {
        if fingerprint(line).is_none() {
            let start: String = line.chars().take(40).collect();
            let text = format!(
                "`{start}` is not a public key; one begins like `ssh-ed25519 AAAA…` (cat ~/.ssh/id_ed25519.pub)"
            );
            return Err(Error::usage(plain(&text)));
        }
        if !keys.iter().any(|key| key == line) {
            keys.push(line.to_owned());
        }
    }
    Ok(keys)
}

/// The lines of stdin that say something.
async fn sent(caller: &mut Caller) -> Result<Vec<String>, Error> {
    let (mut lines, mut count, mut bytes) = (Vec::new(), 0, 0);
    while let Some(line) = caller.line().await? {
        count += 1;
        bytes += line.len() + 1;
        if count > MOST_LINES || bytes > MOST {
            return Err(Error::usage("that is more than a list of keys"));
        }
        if says_something(line.trim()) {
            lines.push(line);
        }
    }
    Ok(lines)
}

/// As in authorized_keys.
fn says_something(line: &str) -> bool {
    !line.is_empty() && !line.starts_with('#')
}

/// The fingerprint of the key in `line`, as `ssh-keygen -l` has it; none if there is none.
pub(super) fn fingerprint(line: &str) -> Option<String> {
    let (_, blob, _) = parts(line)?;
    Some(format!("SHA256:{}", BASE64_STANDARD_NO_PAD.encode(Sha256::digest(blob))))
}

/// `line` without the key itself, which nobody reads.
pub(super) fn without_body(line: &str) -> String {
    parts(line).map_or_else(|| line.to_owned(), |(before, _, after)| format!("{before} {after}").trim().to_owned())
}

/// What stands before the key's body, the body, and what stands after it.
fn parts(line: &str) -> Option<(&str, Vec<u8>, &str)> {
    let mut rest = line;
    loop {
        let word = rest.split_whitespace().next()?;
        let start = word.as_ptr() as usize - line.as_ptr() as usize;
        let end = start + word.len();
        // The body repeats, with its length in front, the algorithm that stands before it.
        if let Ok(body) = BASE64_STANDARD.decode(word)
            && let Some(algorithm) = line[..start].split_whitespace().next_back()
            && body.len() > 4 + algorithm.len()
            && body[..4] == u32::try_from(algorithm.len()).ok()?.to_be_bytes()
            && body[4..].starts_with(algorithm.as_bytes())
        {
            return Some((line[..start].trim(), body, line[end..].trim()));
        }
        rest = &line[end..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";
    const FINGERPRINT: &str = "SHA256:UCUiLr7Pjs9wFFJMDByLgc3NrtdU344OgUM45wZPcIQ";

    #[test]
    fn a_key_is_known_by_its_fingerprint_whatever_stands_around_it() {
        let plain = fingerprint(KEY).unwrap();
        assert_eq!(plain, FINGERPRINT);
        let line = format!("from=\"10.0.0.0/8\",command=\"echo a b\" {KEY} alice of laptop two");
        assert_eq!(fingerprint(&line).as_ref(), Some(&plain));
        assert_eq!(without_body(&line), "from=\"10.0.0.0/8\",command=\"echo a b\" ssh-ed25519 alice of laptop two");
    }

    #[test]
    fn what_is_no_key_has_no_fingerprint() {
        for line in [
            "",
            "ssh-ed25519",
            "ssh-ed25519 AAAA",
            "hello world",
            "ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti",
        ] {
            assert_eq!(fingerprint(line), None, "{line}");
        }
    }
}
