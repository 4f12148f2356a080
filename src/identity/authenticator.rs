//! Knows whose keys are whose, and whose word to take for it.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Certificate, HashAlg, PublicKey};
use tracing::{error, warn};

use super::options::Options;
use super::registry::{self, Registries};
use super::revoked::RevokedKeys;
use super::sources::Sources;
use super::{Config, Permissions, Refusal, certificate, key_file};
use crate::cache::Cache;
use crate::telemetry::chain;

/// A person who proved who she is. Only [`Authenticator::resolve`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    user: String,
    fingerprint: String,
    permissions: Permissions,
}

impl Identity {
    #[cfg(test)]
    pub(crate) fn for_test(user: &str, permissions: Permissions) -> Self {
        Self { user: user.to_owned(), fingerprint: String::new(), permissions }
    }

    /// The name of her user object, and what her namespace is named after.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The SHA-256 fingerprint of the key that proved it.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// What that key lets her do.
    pub fn permissions(&self) -> &Permissions {
        &self.permissions
    }
}

/// What is logged of a certificate's key id, in characters.
const MAX_KEY_ID: usize = 128;

/// What a client proves itself with.
#[derive(Clone, Copy, Debug)]
pub enum Credential<'a> {
    Key(&'a PublicKey),
    Certificate(&'a Certificate),
}

impl Credential<'_> {
    fn key(&self) -> &KeyData {
        match self {
            Self::Key(key) => key.key_data(),
            Self::Certificate(certificate) => certificate.public_key(),
        }
    }

    /// The SHA-256 fingerprint of the key.
    pub fn fingerprint(&self) -> String {
        self.key().fingerprint(HashAlg::Sha256).to_string()
    }

    /// For the log: the certificate's key id, which anybody may have written, its serial number and authority.
    pub fn certificate(&self) -> Option<String> {
        let Self::Certificate(certificate) = self else { return None };
        let authority = certificate.signature_key().fingerprint(HashAlg::Sha256);
        let key_id = certificate.key_id();
        let key_id = match key_id.char_indices().nth(MAX_KEY_ID) {
            Some((end, _)) => format!("{:?}…", &key_id[..end]),
            None => format!("{key_id:?}"),
        };
        Some(format!("{key_id} (serial {}) of {authority}", certificate.serial()))
    }

    /// The same, to keep.
    pub fn to_owned(&self) -> OwnedCredential {
        match *self {
            Self::Key(key) => OwnedCredential::Key(key.clone()),
            Self::Certificate(certificate) => OwnedCredential::Certificate(Box::new(certificate.clone())),
        }
    }
}

/// A credential that outlives its proof.
#[derive(Clone, Debug)]
pub enum OwnedCredential {
    Key(PublicKey),
    Certificate(Box<Certificate>),
}

impl OwnedCredential {
    pub fn borrow(&self) -> Credential<'_> {
        match self {
            Self::Key(key) => Credential::Key(key),
            Self::Certificate(certificate) => Credential::Certificate(certificate),
        }
    }
}

/// Whom a credential is good for, what it permits, and until when.
struct Grant {
    user: String,
    permissions: Permissions,
    until: Option<Timestamp>,
}

