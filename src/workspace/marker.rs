//! Finds the line that run.sh writes to stderr when its child has ended, and takes it out of the stream.

use bytes::{Bytes, BytesMut};

/// Watches a stream for one line, in whatever pieces it comes.
pub(super) struct Marker {
    line: Vec<u8>,
    /// The end of what came so far that may yet become the line.
    held: BytesMut,
    found: bool,
}

impl Marker {
    pub(super) fn new(line: Vec<u8>) -> Self {
        Self { line, held: BytesMut::new(), found: false }
    }

    /// Returns what of `chunk`, and of what was held back before, is the program's own.
    pub(super) fn pass(&mut self, chunk: Bytes) -> Bytes {
        if self.found {
            return chunk;
        }
        if self.held.is_empty() && !chunk.contains(&self.line[0]) {
            return chunk;
        }
        self.held.extend_from_slice(&chunk);
        if let Some(at) = find(&self.held, &self.line) {
            self.found = true;
            let mut own = self.held.split_to(at);
            own.extend_from_slice(&self.held[self.line.len()..]);
            self.held.clear();
            return own.freeze();
        }
        let keep = (1..self.line.len().min(self.held.len() + 1)).rev().find(|n| self.held.ends_with(&self.line[..*n]));
        let own = self.held.len() - keep.unwrap_or(0);
        self.held.split_to(own).freeze()
    }

    pub(super) fn found(&self) -> bool {
        self.found
    }

    /// What was held back, when no more will come.
    pub(super) fn rest(&mut self) -> Bytes {
        self.held.split().freeze()
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Passes `stream` in pieces of `size` bytes and returns what came through.
    fn pass(stream: &[u8], size: usize) -> (Vec<u8>, bool) {
        let mut marker = Marker::new(b"abab!\n".to_vec());
        let mut own = Vec::new();
        for piece in stream.chunks(size) {
            own.extend_from_slice(&marker.pass(Bytes::copy_from_slice(piece)));
        }
        own.extend_from_slice(&marker.rest());
        (own, marker.found())
    }

    #[test]
    fn the_line_is_taken_out_however_it_is_cut() {
        for size in 1..20 {
            assert_eq!(
                pass(b"x ab abab abab!\nlate abab!\n", size),
                (b"x ab abab late abab!\n".to_vec(), true),
                "{size}"
            );
            assert_eq!(pass(b"ababab!\n", size), (b"ab".to_vec(), true), "{size}");
        }
    }

    #[test]
    fn a_stream_without_the_line_is_unchanged() {
        for size in 1..20 {
            assert_eq!(pass(b"nothing abab", size), (b"nothing abab".to_vec(), false), "{size}");
        }
    }
}
