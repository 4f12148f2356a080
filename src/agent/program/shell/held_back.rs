//! Where a piece of a terminal's output may end, so that a screen can be painted after it.

/// More is not held back: sequences are shorter, but for the strings of some.
const LONGEST: usize = 32;
const ESCAPE: u8 = 0x1b;
const BELL: u8 = 7;

/// How much of `output` is whole; the rest is the beginning of a sequence or of a letter.
pub(super) fn whole(output: &[u8]) -> usize {
    let near = output.len().saturating_sub(LONGEST);
    let sequence = output[near..].iter().rposition(|byte| *byte == ESCAPE).map(|at| near + at);
    match sequence.filter(|at| !is_whole(&output[at + 1..])) {
        Some(at) => at,
        None => output.len() - unfinished_letter(output),
    }
}

/// Whether what follows an escape is all of its sequence (ECMA-48).
fn is_whole(sequence: &[u8]) -> bool {
    match sequence {
        [] => false,
        [b'[', rest @ ..] => rest.iter().any(|byte| matches!(byte, 0x40..=0x7e)),
        [b']' | b'P' | b'X' | b'^' | b'_', rest @ ..] => rest.contains(&BELL),
        [0x20..=0x2f, rest @ ..] => rest.iter().any(|byte| matches!(byte, 0x30..=0x7e)),
        _ => true,
    }
}

/// The length of the last letter, if bytes of it are missing.
fn unfinished_letter(output: &[u8]) -> usize {
    for (there, byte) in output.iter().rev().take(3).enumerate().map(|(before, byte)| (before + 1, byte)) {
        let length = match byte {
            0x80..=0xbf => continue,
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => 1,
        };
        return if length > there { there } else { 0 };
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_ends_between_sequences_and_letters() {
        for output in ["\x1b[1;31m", "\x1b(B", "\x1b]0;title\x07", "ä", "€", "😀"] {
            let all = format!("ab{output}");
            assert_eq!(whole(all.as_bytes()), all.len(), "{output:?}");
            for at in 3..all.len() {
                assert_eq!(whole(&all.as_bytes()[..at]), 2, "{output:?} up to {at}");
            }
        }
        for output in ["", "text", "a漢", "\x1b7", "\x1b]0;t\x1b\\", "\x1b[mtext"] {
            assert_eq!(whole(output.as_bytes()), output.len(), "{output:?}");
        }
        assert_eq!(whole(b"x\x1b]0;t\x1b"), 6, "it is not known what this escape begins");
    }

    #[test]
    fn little_is_held_back() {
        let long = format!("\x1b]52;c;{}", "A".repeat(100));
        assert_eq!(whole(long.as_bytes()), long.len());
        assert_eq!(whole(b"\xe9\xe9\xe9\xe9 caf\xe9"), 8, "in another encoding a letter waits");
        assert_eq!(whole(b"\xbf\xbf\xbf\xbf"), 4);
    }
}
