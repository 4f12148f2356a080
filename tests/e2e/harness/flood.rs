//! Much input from little memory: pseudo-random bytes or lines of text, of which every block is different.

use std::io::Read;

use sha2::{Digest, Sha256};

const BLOCK: usize = 64 * 1024;
const STAMP: usize = 16;

/// `length` bytes; the same `seed` gives the same bytes.
#[derive(Clone)]
pub(crate) struct Flood {
    block: Vec<u8>,
    length: u64,
    position: u64,
}

impl Flood {
    /// All byte values.
    pub(crate) fn bytes(seed: u64, length: u64) -> Self {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let block = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        });
        Self { block: block.take(BLOCK / 8).flatten().collect(), length, position: 0 }
    }

    /// Lines of 64 bytes.
    pub(crate) fn lines(length: u64) -> Self {
        let line = format!("{:063}\n", 7);
        Self { block: line.repeat(BLOCK / line.len()).into_bytes(), length, position: 0 }
    }

    pub(crate) fn len(&self) -> u64 {
        self.length
    }

    /// The digest of all of it, in hex.
    pub(crate) fn sha256(&self) -> String {
        let mut digest = Sha256::new();
        let mut flood = Self { position: 0, ..self.clone() };
        let mut buffer = vec![0; BLOCK];
        loop {
            match flood.read(&mut buffer).expect("it reads from memory") {
                0 => return hex(&digest.finalize()),
                n => digest.update(&buffer[..n]),
            }
        }
    }
}

impl Read for Flood {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let at = usize::try_from(self.position % BLOCK as u64).expect("a block is small");
        if at == 0 {
            let stamp = format!("{:0STAMP$x}", self.position / BLOCK as u64);
            self.block[..STAMP].copy_from_slice(stamp.as_bytes());
        }
        let left = usize::try_from(self.length - self.position).unwrap_or(usize::MAX);
        let n = buffer.len().min(BLOCK - at).min(left);
        buffer[..n].copy_from_slice(&self.block[at..at + n]);
        self.position += n as u64;
        Ok(n)
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
