//! Where files are: on this machine, or in a DevServer.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, FileTimes, Metadata, Permissions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use super::super::sftp::{Sftp, Wrong};
use crate::agent::sftp_wire::Attributes;
use crate::plain::plain;

/// One end of a copy.
#[derive(Clone)]
pub(super) enum End {
    Here,
    There {
        /// As she named it.
        name: String,
        sftp: Rc<Sftp>,
    },
}

/// What a path leads to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Folder,
    Other,
}

impl End {
    /// As she would write it.
    pub(super) fn show(&self, path: &Path) -> String {
        let path = plain(&path.to_string_lossy());
        match self {
            Self::Here => path,
            Self::There { name, .. } => format!("{name}:{path}"),
        }
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Here, Self::Here) => true,
            (Self::There { sftp, .. }, Self::There { sftp: other, .. }) => Rc::ptr_eq(sftp, other),
            _ => false,
        }
    }

    /// What a path leads to, links followed.
    pub(super) async fn stat(&self, path: &Path) -> Result<Attributes, Wrong> {
        match self {
            Self::Here => Ok(attributes(&fs::metadata(path)?)),
            Self::There { sftp, .. } => sftp.stat(path).await,
        }
    }

    pub(super) async fn is_folder(&self, path: &Path) -> Result<bool, Wrong> {
        match self.stat(path).await {
            Ok(attributes) => Ok(kind(&attributes) == Kind::Folder),
            Err(Wrong::Lost) => Err(Wrong::Lost),
            Err(_) => Ok(false),
        }
    }

    pub(super) async fn real_path(&self, path: &Path) -> Result<PathBuf, Wrong> {
        match self {
            Self::Here => Ok(fs::canonicalize(path)?),
            Self::There { sftp, .. } => sftp.real_path(path).await,
        }
    }

    /// The names in a folder, in order, as they are told; of files with what is known of them, if it came along.
    pub(super) async fn list(&self, path: &Path) -> Result<Vec<(OsString, Option<Attributes>)>, Wrong> {
        let mut names = match self {
            Self::Here => {
                let names = fs::read_dir(path)?.map(|entry| Ok((entry?.file_name(), None)));
                names.collect::<std::io::Result<Vec<_>>>()?
            }
            Self::There { sftp, .. } => {
                let is_file = |attributes: &Attributes| kind(attributes) == Kind::File;
                let names = sftp.list(path).await?.into_iter();
                names.map(|(name, attributes)| (name, Some(attributes).filter(is_file))).collect()
            }
        };
        names.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(names)
    }

    pub(super) async fn make_folder(&self, path: &Path, mode: u32) -> Result<(), Wrong> {
        match self {
            Self::Here => Ok(DirBuilder::new().mode(mode).create(path)?),
            Self::There { sftp, .. } => sftp.make_folder(path, mode).await,
        }
    }

    /// Gives a folder the mode and the times of another.
    pub(super) async fn keep(&self, path: &Path, attributes: &Attributes) -> Result<(), Wrong> {
        match self {
            Self::Here => keep(&File::open(path)?, attributes),
            Self::There { sftp, .. } => sftp.set(path, &kept(attributes)).await,
        }
    }
}

pub(super) fn kind(attributes: &Attributes) -> Kind {
    match attributes.permissions.map(|mode| mode & 0o170_000) {
        Some(0o040_000) => Kind::Folder,
        Some(0o100_000) => Kind::File,
        Some(_) | None => Kind::Other,
    }
}

/// What `-p` keeps. Neither owner nor setuid, which would be somebody else's.
pub(super) fn kept(attributes: &Attributes) -> Attributes {
    let permissions = attributes.permissions.map(|mode| mode & 0o777);
    Attributes { permissions, times: attributes.times, ..Attributes::default() }
}

pub(super) fn keep(file: &File, attributes: &Attributes) -> Result<(), Wrong> {
    let Attributes { permissions, times, .. } = kept(attributes);
    if let Some(mode) = permissions {
        file.set_permissions(Permissions::from_mode(mode))?;
    }
    if let Some((accessed, changed)) = times {
        let at = |seconds: u32| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.into());
        file.set_times(FileTimes::new().set_accessed(at(accessed)).set_modified(at(changed)))?;
    }
    Ok(())
}

fn attributes(metadata: &Metadata) -> Attributes {
    let seconds = |time: i64| u32::try_from(time.max(0)).unwrap_or(u32::MAX);
    Attributes {
        size: Some(metadata.size()),
        permissions: Some(metadata.mode()),
        times: Some((seconds(metadata.atime()), seconds(metadata.mtime()))),
        ..Attributes::default()
    }
}
