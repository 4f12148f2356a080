//! Whether a server is who it was the last time (sshd(8), `SSH_KNOWN_HOSTS FILE FORMAT`).

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use russh::keys::PublicKeyOrCertificate;
use russh::keys::ssh_key::certificate::CertType;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, Certificate, HashAlg, PublicKey};
use sha1::Sha1;

use super::failure::Failure;
use super::pattern::any_matches;
use super::places;

/// What the files say of one host.
#[derive(Debug, Default)]
pub(super) struct KnownHosts {
    /// Of the host with its port, and of the host whatever its port.
    exact: Vec<Entry>,
    portless: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    marker: Marker,
    key: PublicKey,
    place: Place,
}

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) file: PathBuf,
    pub(super) line: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Marker {
    None,
    Authority,
    Revoked,
}

/// What a server's key is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Known,
    /// Nothing is known of this host.
    Unknown,
    /// Another key than the one at this place.
    Changed(Place),
    /// A key that must not be trusted any more.
    Revoked(Place),
}

/// The port that names go without.
const SSH: u16 = 22;

impl KnownHosts {
    pub(super) fn load(files: &[PathBuf], host: &str, port: u16) -> Result<Self, Failure> {
        let host = host.to_lowercase();
        let name = name(&host, port);
        let mut known = Self::default();
        for file in files {
            let Some(text) = places::read(file)? else { continue };
            for (number, line) in text.lines().enumerate() {
                let place = Place { file: file.clone(), line: number + 1 };
                let Some((hosts, entry)) = parse(line, place) else { continue };
                if is_of(hosts, &name) {
                    known.exact.push(entry);
                } else if port != SSH && is_of(hosts, &host) {
                    known.portless.push(entry);
                }
            }
        }
        Ok(known)
    }

    /// The kinds of key that the server should prove itself with: those that can be checked come first.
    pub(super) fn algorithms(&self) -> Vec<Algorithm> {
        let plain = self.exact.iter().chain(&self.portless).filter(|entry| entry.marker == Marker::None);
        let mut algorithms = Vec::new();
        for algorithm in plain.flat_map(|entry| signing(entry.key.algorithm())) {
            if !algorithms.contains(&algorithm) {
                algorithms.push(algorithm);
            }
        }
        algorithms
    }

    /// Whether a certificate of this host can be checked.
    pub(super) fn has_authority(&self) -> bool {
        self.exact.iter().chain(&self.portless).any(|entry| entry.marker == Marker::Authority)
    }

    /// Judges what the server called `host` proved to hold. `now` is in seconds since 1970.
    pub(super) fn judge(&self, proof: &PublicKeyOrCertificate, host: &str, now: u64) -> Verdict {
        let host = host.to_lowercase();
        match judge(&self.exact, proof, &host, now) {
            // As OpenSSH's client has it: one that is known by its name alone is so on any port.
            Verdict::Unknown => match judge(&self.portless, proof, &host, now) {
                Verdict::Changed(_) => Verdict::Unknown,
                verdict => verdict,
            },
            verdict => verdict,
        }
    }
}

fn judge(entries: &[Entry], proof: &PublicKeyOrCertificate, host: &str, now: u64) -> Verdict {
    let key = proof.public_key();
    let of = |marker: Marker| entries.iter().filter(move |entry| entry.marker == marker);
    let signer = proof.certificate().map(Certificate::signature_key);
    let revoked = |entry: &&Entry| [Some(key.key_data()), signer].contains(&Some(entry.key.key_data()));
    if let Some(entry) = of(Marker::Revoked).find(revoked) {
        return Verdict::Revoked(entry.place.clone());
    }
    if let Some(certificate) = proof.certificate()
        && of(Marker::Authority).any(|entry| vouches(&entry.key, certificate, host, now))
    {
        return Verdict::Known;
    }
    if of(Marker::None).any(|entry| entry.key.key_data() == key.key_data()) {
        return Verdict::Known;
    }
    // A server was asked for a key that is known. One that has only another now is not the same, whatever the kind.
    match of(Marker::None).next() {
        Some(entry) => Verdict::Changed(entry.place.clone()),
        None => Verdict::Unknown,
    }
}

/// Whether the authority says that whoever has this certificate is `host`, and says so now.
fn vouches(authority: &PublicKey, certificate: &Certificate, host: &str, now: u64) -> bool {
    certificate.cert_type() == CertType::Host
        && certificate.signature_key() == authority.key_data()
        && certificate.critical_options().is_empty()
        && any_matches(certificate.valid_principals().iter().map(String::as_str), host)
        && certificate.validate_at(now, [&authority.fingerprint(HashAlg::Sha256)]).is_ok()
}

