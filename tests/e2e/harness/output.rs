//! A running `ssh` and what it leaves behind.

use std::io::Read;
use std::process::{ExitStatus, Output};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::ioctl_fionread;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::flood::hex;
use super::wait::{eventually_within, within};
use super::{Flood, Input, Ssh};

/// More of stdout than this is counted and hashed, but not kept.
const KEPT: usize = 16 * 1024 * 1024;

/// `ssh` while it runs. Dropped, it is killed.
pub(crate) struct Session {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Arc<Mutex<Vec<u8>>>,
    stderr: Arc<Mutex<Vec<u8>>>,
    sent: Arc<AtomicU64>,
    writer: Option<JoinHandle<()>>,
    out: JoinHandle<(u64, String)>,
    err: JoinHandle<()>,
    /// Sent or dropped: what is in stderr by now is all that is waited for.
    err_is_over: oneshot::Sender<()>,
    read_on: Option<oneshot::Sender<()>>,
    start: Instant,
    limit: Duration,
}

impl Session {
    pub(super) fn new(mut child: Child, ssh: Ssh) -> Self {
        let (stdout, stderr) = (Arc::default(), Arc::default());
        let sent = Arc::new(AtomicU64::new(0));
        let (read_on, may_read) = oneshot::channel();
        let read_on = ssh.reads_later.then_some(read_on);
        let out = child.stdout.take().expect("it is piped");
        let out = tokio::spawn(read_stdout(out, Arc::clone(&stdout), ssh.hashed, may_read));
        let err = child.stderr.take().expect("it is piped");
        let (err_is_over, is_over) = oneshot::channel();
        let err = tokio::spawn(read_stderr(err, Arc::clone(&stderr), is_over));
        let mut stdin = child.stdin.take();
        let writer = match ssh.input {
            Input::Nothing | Input::Held => None,
            Input::Bytes(bytes) => stdin.take().map(|stdin| {
                let sent = Arc::clone(&sent);
                tokio::spawn(write(stdin, std::io::Cursor::new(bytes), sent))
            }),
            Input::Flood(flood) => stdin.take().map(|stdin| tokio::spawn(write(stdin, flood, Arc::clone(&sent)))),
        };
        let (start, limit) = (Instant::now(), ssh.limit);
        Self { child, stdin, stdout, stderr, sent, writer, out, err, err_is_over, read_on, start, limit }
    }

    /// Waits until stderr holds `text`.
    pub(crate) async fn says(&self, text: &str) -> Duration {
        eventually_within(self.limit, &format!("{text:?} on stderr"), async || {
            let over = self.err.is_finished();
            let stderr = self.stderr();
            assert!(!over || stderr.contains(text), "ssh ended without {text:?} on stderr: {stderr}");
            stderr.contains(text).then(|| self.start.elapsed())
        })
        .await
    }

    /// Waits until stdout holds `text`.
    pub(crate) async fn prints(&self, text: &str) {
        eventually_within(self.limit, &format!("{text:?} on stdout"), async || {
            let over = self.out.is_finished();
            let stdout = self.stdout.lock().unwrap_or_else(PoisonError::into_inner);
            let there = String::from_utf8_lossy(&stdout).contains(text);
            assert!(there || !over, "ssh ended without {text:?} on stdout; stderr: {}", self.stderr());
            there.then_some(())
        })
        .await;
    }

    /// Waits until stdout has ended, which it may long before `ssh` does.
    pub(crate) async fn ends_stdout(&self) {
        eventually_within(self.limit, "the end of stdout", async || self.out.is_finished().then_some(())).await;
    }

    /// Writes to a stdin that is held open.
    pub(crate) async fn types(&mut self, text: &str) {
        let stdin = self.stdin.as_mut().expect("the input is Held");
        stdin.write_all(text.as_bytes()).await.expect("ssh reads");
        stdin.flush().await.expect("ssh reads");
    }

