//! The pipes that a link comes and goes through.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::io::ioctl_fionread;
use rustix::pipe::{fcntl_getpipe_size, fcntl_setpipe_size};
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe;
use tokio::time::sleep;

/// Of what is written, one may be filled in part only: as the first, and as the last.
const UNFILLED: usize = 2 * 4096;
/// What is no longer is written without a look: somebody may wait for it, and one page more fills no pipe by itself.
const SHORT: usize = 4096;
/// Until a reader that reads is looked for again.
const REST: Duration = Duration::from_millis(1);

/// Lets `pipe` hold `bytes`. Above the user's limit for pipes that is refused; then it holds the usual 64 KiB.
pub(super) fn widen(pipe: impl AsFd, bytes: usize) {
    let _ = fcntl_setpipe_size(pipe, bytes);
}

/// How much may wait in a pipe of this size.
pub(super) fn most(pipe: impl AsFd) -> io::Result<usize> {
    Ok(fcntl_getpipe_size(pipe)?.saturating_sub(UNFILLED))
}

/// Writes all of `bytes`, and leaves room in the pipe, of which `most` is to be filled, as long as somebody reads: a
/// full one wakes its writer for each little that is taken, and containerd takes 4 KiB at a time.
pub(super) async fn write_all(pipe: &mut pipe::Sender, most: usize, mut bytes: &[u8]) -> io::Result<()> {
    if bytes.len() <= SHORT {
        return pipe.write_all(bytes).await;
    }
    let mut before = None;
    while !bytes.is_empty() {
        let waiting = ioctl_fionread(&*pipe)? as usize;
        let room = most.saturating_sub(waiting);
        if room > 0 && room >= bytes.len().min(most / 2) {
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            pipe.write_all(now).await?;
            (bytes, before) = (later, None);
        } else if before.replace(waiting) != Some(waiting) {
            sleep(REST).await;
        } else {
            return pipe.write_all(bytes).await;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn all_arrives_however_it_is_read() {
        for (holds, reads, pause) in [(4096, 100_000, 0), (65_536, 4096, 0), (262_144, 4096, 0), (65_536, 30_000, 5)] {
            let (mut sender, mut receiver) = pipe::pipe().unwrap();
            widen(&sender, holds);
            let sent: Vec<u8> = (0..700_001).map(|at| (at % 251) as u8).collect();
            let all = sent.clone();
            let writing = tokio::spawn(async move {
                let most = most(&sender).unwrap();
                for batch in all.chunks(98_304) {
                    write_all(&mut sender, most, batch).await.unwrap();
                }
            });
            let (mut came, mut piece) = (Vec::new(), vec![0; reads]);
            while let Ok(read @ 1..) = receiver.read(&mut piece).await {
                came.extend_from_slice(&piece[..read]);
                sleep(Duration::from_millis(pause)).await;
            }
            writing.await.unwrap();
            assert!(came == sent, "{} bytes, by {reads} from a pipe of {holds}", came.len());
        }
    }

    #[tokio::test]
    async fn room_is_left_for_as_long_as_somebody_reads() {
        let (mut sender, receiver) = pipe::pipe().unwrap();
        let holds = fcntl_getpipe_size(&sender).unwrap();
        let mut piece = vec![0; holds];
        let mut fullest = 0;
        let most = most(&sender).unwrap();
        let writing = tokio::spawn(async move { write_all(&mut sender, most, &vec![0; 4 * holds]).await });
        while !writing.is_finished() {
            fullest = fullest.max(ioctl_fionread(&receiver).unwrap() as usize);
            let _ = receiver.try_read(&mut piece[..8192]);
            tokio::task::yield_now().await;
        }
        assert!((1..holds).contains(&fullest), "{fullest} of {holds}");
    }
}
