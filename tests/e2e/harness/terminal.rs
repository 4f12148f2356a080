//! `ssh` in a terminal that is emulated: what is asserted on is what a person would see.

use std::num::NonZeroU16;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pty_process::{OwnedWritePty, Size};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Child;
use tokio::task::JoinHandle;

use super::wait::{LIMIT, eventually, within};

/// Dropped, its `ssh` is killed.
pub(crate) struct Terminal {
    keyboard: OwnedWritePty,
    emulator: Arc<Mutex<vt100::Parser>>,
    child: Child,
    screen: JoinHandle<()>,
}

impl Terminal {
    pub(crate) fn start(command: pty_process::Command, rows: u16, columns: u16) -> Self {
        let (pty, pts) = pty_process::open().expect("there are ptys");
        pty.resize(Size::new(rows, columns)).expect("a pty has a size");
        let child = command.spawn(pts).expect("OpenSSH's client is installed");
        let (mut output, keyboard) = pty.into_split();
        let emulator = Arc::new(Mutex::new(vt100::Parser::new(size(rows), size(columns), 0)));
        let shown = Arc::clone(&emulator);
        let screen = tokio::spawn(async move {
            let mut buffer = vec![0; 4096];
            while let Ok(n @ 1..) = output.read(&mut buffer).await {
                shown.lock().unwrap_or_else(PoisonError::into_inner).process(&buffer[..n]);
            }
        });
        Self { keyboard, emulator, child, screen }
    }

    /// Presses these keys; Enter is `\r`.
    pub(crate) async fn types(&mut self, keys: &str) {
        let typed = self.keyboard.write_all(keys.as_bytes());
        within(Duration::from_secs(10), "the terminal takes keys", typed).await.expect("ssh reads its terminal");
    }

    pub(crate) fn resize(&mut self, rows: u16, columns: u16) {
        self.emulator().screen_mut().set_size(size(rows), size(columns));
        self.keyboard.resize(Size::new(rows, columns)).expect("a pty has a size");
    }

    /// Waits until a row holds `text`.
    pub(crate) async fn shows(&self, text: &str) {
        self.shows_rows(&format!("{text:?}"), |rows| rows.iter().any(|row| row.contains(text))).await;
    }

    /// Waits until a row is `text`, spaces around it aside.
    pub(crate) async fn shows_row(&self, text: &str) {
        self.shows_rows(&format!("a row {text:?}"), |rows| rows.iter().any(|row| row.trim() == text)).await;
    }

    /// Waits until the rows are as `condition` wants.
    pub(crate) async fn shows_rows(&self, what: &str, condition: impl Fn(&[String]) -> bool) {
        let seen = self.comes_to_show(LIMIT, condition).await;
        assert!(seen, "the terminal does not show {what}, but:\n{}", self.rows().join("\n").trim_end());
    }

    /// Whether the rows are as `condition` wants within `limit`.
    pub(crate) async fn comes_to_show(&self, limit: Duration, condition: impl Fn(&[String]) -> bool) -> bool {
        let deadline = Instant::now() + limit;
        let mut seen = condition(&self.rows());
        let mut over = false;
        while !seen && !over && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(30)).await;
            over = self.screen.is_finished();
            seen = condition(&self.rows());
        }
        seen
    }

    pub(crate) fn rows(&self) -> Vec<String> {
        let emulator = self.emulator();
        let columns = emulator.screen().size().1;
        emulator.screen().rows(0, columns.get()).collect()
    }

    pub(crate) fn is_full_screen(&self) -> bool {
        self.emulator().screen().alternate_screen()
    }

    /// Whether anything on it has a colour.
    pub(crate) fn has_colours(&self) -> bool {
        let emulator = self.emulator();
        let (rows, columns) = emulator.screen().size();
        let mut cells = (0..rows.get()).flat_map(|row| (0..columns.get()).map(move |column| (row, column)));
        cells.any(|(row, column)| {
            emulator.screen().cell(row, column).is_some_and(|cell| cell.fgcolor() != vt100::Color::Default)
        })
    }

    /// Waits for `ssh`'s own end.
    pub(crate) async fn exits(&mut self, code: i32) {
        let what = format!("the end of ssh; the terminal shows:\n{}", self.rows().join("\n").trim_end());
        let status = within(LIMIT, &what, self.child.wait()).await.expect("it is our child");
        assert_eq!(
            status.code(),
            Some(code),
            "exit status; the terminal shows:\n{}",
            self.rows().join("\n").trim_end()
        );
    }

    /// Waits for `ssh`'s own end, whatever its status.
    pub(crate) async fn ends(&mut self) {
        eventually("the end of ssh", async || self.child.try_wait().expect("it is our child").map(|_| ())).await;
    }

    pub(crate) async fn kill(mut self) {
        self.child.kill().await.expect("it is our child");
    }

    /// Closes the window that it is in: `ssh` is hung up, and ends.
    pub(crate) async fn closes_window(mut self) {
        let pid = self.child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
        kill_process(pid.expect("it runs"), Signal::HUP).expect("it is our child");
        self.ends().await;
    }

    fn emulator(&self) -> MutexGuard<'_, vt100::Parser> {
        self.emulator.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn size(cells: u16) -> NonZeroU16 {
    NonZeroU16::new(cells).expect("a terminal has a size")
}