    /// Its program, which prints what it reads, goes on.
    pub(crate) async fn echoes(&mut self, word: &str) {
        let line = format!("{word}\n");
        self.types(&line).await;
        self.prints(&line).await;
    }

    pub(crate) fn closes_stdin(&mut self) {
        self.stdin = None;
    }

    pub(crate) fn reads_on(&mut self) {
        self.read_on = None;
    }

    /// Bytes of the input that `ssh` has taken.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Waits until `ssh` takes no more input for a second, as the far end reads none, or has all of it.
    pub(crate) async fn stalls(&self) -> u64 {
        let mut last = (self.sent(), Instant::now());
        eventually_within(self.limit, "the stall", async || {
            if self.sent() != last.0 {
                last = (self.sent(), Instant::now());
            }
            (last.0 > 0 && last.1.elapsed() > Duration::from_secs(1)).then_some(last.0)
        })
        .await
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    pub(crate) fn stdout_is_empty(&self) -> bool {
        self.stdout.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("it is our child").is_none()
    }

    /// As `kill -9` does, or a laptop that lost its battery.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.expect("it is our child");
    }

    pub(crate) async fn finish(mut self) -> Finished {
        self.stdin = None;
        self.read_on = None;
        let left = self.limit.saturating_sub(self.start.elapsed());
        let waited = tokio::time::timeout(left, self.child.wait()).await;
        let Ok(status) = waited else {
            panic!("ssh still runs after {:?}, {} bytes sent; stderr: {}", self.limit, self.sent(), self.stderr());
        };
        let status = status.expect("it is our child");
        let took = self.start.elapsed();
        if let Some(writer) = self.writer {
            // Its pipe broke when ssh ended, if not before.
            within(Duration::from_secs(10), "the end of the input", writer).await.expect("it does not panic");
        }
        // ssh's children, a control master for one, may hold its pipes for longer.
        let (length, sha256) = within(self.limit, "the end of stdout", self.out).await.expect("it does not panic");
        if tokio::time::timeout(Duration::from_secs(2), &mut self.err).await.is_err() {
            let _ = self.err_is_over.send(());
            within(self.limit, "what ssh wrote on stderr", self.err).await.expect("it does not panic");
        }
        let stdout = std::mem::take(&mut *self.stdout.lock().unwrap_or_else(PoisonError::into_inner));
        let stderr = String::from_utf8_lossy(&self.stderr.lock().unwrap_or_else(PoisonError::into_inner)).into_owned();
        Finished { status, stdout, stderr, length, sha256, took }
    }
}

/// `ssh` when it has ended.
pub(crate) struct Finished {
    status: ExitStatus,
    stdout: Vec<u8>,
    stderr: String,
    length: u64,
    sha256: String,
    took: Duration,
}

impl Finished {
    /// Of a program other than `ssh`.
    pub(crate) fn of(output: Output, took: Duration) -> Self {
        let Output { status, stdout, stderr } = output;
        let (length, sha256) = (stdout.len() as u64, hex(&Sha256::digest(&stdout)));
        Self { status, stdout, stderr: String::from_utf8_lossy(&stderr).into_owned(), length, sha256, took }
    }

    /// Stdout is exactly `text`.
    #[track_caller]
    pub(crate) fn prints(&self, text: &str) -> &Self {
        assert_eq!(self.text(), text, "stdout; exit {:?}, stderr: {}", self.status.code(), self.stderr);
        self
    }

    /// A line of stdout begins with `text`.
    #[track_caller]
    pub(crate) fn prints_line(&self, text: &str) -> &Self {
        assert!(self.text().lines().any(|line| line.starts_with(text)), "no line {text:?} in {:?}", self.text());
        self
    }

    #[track_caller]
    pub(crate) fn prints_bytes(&self, bytes: &[u8]) -> &Self {
        assert!(
            self.length == bytes.len() as u64 && self.stdout == bytes,
            "{} other bytes: {}",
            self.length,
            self.stderr
        );
        self
    }

