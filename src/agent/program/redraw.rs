//! Makes a program that fills its terminal draw it anew, after something else was written over it.

use std::os::fd::AsFd;
use std::time::Duration;

use rustix::termios::{Winsize, tcgetwinsize, tcsetwinsize};
use tokio::sync::Notify;
use tokio::time::sleep;

use super::start::Held;

/// For so long the terminal is a row shorter: a program that was told of a size draws for that which it then finds, and
/// some do nothing if it is the one that they know.
pub(super) const MOMENT: Duration = Duration::from_millis(100);

/// Does so each time that it is asked for; never returns.
pub(super) async fn serve(asked: &Notify, held: &Held) {
    if let Held::Terminal(terminal) = held {
        loop {
            asked.notified().await;
            resize_for_a_moment(terminal).await;
        }
    }
    std::future::pending().await
}

async fn resize_for_a_moment(terminal: impl AsFd) {
    let Ok(size) = tcgetwinsize(&terminal) else { return };
    let Some(rows) = size.ws_row.checked_sub(1).filter(|rows| *rows > 0) else { return };
    if tcsetwinsize(&terminal, Winsize { ws_row: rows, ..size }).is_err() {
        return;
    }
    sleep(MOMENT).await;
    // Unless its user has resized it meanwhile.
    if tcgetwinsize(&terminal).is_ok_and(|now| (now.ws_row, now.ws_col) == (rows, size.ws_col)) {
        let _ = tcsetwinsize(&terminal, size);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    fn rows(pty: &pty_process::Pty) -> u16 {
        tcgetwinsize(pty).unwrap().ws_row
    }

    #[tokio::test]
    async fn the_size_is_another_for_a_moment_only() {
        let (pty, _pts) = pty_process::open().unwrap();
        pty.resize(pty_process::Size::new(24, 80)).unwrap();
        assert!(resize_for_a_moment(&pty).now_or_never().is_none());
        assert_eq!(rows(&pty), 23);
        pty.resize(pty_process::Size::new(24, 80)).unwrap();
        resize_for_a_moment(&pty).await;
        assert_eq!(rows(&pty), 24);
        let resized = async {
            tokio::task::yield_now().await;
            pty.resize(pty_process::Size::new(30, 80)).unwrap();
        };
        tokio::join!(resize_for_a_moment(&pty), resized);
        assert_eq!(rows(&pty), 30, "its user's word is the last");
    }
}
