//! What a client tells of its display (RFC 4254 §6.3.1).

use crate::workspace::X11;

/// Bytes of the longest name and of the longest proof: what is usual has 18 and 16.
const MAX_PROTOCOL: usize = 64;
const MAX_COOKIE: usize = 256;

/// The display, if it can be one.
pub(in crate::ssh) fn x11(single_connection: bool, protocol: &str, cookie: &str, screen: u32) -> Option<X11> {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let is_protocol = (1..=MAX_PROTOCOL).contains(&protocol.len()) && protocol.bytes().all(word);
    let is_hexadecimal = cookie.len().is_multiple_of(2) && cookie.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_cookie = (2..=2 * MAX_COOKIE).contains(&cookie.len()) && is_hexadecimal;
    (is_protocol && is_cookie).then(|| X11 {
        single_connection,
        protocol: protocol.to_owned(),
        cookie: cookie.to_owned(),
        screen,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_display_has_a_protocol_and_a_cookie() {
        let usual = "MIT-MAGIC-COOKIE-1";
        assert!(x11(false, usual, &"0Af9".repeat(8), 0).is_some());
        for (protocol, cookie) in [("", "00"), ("a b", "00"), (usual, ""), (usual, "0"), (usual, "0g"), (usual, "ä")] {
            assert_eq!(x11(false, protocol, cookie, 0), None, "{protocol} {cookie}");
        }
        assert_eq!(x11(false, usual, &"00".repeat(257), 0), None);
        assert_eq!(x11(false, &"x".repeat(65), "00", 0), None);
    }
}
