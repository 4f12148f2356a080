//! The algorithms we offer: modern ones only, post-quantum key exchange first.

use std::borrow::Cow;

use russh::keys::{Algorithm, EcdsaCurve, HashAlg};
use russh::{Preferred, cipher, compression, kex, mac};
use serde::de::{Deserialize, Deserializer, Error};

/// The ciphers that can be configured: authenticated ones, and CTR with an encrypt-then-MAC.
const CIPHERS: [cipher::Name; 6] = [
    cipher::AES_128_GCM,
    cipher::AES_256_GCM,
    cipher::CHACHA20_POLY1305,
    cipher::AES_128_CTR,
    cipher::AES_192_CTR,
    cipher::AES_256_CTR,
];

/// The MACs that can be configured. Those that are not encrypt-then-MAC are for clients that know no other.
const MACS: [mac::Name; 4] = [mac::HMAC_SHA256_ETM, mac::HMAC_SHA512_ETM, mac::HMAC_SHA256, mac::HMAC_SHA512];

/// Reads the setting `ssh.ciphers`.
pub(super) fn ciphers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<cipher::Name>, D::Error> {
    names(deserializer, &CIPHERS, "cipher")
}

/// Reads the setting `ssh.macs`.
pub(super) fn macs<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<mac::Name>, D::Error> {
    names(deserializer, &MACS, "MAC")
}

fn names<'de, D: Deserializer<'de>, N: AsRef<str> + Copy>(
    deserializer: D,
    known: &[N],
    kind: &str,
) -> Result<Vec<N>, D::Error> {
    let find = |name: &String| known.iter().find(|known| known.as_ref() == name).copied();
    let names = Vec::<String>::deserialize(deserializer)?;
    let names = names.iter().map(|name| find(name).ok_or_else(|| D::Error::custom(format!("no {kind} `{name}`"))));
    match names.collect::<Result<Vec<_>, _>>()? {
        none if none.is_empty() => Err(D::Error::custom(format!("at least one {kind} is needed"))),
        names => Ok(names),
    }
}

/// Left out for good: SHA-1, CBC, NIST-curve and finite-field key exchange.
pub(super) fn preferred(ciphers: Vec<cipher::Name>, macs: &[mac::Name]) -> Preferred {
    Preferred {
        kex: Cow::Borrowed(&[
            kex::MLKEM768X25519_SHA256,
            kex::CURVE25519,
            kex::CURVE25519_PRE_RFC_8731,
            kex::EXTENSION_SUPPORT_AS_SERVER,
            kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
        ]),
        // Our host key's, and what clients may sign with (`server-sig-algs`).
        key: Cow::Borrowed(&[
            Algorithm::Ed25519,
            Algorithm::SkEd25519,
            Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
            Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
            Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
            Algorithm::SkEcdsaSha2NistP256,
            Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
            Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
        ]),
        cipher: Cow::Owned(ciphers),
        mac: Cow::Owned(macs.to_vec()),
        compression: Cow::Borrowed(&[compression::NONE]),
        ..Preferred::DEFAULT
    }
}
