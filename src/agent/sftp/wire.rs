//! The types of draft-ietf-secsh-filexfer-02 §3–5 on the wire.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// A packet that is not what its type says.
#[derive(Debug, PartialEq)]
pub(crate) struct Malformed;

/// Reads the fields of a request in turn.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, size: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(size).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_| Malformed)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Malformed> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    pub(crate) fn string(&mut self) -> Result<&'a [u8], Malformed> {
        let size = self.u32()?;
        self.take(size as usize)
    }

    pub(crate) fn path(&mut self) -> Result<PathBuf, Malformed> {
        let bytes = self.string()?;
        match bytes {
            [] => Ok(".".into()),
            bytes if bytes.contains(&0) => Err(Malformed),
            bytes => Ok(OsString::from_vec(bytes.to_vec()).into()),
        }
    }

    pub(crate) fn attributes(&mut self) -> Result<Attributes, Malformed> {
        let flags = self.u32()?;
        let has = |flag: u32| flags & flag != 0;
        let mut attributes = Attributes::default();
        if has(SIZE) {
            attributes.size = Some(self.u64()?);
        }
        if has(OWNER) {
            attributes.owner = Some((self.u32()?, self.u32()?));
        }
        if has(PERMISSIONS) {
            attributes.permissions = Some(self.u32()?);
        }
        if has(TIMES) {
            attributes.times = Some((self.u32()?, self.u32()?));
        }
        if has(EXTENDED) {
            for _ in 0..self.u32()? {
                self.string()?;
                self.string()?;
            }
        }
        Ok(attributes)
    }
}

const SIZE: u32 = 1;
const OWNER: u32 = 2;
const PERMISSIONS: u32 = 4;
const TIMES: u32 = 8;
const EXTENDED: u32 = 0x8000_0000;

/// What is known, or to be set, of a file (§5).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Attributes {
    pub(crate) size: Option<u64>,
    /// uid and gid.
    pub(crate) owner: Option<(u32, u32)>,
    /// The mode, type included.
    pub(crate) permissions: Option<u32>,
    /// Last access and last change of its data, in seconds since 1970.
    pub(crate) times: Option<(u32, u32)>,
}

/// Writes packets one after the other.
#[derive(Default)]
pub(crate) struct Replies(pub(crate) Vec<u8>);

impl Replies {
    /// Adds a packet of `kind` whose fields `fill` adds.
    pub(crate) fn packet(&mut self, kind: u8, fill: impl FnOnce(&mut Self)) {
        let start = self.0.len();
        self.u32(0);
        self.byte(kind);
        fill(self);
        let size = (self.0.len() - start - 4) as u32;
        self.0[start..start + 4].copy_from_slice(&size.to_be_bytes());
    }

    pub(crate) fn byte(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub(crate) fn string(&mut self, value: &[u8]) {
        self.u32(value.len() as u32);
        self.0.extend_from_slice(value);
    }

    pub(crate) fn attributes(&mut self, attributes: &Attributes) {
        let Attributes { size, owner, permissions, times } = *attributes;
        let flag = |known: bool, flag: u32| if known { flag } else { 0 };
        self.u32(
            flag(size.is_some(), SIZE)
                | flag(owner.is_some(), OWNER)
                | flag(permissions.is_some(), PERMISSIONS)
                | flag(times.is_some(), TIMES),
        );
        if let Some(size) = size {
            self.u64(size);
        }
        if let Some((uid, gid)) = owner {
            self.u32(uid);
            self.u32(gid);
        }
        if let Some(mode) = permissions {
            self.u32(mode);
        }
        if let Some((accessed, changed)) = times {
            self.u32(accessed);
            self.u32(changed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_come_back() {
        let all =
            Attributes { size: Some(5 << 32), owner: Some((1, 2)), permissions: Some(0o644), times: Some((3, 4)) };
        for attributes in [all, Attributes::default(), Attributes { size: None, owner: None, ..all }] {
            let mut replies = Replies::default();
            replies.attributes(&attributes);
            assert_eq!(Fields(&replies.0).attributes(), Ok(attributes));
            for end in 0..replies.0.len() {
                assert_eq!(Fields(&replies.0[..end]).attributes(), Err(Malformed));
            }
        }
    }

    #[test]
    fn strings_end_where_the_packet_does() {
        assert_eq!(Fields(&[0, 0, 0, 3, b'a', b'b']).string(), Err(Malformed));
        assert_eq!(Fields(&[255; 8]).string(), Err(Malformed));
        assert_eq!(Fields(&[0, 0, 0, 2, b'a', 0]).path(), Err(Malformed));
    }
}