/// What a key of this kind can sign with.
fn signing(algorithm: Algorithm) -> Vec<Algorithm> {
    match algorithm {
        Algorithm::Rsa { .. } => {
            [HashAlg::Sha512, HashAlg::Sha256].map(|hash| Algorithm::Rsa { hash: Some(hash) }).into()
        }
        other => vec![other],
    }
}

/// How files name a host.
pub(super) fn name(host: &str, port: u16) -> String {
    match port {
        SSH => host.to_owned(),
        port => format!("[{host}]:{port}"),
    }
}

/// The hosts that a line is about, and what it says. Lines that are not understood are left alone, as OpenSSH does.
fn parse(line: &str, place: Place) -> Option<(&str, Entry)> {
    let mut words = line.split_whitespace();
    let first = words.next().filter(|word| !word.starts_with('#'))?;
    let (marker, hosts) = match first {
        "@cert-authority" => (Marker::Authority, words.next()?),
        "@revoked" => (Marker::Revoked, words.next()?),
        hosts if !hosts.starts_with('@') => (Marker::None, hosts),
        _ => return None,
    };
    let (kind, key) = (words.next()?, words.next()?);
    let key = PublicKey::from_openssh(&format!("{kind} {key}")).ok()?;
    Some((hosts, Entry { marker, key, place }))
}

fn is_of(hosts: &str, name: &str) -> bool {
    match hosts.strip_prefix("|1|") {
        Some(hashed) => is_hash_of(hashed, name),
        None => any_matches(hosts.split(','), name),
    }
}

/// `SALT|HASH`, as `HashKnownHosts` writes it.
fn is_hash_of(hashed: &str, name: &str) -> bool {
    let decode = |text: &str| STANDARD.decode(text).ok();
    let Some((salt, hash)) = hashed.split_once('|').and_then(|(salt, hash)| Some((decode(salt)?, decode(hash)?)))
    else {
        return false;
    };
    Hmac::<Sha1>::new_from_slice(&salt).is_ok_and(|mac| mac.chain_update(name).verify_slice(&hash).is_ok())
}

/// Adds a line to the file: whoever is called so has this key.
pub(super) fn learn(file: &Path, host: &str, port: u16, key: &KeyData) -> Result<(), Failure> {
    let failed = |error: std::io::Error| places::failed("write", file, &error);
    let key = PublicKey::new(key.clone(), "").to_openssh().map_err(|error| Failure::new(error.to_string()))?;
    let missing_end = places::read(file)?.is_some_and(|text| !text.is_empty() && !text.ends_with('\n'));
    if let Some(folder) = file.parent() {
        places::make_folder(folder).map_err(failed)?;
    }
    let mut opened = std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(file).map_err(failed)?;
    let line = format!("{}{} {key}\n", if missing_end { "\n" } else { "" }, name(&host.to_lowercase(), port));
    opened.write_all(line.as_bytes()).map_err(failed)
}

#[cfg(test)]
mod tests {
    use russh::keys::PrivateKey;
    use russh::keys::ssh_key::certificate::Builder;
    use russh::keys::ssh_key::private::Ed25519Keypair;

    use super::*;

    const NOW: u64 = 1_000_000;