    /// Stdout, hashed, is all of `flood`.
    #[track_caller]
    pub(crate) fn prints_flood(&self, flood: &Flood) -> &Self {
        assert_eq!(self.length, flood.len(), "bytes on stdout; stderr: {}", self.stderr);
        assert_eq!(self.sha256, flood.sha256(), "digest of stdout");
        self
    }

    #[track_caller]
    pub(crate) fn prints_count(&self, bytes: u64) -> &Self {
        assert_eq!(self.length, bytes, "bytes on stdout; exit {:?}, stderr: {}", self.status.code(), self.stderr);
        self
    }

    /// Stderr contains `text`.
    #[track_caller]
    pub(crate) fn says(&self, text: &str) -> &Self {
        assert!(self.stderr.contains(text), "no {text:?} on stderr: {}", self.stderr);
        self
    }

    /// Stderr is exactly `text`.
    #[track_caller]
    pub(crate) fn says_exactly(&self, text: &str) -> &Self {
        assert_eq!(self.stderr, text, "stderr");
        self
    }

    #[track_caller]
    pub(crate) fn exits(&self, code: i32) -> &Self {
        assert_eq!(
            self.status.code(),
            Some(code),
            "exit status; stdout: {:?}; stderr: {}",
            self.start_of_text(),
            self.stderr
        );
        self
    }

    #[track_caller]
    pub(crate) fn fails(&self) -> &Self {
        assert!(!self.status.success(), "it succeeded; stdout: {:?}; stderr: {}", self.start_of_text(), self.stderr);
        self
    }

    #[track_caller]
    pub(crate) fn took_less_than(&self, limit: Duration) -> &Self {
        assert!(self.took < limit, "it took {:?}, not less than {limit:?}", self.took);
        self
    }

    pub(crate) fn succeeded(&self) -> bool {
        self.status.success()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    pub(crate) fn stderr(&self) -> &str {
        &self.stderr
    }

    fn start_of_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout[..self.stdout.len().min(500)]).into_owned()
    }
}

async fn write(mut stdin: ChildStdin, mut source: impl Read, sent: Arc<AtomicU64>) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let n = source.read(&mut buffer).expect("it reads from memory");
        // A program may end without having read all.
        if n == 0 || stdin.write_all(&buffer[..n]).await.is_err() {
            return;
        }
        sent.fetch_add(n as u64, Ordering::Relaxed);
    }
}

async fn read_stdout(
    mut pipe: ChildStdout,
    kept: Arc<Mutex<Vec<u8>>>,
    hashed: bool,
    may_read: oneshot::Receiver<()>,
) -> (u64, String) {
    // Never sent: it ends when the other half is dropped, at once or later.
    let _ = may_read.await;
    let (mut length, mut digest) = (0, Sha256::new());
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let n = match pipe.read(&mut buffer).await {
            Ok(0) | Err(_) => return (length, hex(&digest.finalize())),
            Ok(n) => n,
        };
        length += n as u64;
        if hashed {
            digest.update(&buffer[..n]);
        }
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        let room = KEPT.saturating_sub(kept.len()).min(n);
        kept.extend_from_slice(&buffer[..room]);
    }
}

async fn read_stderr(mut pipe: ChildStderr, kept: Arc<Mutex<Vec<u8>>>, mut is_over: oneshot::Receiver<()>) {
    let mut buffer = vec![0; 4096];
    let mut over = false;
    while !over || ioctl_fionread(&pipe).is_ok_and(|left| left > 0) {
        tokio::select! {
            read = pipe.read(&mut buffer) => match read {
                Ok(n @ 1..) => kept.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&buffer[..n]),
                Ok(0) | Err(_) => return,
            },
            _ = &mut is_over, if !over => over = true,
        }
    }
}
