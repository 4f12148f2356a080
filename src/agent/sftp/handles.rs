//! What a client has open.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::iter::Peekable;
use std::path::PathBuf;

use super::super::open_files;

/// Files that are open besides.
const OTHERS: u64 = 16;

/// The names in a folder.
pub(super) type Entries = Box<dyn Iterator<Item = io::Result<OsString>>>;

pub(super) enum Handle {
    File(File),
    /// With the names that were not told of yet.
    Folder {
        path: PathBuf,
        entries: Peekable<Entries>,
    },
}

/// More at once are refused.
pub(super) fn max() -> u64 {
    open_files::limit().saturating_sub(OTHERS)
}

#[derive(Default)]
pub(super) struct Handles {
    open: HashMap<u32, Handle>,
    next: u32,
}

impl Handles {
    /// None if there are too many.
    pub(super) fn insert(&mut self, handle: Handle) -> Option<[u8; 4]> {
        if self.open.len() as u64 >= max() {
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