    fn key(seed: u8) -> PrivateKey {
        PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32]))
    }

    fn line(key: &PrivateKey) -> String {
        key.public_key().to_openssh().unwrap()
    }

    /// What the file `text` makes of `proof` by `host` at `port`.
    fn judged(text: &str, host: &str, port: u16, proof: impl Into<PublicKeyOrCertificate>) -> Verdict {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("known_hosts");
        std::fs::write(&file, text).unwrap();
        let known = KnownHosts::load(std::slice::from_ref(&file), host, port).unwrap();
        match known.judge(&proof.into(), host, NOW) {
            Verdict::Changed(place) => Verdict::Changed(Place { file: PathBuf::new(), ..place }),
            Verdict::Revoked(place) => Verdict::Revoked(Place { file: PathBuf::new(), ..place }),
            verdict => verdict,
        }
    }

    fn at(line: usize) -> Place {
        Place { file: PathBuf::new(), line }
    }

    fn certificate(authority: u8, names: &[&str], valid_before: u64, kind: CertType) -> Certificate {
        let subject = key(1).public_key().key_data().clone();
        let mut builder = Builder::new(vec![7; 16], subject, 0, valid_before).unwrap();
        builder.cert_type(kind).unwrap().key_id("x").unwrap();
        for name in names {
            builder.valid_principal(*name).unwrap();
        }
        if names.is_empty() {
            builder.all_principals_valid().unwrap();
        }
        builder.sign(&key(authority)).unwrap()
    }

    #[test]
    fn a_host_is_known_by_its_name_and_port() {
        let public = || key(1).public_key().clone();
        let text = format!("# ours\n\nother,bastion {}\n", line(&key(1)));
        assert_eq!(judged(&text, "bastion", 22, public()), Verdict::Known);
        assert_eq!(judged(&text, "Bastion", 22, public()), Verdict::Known);
        assert_eq!(judged(&text, "elsewhere", 22, public()), Verdict::Unknown);
        assert_eq!(judged(&text, "bastion", 2222, public()), Verdict::Known, "on any port");
        assert_eq!(judged(&text, "bastion", 2222, key(2).public_key().clone()), Verdict::Unknown);
        let text = format!("[bastion]:2222 {}\n", line(&key(1)));
        assert_eq!(judged(&text, "bastion", 2222, public()), Verdict::Known);
        assert_eq!(judged(&text, "bastion", 22, public()), Verdict::Unknown);
        let text = format!("*.example.org,!evil.example.org {}\n", line(&key(1)));
        assert_eq!(judged(&text, "a.example.org", 22, public()), Verdict::Known);
        assert_eq!(judged(&text, "evil.example.org", 22, public()), Verdict::Unknown);
    }

    #[test]
    fn a_hashed_name_is_found() {
        // ssh-keygen -H made the name of `example.com`.
        let text = format!("|1|O33ESRMWPVkMYIwJ1Uw+n877jTo=|nuuC5vEqXlEZ/8BXQR7m619W6Ak= {}\n", line(&key(1)));
        assert_eq!(judged(&text, "example.com", 22, key(1).public_key().clone()), Verdict::Known);
        assert_eq!(judged(&text, "example.org", 22, key(1).public_key().clone()), Verdict::Unknown);
    }

    #[test]
    fn another_key_is_never_taken() {
        let text = format!("x {0}\nbastion {0}\n", line(&key(1)));
        assert_eq!(judged(&text, "bastion", 22, key(2).public_key().clone()), Verdict::Changed(at(2)));
        let other_kind = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBHwf2HMM5TRXvo2SQJjsNkiDD5KqiiNjrGVv3UUh+mMT5RHxiRtOnlqvjhQtBq0VpmpCV/PwUdhOig4vkbqAcEc=";
        let other_kind = PublicKey::from_openssh(other_kind).unwrap();
        assert_eq!(judged(&text, "bastion", 22, other_kind), Verdict::Changed(at(2)));
        let text = format!("@revoked * {0}\nbastion {0}\n", line(&key(1)));
        assert_eq!(judged(&text, "bastion", 22, key(1).public_key().clone()), Verdict::Revoked(at(1)));
    }

    #[test]
    fn an_authority_vouches_for_what_it_signed() {
        let text = format!("@cert-authority *.alice {}\n", line(&key(9)));
        let names = ["dev.alice"];
        let good = certificate(9, &names, u64::MAX, CertType::Host);
        assert_eq!(judged(&text, "dev.alice", 22, good.clone()), Verdict::Known);
        assert_eq!(judged(&text, "dev.bob", 22, good.clone()), Verdict::Unknown);
        assert_eq!(judged(&text, "gpu.alice", 22, good.clone()), Verdict::Unknown, "it is not its name");
        for bad in [
            certificate(8, &names, u64::MAX, CertType::Host),
            certificate(9, &names, NOW - 1, CertType::Host),
            certificate(9, &names, u64::MAX, CertType::User),
            certificate(9, &[], u64::MAX, CertType::Host),
        ] {
            assert_eq!(judged(&text, "dev.alice", 22, bad), Verdict::Unknown);
        }
        let revoked = format!("{text}@revoked * {}\n", line(&key(9)));
        assert_eq!(judged(&revoked, "dev.alice", 22, good.clone()), Verdict::Revoked(at(2)));
        // The key within is as good as ever.
        assert_eq!(judged(&format!("dev.alice {}\n", line(&key(1))), "dev.alice", 22, good), Verdict::Known);
        // An authority's own key is no host's.
        assert_eq!(judged(&text, "dev.alice", 22, key(9).public_key().clone()), Verdict::Unknown);
    }

    #[test]
    fn a_learned_host_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ssh/known_hosts");
        learn(&file, "bastion", 2222, key(1).public_key().key_data()).unwrap();
        std::fs::write(&file, std::fs::read_to_string(&file).unwrap().trim_end()).unwrap();
        learn(&file, "other", 22, key(2).public_key().key_data()).unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        assert_eq!(text.lines().count(), 2, "{text}");
        assert_eq!(judged(&text, "bastion", 2222, key(1).public_key().clone()), Verdict::Known);
        assert_eq!(judged(&text, "other", 22, key(2).public_key().clone()), Verdict::Known);
    }
}
