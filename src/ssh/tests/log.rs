//! What the server tells whoever runs it.

use std::io;
use std::sync::{Arc, LazyLock, Mutex};

use tokio::sync::Notify;
use tokio::time::timeout;
use tracing::subscriber::DefaultGuard;
use tracing::{Dispatch, Level, subscriber};

use super::PATIENCE;

/// The log of one test: all of its tasks run on its thread.
pub(super) struct Log {
    text: Arc<Text>,
    _collecting: DefaultGuard,
}

#[derive(Default)]
struct Text {
    bytes: Mutex<Vec<u8>>,
    written: Notify,
}

struct Writer(Arc<Text>);

impl io::Write for Writer {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.bytes.lock().unwrap().extend_from_slice(data);
        self.0.written.notify_waiters();
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// With one subscriber alone, tracing asks the thread that comes by a line first whether anybody wants it, and believes
/// that for all: another test's thread says no.
static SECOND: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(tracing_subscriber::registry()));

impl Log {
    /// Collects from now on.
    pub(super) fn collect() -> Self {
        LazyLock::force(&SECOND);
        let text = Arc::<Text>::default();
        let to = text.clone();
        let log = tracing_subscriber::fmt().with_max_level(Level::DEBUG).with_ansi(false);
        let collecting = subscriber::set_default(log.with_writer(move || Writer(to.clone())).finish());
        Self { text, _collecting: collecting }
    }

    /// The lines with all of these words, so far.
    pub(super) fn lines(&self, words: &[&str]) -> Vec<String> {
        let text = String::from_utf8(self.text.bytes.lock().unwrap().clone()).unwrap();
        let has_all = |line: &&str| words.iter().all(|word| line.contains(word));
        text.lines().filter(has_all).map(str::to_owned).collect()
    }

    /// Waits for a line with all of these words.
    pub(super) async fn tells(&self, words: &[&str]) {
        let told = async {
            loop {
                let written = self.text.written.notified();
                if !self.lines(words).is_empty() {
                    return;
                }
                written.await;
            }
        };
        timeout(PATIENCE, told).await.unwrap_or_else(|_| panic!("{words:?} is in no line of {:#?}", self.lines(&[])));
    }
}