/// Why nobody could be let in.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("unusable key file")]
    KeyFile(#[from] key_file::Error),
    #[error("unusable code host")]
    CodeHost(#[from] registry::Error),
}

/// Knows whose keys are whose.
#[derive(Clone)]
pub struct Authenticator {
    pub(super) cache: Cache,
    pub(super) sources: Sources,
    registries: Registries,
    trusted_user_ca_keys: Arc<[PathBuf]>,
    revoked_keys: Option<Arc<RevokedKeys>>,
}

impl Authenticator {
    /// Fails on files that could not be used at a login.
    pub fn new(config: &Config, cache: &Cache) -> Result<Self, Error> {
        for path in &config.trusted_user_ca_keys {
            key_file::read(path)?;
        }
        let registries = Registries::new(config, cache)?;
        let files = config.trusted_user_ca_keys.iter().chain(&config.revoked_keys).cloned().collect();
        Ok(Self {
            cache: cache.clone(),
            sources: Sources::watch(cache, registries.clone(), files),
            registries,
            trusted_user_ca_keys: config.trusted_user_ca_keys.clone().into(),
            revoked_keys: config.revoked_keys.clone().map(RevokedKeys::new).transpose()?.map(Arc::new),
        })
    }

    /// Whether `login` should prove, from the address `from`, to hold `key`. It may be within a certificate: the
    /// protocol's implementation does not tell. Where certificates could let her in, any key is worth the proof; that
    /// shows which logins have an authority of their own.
    pub fn welcome(&self, login: &str, key: &PublicKey, from: IpAddr) -> Result<(), Refusal> {
        if !self.trusted_user_ca_keys.is_empty() || self.has_authority(login) {
            return Ok(());
        }
        self.resolve(login, Credential::Key(key), from).map(|_| ())
    }

    /// Asks for keys of `login` that are not known yet, but not for long; whether one that was unknown may be known
    /// now.
    pub async fn learn(&self, login: &str) -> bool {
        self.registries.learn(login).await
    }

    /// The person that `login` names, now that the client at `from` proved to hold `credential`.
    pub fn resolve(&self, login: &str, credential: Credential<'_>, from: IpAddr) -> Result<Identity, Refusal> {
        self.resolve_at(login, credential, from, Timestamp::now()).map(|(identity, _)| identity)
    }

    /// As [`Self::resolve`], at `now`; and when it ends by itself.
    pub(super) fn resolve_at(
        &self,
        login: &str,
        credential: Credential<'_>,
        from: IpAddr,
        now: Timestamp,
    ) -> Result<(Identity, Option<Timestamp>), Refusal> {
        self.check_readable(login)?;
        let Grant { user, permissions, until } = match credential {
            Credential::Key(key) => self.resolve_key(login, key, from, now)?,
            Credential::Certificate(certificate) => self.resolve_certificate(login, certificate, from, now)?,
        };
        self.check_readable(&user)?;
        self.check_revoked(credential)?;
        let object = self.cache.user(&user);
        if object.as_ref().is_some_and(|object| object.spec.disabled) {
            return Err(Refusal::Disabled);
        }
        let policy = object.and_then(|object| object.spec.ssh.clone()).unwrap_or_default();
        let permissions = permissions.and(policy.try_into()?)?;
        Ok((Identity { user, fingerprint: credential.fingerprint(), permissions }, until))
    }

    fn resolve_key(&self, login: &str, key: &PublicKey, from: IpAddr, now: Timestamp) -> Result<Grant, Refusal> {
        self.first_line(login, key.key_data(), |user, options| match options.authority {
            true => Err(Refusal::Authority),
            false => {
                let until = options.expiry_time;
                Ok(Grant { user: user.clone(), permissions: options.admit(from, now)?, until })
            }
        })
        .unwrap_or(Err(Refusal::Unknown))
    }

    fn resolve_certificate(
        &self,
        login: &str,
        certificate: &Certificate,
        from: IpAddr,
        now: Timestamp,
    ) -> Result<Grant, Refusal> {
        let authority = certificate.signature_key();
        // A certificate without principals is for nobody.
        let names = |principal: &String| certificate.valid_principals().contains(principal);
        let admit = || certificate::admit(certificate, from, now);
        let until = certificate::expiry(certificate);
        let trusted = self.trusts(authority);
        if trusted {
            let user = self.registries.find(login).next().ok_or(Refusal::Unknown)?.user;
            if names(&user) {
                return Ok(Grant { user, permissions: admit()?, until });
            }
        }
        // As with sshd: a line of hers may let in whom the authority does not name as her.
        self.first_line(login, authority, |user, options| {
            let principals = options.principals.as_deref();
            match principals.unwrap_or(std::slice::from_ref(user)).iter().any(names) {
                _ if !options.authority => Err(Refusal::UntrustedAuthority),
                false => Err(Refusal::Principal),
                true => {
                    let until = until.into_iter().chain(options.expiry_time).min();
                    let permissions = admit()?.and(options.admit(from, now)?)?;
                    Ok(Grant { user: user.clone(), permissions, until })
                }
            }
        })
        .unwrap_or(Err(if trusted { Refusal::Principal } else { Refusal::UntrustedAuthority }))
    }

    /// The first line of `login` with `key` that `admit`s; if there is none, why the last one does not.
    fn first_line(
        &self,
        login: &str,
        key: &KeyData,
        admit: impl Fn(&String, Options) -> Result<Grant, Refusal>,
    ) -> Option<Result<Grant, Refusal>> {
        let mut refusal = None;
        for found in self.registries.find(login) {
            for line in self.registries.keys(&found).filter(|line| line.key.key_data() == key) {
                let options = Options::parse(line.options).inspect_err(|reason| {
                    warn!(user = found.user, registry = found.registry, %reason, "refused a registered key");
                });
                match options.and_then(|options| admit(&found.user, options)) {
                    Ok(grant) => return Some(Ok(grant)),
                    Err(reason) => refusal = Some(Err(reason)),
                }
            }
        }
        refusal
    }

    /// Whether a line of `login` names an authority.
    fn has_authority(&self, login: &str) -> bool {
        let authority = |options: &str| Options::parse(options).is_ok_and(|options| options.authority);
        let registries = &self.registries;
        registries.find(login).any(|found| registries.keys(&found).any(|line| authority(line.options)))
    }

    fn trusts(&self, authority: &KeyData) -> bool {
        self.trusted_user_ca_keys.iter().any(|path| match key_file::read(path) {
            Ok(keys) => keys.iter().any(|key| key.key_data() == authority),
            Err(reason) => {
                error!(error = chain(&reason), "the keys of trusted authorities are not known");
                false
            }
        })
    }

    /// Whatever other registries say of her: her object may say that she is disabled.
    fn check_readable(&self, user: &str) -> Result<(), Refusal> {
        self.cache.unreadable_user(user).map_or(Ok(()), |why| Err(Refusal::Unreadable(why)))
    }

    fn check_revoked(&self, credential: Credential<'_>) -> Result<(), Refusal> {
        let Some(revoked_keys) = &self.revoked_keys else { return Ok(()) };
        match revoked_keys.contains(credential) {
            Ok(false) => Ok(()),
            Ok(true) => Err(Refusal::Revoked),
            Err(reason) => {
                error!(error = chain(&reason), "the revoked keys are not known; nobody is let in");
                Err(Refusal::RevokedUnknown(reason))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use russh::keys::PrivateKey;
    use russh::keys::ssh_key::certificate::Builder;
    use russh::keys::ssh_key::private::Ed25519Keypair;

    use super::*;

    #[test]
    fn what_is_logged_of_a_certificate_is_short() {
        let key = PrivateKey::from(Ed25519Keypair::from_seed(&[1; 32]));
        let shown = |key_id: &str| {
            let mut builder = Builder::new(vec![7; 16], key.public_key().key_data().clone(), 1, 2).unwrap();
            builder.key_id(key_id).unwrap().valid_principal("alice").unwrap();
            Credential::Certificate(&builder.sign(&key).unwrap()).certificate().unwrap()
        };
        assert!(shown("laptop\n").starts_with(r#""laptop\n" (serial 0) of SHA256:"#), "{}", shown("laptop\n"));
        let long = shown(&"\u{1}".repeat(200_000));
        assert!(long.len() < 1024 && long.contains("}\"… (serial"), "{long}");
    }
}
