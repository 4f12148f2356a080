//! What is read at once from a program or a connection, and kept until the bastion has it.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::carrier::GOOD_DATA;

/// Reads what there is, as much as fits into one message; empty at the end. Cancel safe.
pub(super) async fn read(source: &mut (impl AsyncRead + Unpin)) -> io::Result<Bytes> {
    let mut data = BytesMut::with_capacity(GOOD_DATA);
    source.read_buf(&mut data).await?;
    // A program may write a byte at a time to somebody who does not read: thousands of pieces, each in a buffer of its own.
    match data.len() < GOOD_DATA / 8 {
        true => Ok(Bytes::copy_from_slice(&data)),
        false => Ok(data.freeze()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn pieces_are_whole_whatever_their_size() {
        for size in [1, GOOD_DATA / 8 - 1, GOOD_DATA / 8, GOOD_DATA] {
            let bytes = vec![7; size];
            assert_eq!(read(&mut &bytes[..]).await.unwrap(), bytes);
        }
        assert!(read(&mut &[][..]).await.unwrap().is_empty());
    }
}
