//! Keys and certificates that let nobody in (sshd_config(5), `RevokedKeys`): what a file says of them.

mod file;
mod krl;

pub(super) use file::{RevokedKeys, Version};
pub(super) use krl::Error as KrlError;

use std::collections::HashSet;
use std::ops::RangeInclusive;

use russh::keys::ssh_encoding::Encode;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Certificate, ssh_key};
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// Everything that is revoked. Keys are as they are on the wire.
#[derive(Debug, Default)]
struct Revoked {
    keys: HashSet<Vec<u8>>,
    sha1: HashSet<[u8; 20]>,
    sha256: HashSet<[u8; 32]>,
    certificates: Vec<Certificates>,
}

/// Certificates of one authority.
#[derive(Debug, Default)]
struct Certificates {
    /// None: of any.
    authority: Option<Vec<u8>>,
    serials: HashSet<u64>,
    ranges: Vec<RangeInclusive<u64>>,
    /// Each with the serial number of its lowest bit, which is in its last byte.
    bitmaps: Vec<(u64, Vec<u8>)>,
    key_ids: HashSet<Vec<u8>>,
}

impl Revoked {
    fn contains_key(&self, key: &KeyData) -> Result<bool, ssh_key::Error> {
        let key = key.encode_vec()?;
        Ok(self.keys.contains(&key)
            || self.sha1.contains(&<[u8; 20]>::from(Sha1::digest(&key)))
            || self.sha256.contains(&<[u8; 32]>::from(Sha256::digest(&key))))
    }

    /// Whether the certificate itself is; its key and its authority's are keys.
    fn contains_certificate(&self, certificate: &Certificate) -> Result<bool, ssh_key::Error> {
        let authority = certificate.signature_key().encode_vec()?;
        let is_its = |revoked: &&Certificates| revoked.authority.as_ref().is_none_or(|key| *key == authority);
        Ok(self.certificates.iter().filter(is_its).any(|revoked| revoked.contain(certificate)))
    }
}

impl Certificates {
    fn contain(&self, certificate: &Certificate) -> bool {
        let serial = certificate.serial();
        self.key_ids.contains(certificate.key_id().as_bytes())
            // Zero is what authorities write that do not count.
            || serial != 0
                && (self.serials.contains(&serial)
                    || self.ranges.iter().any(|range| range.contains(&serial))
                    || self.bitmaps.iter().any(|(lowest, bits)| is_set(bits, serial.checked_sub(*lowest))))
    }
}

/// Whether a big-endian bitmap has that bit.
fn is_set(bits: &[u8], bit: Option<u64>) -> bool {
    let byte = bit.and_then(|bit| bits.iter().rev().nth(usize::try_from(bit / 8).ok()?));
    byte.zip(bit).is_some_and(|(byte, bit)| byte >> (bit % 8) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use russh::keys::PrivateKey;
    use russh::keys::ssh_key::certificate::Builder;
    use russh::keys::ssh_key::private::Ed25519Keypair;

    use super::*;

    /// Made with `ssh-keygen -k -z 7 -s CA`, CA being the key of seed 1: serials 5, 100-200, 1000, 1002, 1003, 1005,
    /// 1009, 1010, 1012 and the greatest there is, the key id "lost laptop", and, of any CA, serial 42. Key 2 by
    /// itself, 3 by its SHA-1 and 4 by its SHA-256.
    const LIST: &[u8] = include_bytes!("ssh-keygen.krl");

    fn key(seed: u8) -> PrivateKey {
        PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32]))
    }

    fn is_revoked(authority: u8, serial: u64, key_id: &str) -> bool {
        let subject = key(9).public_key().key_data().clone();
        let mut builder = Builder::new(vec![7; 16], subject, 0, u64::MAX).unwrap();
        builder.serial(serial).unwrap().key_id(key_id).unwrap().valid_principal("alice").unwrap();
        krl::parse(LIST).unwrap().contains_certificate(&builder.sign(&key(authority)).unwrap()).unwrap()
    }

    #[test]
    fn keys_are_revoked_by_themselves_and_by_either_fingerprint() {
        let list = krl::parse(LIST).unwrap();
        let revoked = (1..=9).filter(|seed| list.contains_key(key(*seed).public_key().key_data()).unwrap());
        assert_eq!(revoked.collect::<Vec<_>>(), [2, 3, 4]);
    }

    #[test]
    fn certificates_are_revoked_by_serial_number() {
        let revoked: Vec<u64> = (0..2000).filter(|serial| is_revoked(1, *serial, "")).collect();
        let listed = [5, 42].into_iter().chain(100..=200).chain([1000, 1002, 1003, 1005, 1009, 1010, 1012]);
        let mut listed: Vec<u64> = listed.collect();
        listed.sort_unstable();
        assert_eq!(revoked, listed);
        assert!(is_revoked(1, u64::MAX, ""));
        assert!(!is_revoked(1, u64::MAX - 1, ""));
    }

    #[test]
    fn certificates_are_revoked_by_key_id() {
        assert!(is_revoked(1, 0, "lost laptop"));
        assert!(!is_revoked(1, 0, "lost laptop 2"));
    }

    #[test]
    fn another_authoritys_certificates_are_not_meant() {
        assert!(is_revoked(2, 42, ""));
        assert!(!is_revoked(2, 5, ""));
        assert!(!is_revoked(2, 7, "lost laptop"));
    }
}
