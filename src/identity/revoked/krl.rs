//! OpenSSH's key revocation lists, as `ssh-keygen -k` writes them (OpenSSH's PROTOCOL.krl).

use std::collections::HashSet;
use std::ops::RangeInclusive;

use super::{Certificates, Revoked};

/// What every list begins with.
pub(super) const MAGIC: &[u8] = b"SSHKRL\n\0";
const VERSION: u32 = 1;

/// Why a list is not understood. Nothing of it is then used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("it ends too early, or a length in it is wrong")]
    Truncated,
    #[error("its format's version is {0}, not 1")]
    Version(u32),
    #[error("it has a section of the unknown type {0:#04x}")]
    Section(u8),
    #[error("it has the critical extension {0}, which is not understood")]
    Extension(String),
    #[error("a fingerprint in it has the wrong length")]
    Fingerprint,
    #[error("a range of serial numbers in it ends before it begins")]
    Range,
}

pub(super) fn parse(bytes: &[u8]) -> Result<Revoked, Error> {
    let mut rest = Reader(bytes.strip_prefix(MAGIC).ok_or(Error::Truncated)?);
    match rest.u32()? {
        VERSION => {}
        version => return Err(Error::Version(version)),
    }
    // The list's number, its date and flags: for those who make lists.
    for _ in 0..3 {
        rest.u64()?;
    }
    let (_reserved, _comment) = (rest.string()?, rest.string()?);
    let mut revoked = Revoked::default();
    while !rest.is_empty() {
        let (kind, mut section) = rest.section()?;
        match kind {
            0x01 => revoked.certificates.push(certificates(section)?),
            0x02 => revoked.keys.extend(section.strings()?),
            0x03 => revoked.sha1.extend(fingerprints(section)?),
            0x05 => revoked.sha256.extend(fingerprints(section)?),
            0xff => extension(section)?,
            kind => return Err(Error::Section(kind)),
        }
    }
    Ok(revoked)
}

fn certificates(mut section: Reader<'_>) -> Result<Certificates, Error> {
    let authority = section.string()?;
    let _reserved = section.string()?;
    let mut revoked =
        Certificates { authority: Some(authority.to_vec()).filter(|key| !key.is_empty()), ..Certificates::default() };
    while !section.is_empty() {
        let (kind, mut part) = section.section()?;
        match kind {
            0x20 => {
                while !part.is_empty() {
                    revoked.serials.insert(part.u64()?);
                }
            }
            0x21 => revoked.ranges.push(range(part)?),
            0x22 => revoked.bitmaps.push((part.u64()?, part.string()?.to_vec())),
            0x23 => revoked.key_ids.extend(part.strings()?),
            0x39 => extension(part)?,
            kind => return Err(Error::Section(kind)),
        }
    }
    Ok(revoked)
}

fn range(mut part: Reader<'_>) -> Result<RangeInclusive<u64>, Error> {
    let range = part.u64()?..=part.u64()?;
    if range.is_empty() { Err(Error::Range) } else { Ok(range) }
}

fn fingerprints<const N: usize>(mut section: Reader<'_>) -> Result<HashSet<[u8; N]>, Error> {
    let fixed = |fingerprint: Vec<u8>| fingerprint.try_into().map_err(|_| Error::Fingerprint);
    section.strings()?.into_iter().map(fixed).collect()
}

/// One that is not critical may be ignored.
fn extension(mut section: Reader<'_>) -> Result<(), Error> {
    let name = section.string()?;
    match section.u8()? {
        0 => Ok(()),
        _ => Err(Error::Extension(String::from_utf8_lossy(name).into_owned())),
    }
}

/// What is left of a list (RFC 4251 §5 has the types).
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (array, rest) = self.0.split_first_chunk().ok_or(Error::Truncated)?;
        self.0 = rest;
        Ok(*array)
    }

    fn u8(&mut self) -> Result<u8, Error> {
        self.array().map(u8::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, Error> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, Error> {
        self.array().map(u64::from_be_bytes)
    }

    fn string(&mut self) -> Result<&'a [u8], Error> {
        let length = usize::try_from(self.u32()?).map_err(|_| Error::Truncated)?;
        let (string, rest) = self.0.split_at_checked(length).ok_or(Error::Truncated)?;
        self.0 = rest;
        Ok(string)
    }

    /// All that is left.
    fn strings(&mut self) -> Result<Vec<Vec<u8>>, Error> {
        let mut strings = Vec::new();
        while !self.is_empty() {
            strings.push(self.string()?.to_vec());
        }
        Ok(strings)
    }

    fn section(&mut self) -> Result<(u8, Self), Error> {
        Ok((self.u8()?, Self(self.string()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(sections: &[u8]) -> Vec<u8> {
        [MAGIC, &VERSION.to_be_bytes(), &[0; 32], sections].concat()
    }

    fn section(kind: u8, content: &[u8]) -> Vec<u8> {
        [&[kind][..], &(content.len() as u32).to_be_bytes(), content].concat()
    }

    fn within_certificates(parts: &[u8]) -> Vec<u8> {
        section(1, &[&[0; 8], parts].concat())
    }

    #[test]
    fn every_cut_of_a_list_is_an_error_or_ends_with_a_section() {
        let whole = include_bytes!("ssh-keygen.krl");
        assert!(parse(whole).is_ok());
        let good = (0..whole.len()).filter(|length| parse(&whole[..*length]).is_ok()).count();
        // Before each of its five sections.
        assert_eq!(good, 5);
    }

    #[test]
    fn what_is_not_understood_revokes_the_whole_list() {
        assert!(parse(&list(&[])).is_ok());
        assert!(matches!(parse(&[MAGIC, &[0, 0, 0, 2]].concat()), Err(Error::Version(2))));
        assert!(matches!(parse(&list(&section(4, b""))), Err(Error::Section(4))));
        assert!(matches!(parse(&list(&within_certificates(&section(0x24, b"")))), Err(Error::Section(0x24))));
        assert!(matches!(parse(&list(&section(3, &section(0, &[0; 18])[1..]))), Err(Error::Fingerprint)));
        let backwards = section(0x21, &[[0xff; 8], [0; 8]].concat());
        assert!(matches!(parse(&list(&within_certificates(&backwards))), Err(Error::Range)));
    }

    #[test]
    fn an_extension_matters_if_it_is_critical() {
        let extension = |critical: u8| [&[0, 0, 0, 1, b'x', critical][..], &[0; 4]].concat();
        for (kind, wrap) in [(0xff, None), (0x39, Some(within_certificates))] {
            let list = |critical| {
                let section = section(kind, &extension(critical));
                list(&wrap.map_or(section.clone(), |wrap| wrap(&section)))
            };
            assert!(parse(&list(0)).is_ok());
            assert!(matches!(parse(&list(1)), Err(Error::Extension(name)) if name == "x"));
        }
    }
}
