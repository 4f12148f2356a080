//! What a client has open.

use std::collections::HashMap;
use std::fs::{File, ReadDir};
use std::path::PathBuf;

/// More at once are refused.
const MAX: usize = 1024;

pub(super) enum Handle {
    File(File),
    /// Entries that were not told of yet; `.` and `..` come first.
    Folder {
        path: PathBuf,
        dots: Vec<&'static str>,
        entries: ReadDir,
    },
}

/// The largest number of open handles.
pub(super) const fn max() -> u64 {
    MAX as u64
}

#[derive(Default)]
pub(super) struct Handles {
    open: HashMap<u32, Handle>,
    next: u32,
}

impl Handles {
    /// None if there are too many.
    pub(super) fn insert(&mut self, handle: Handle) -> Option<[u8; 4]> {
        if self.open.len() >= MAX {
            return None;
        }
        while self.open.contains_key(&self.next) {
            self.next = self.next.wrapping_add(1);
        }
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        self.open.insert(number, handle);
        Some(number.to_be_bytes())
    }

    pub(super) fn get(&mut self, name: &[u8]) -> Option<&mut Handle> {
        self.open.get_mut(&u32::from_be_bytes(name.try_into().ok()?))
    }

    pub(super) fn file(&self, name: &[u8]) -> Option<&File> {
        match self.open.get(&u32::from_be_bytes(name.try_into().ok()?))? {
            Handle::File(file) => Some(file),
            Handle::Folder { .. } => None,
        }
    }

    pub(super) fn remove(&mut self, name: &[u8]) -> Option<Handle> {
        self.open.remove(&u32::from_be_bytes(name.try_into().ok()?))
    }
}
