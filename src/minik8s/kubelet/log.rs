//! The last of what each container wrote.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
};
use tokio::io::{AsyncRead, AsyncReadExt};

const KEPT: usize = 256 << 10;

#[derive(Default)]
pub(super) struct Logs(Mutex<HashMap<String, VecDeque<u8>>>);

impl Logs {
    pub(super) fn read(&self, container: &str) -> Vec<u8> {
        let logs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        logs.get(container).map(|log| log.iter().copied().collect()).unwrap_or_default()
    }

    /// Takes in the stream until it ends.
    pub(super) async fn follow(&self, container: &str, mut from: impl AsyncRead + Unpin) {
        let mut buffer = vec![0; 8 << 10];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            let mut logs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let log = logs.entry(container.to_owned()).or_default();
            log.extend(&buffer[..count]);
            let excess = log.len().saturating_sub(KEPT);
            log.drain(..excess);
        }
    }
}
