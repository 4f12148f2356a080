//! Why a key is not let in. For the log: clients are told nothing.

use super::key_file;

/// Why a key or a certificate is not let in.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("no such user, or not one of the user's keys")]
    Unknown,
    #[error("the user is disabled (spec.disabled of the DevServerUser)")]
    Disabled,
    #[error("the DevServerUser cannot be read, so what it forbids is not known: {0}")]
    Unreadable(String),
    #[error("the key, its certificate or the certificate's authority is revoked")]
    Revoked,
    #[error("the revoked keys are not known, so nobody is let in")]
    RevokedUnknown(#[source] key_file::Error),
    #[error("the key has options that cannot be honoured: {0}")]
    Options(String),
    #[error("the key is not for use from this address")]
    Address,
    #[error("the key has expired")]
    Expired,
    #[error("the key is a certificate authority's and lets in by certificate only")]
    Authority,
    #[error("it would be proven with SHA-1 (ssh-rsa), which counts for nothing")]
    Sha1,
    #[error("it is not a user certificate")]
    CertificateKind,
    #[error("the certificate's signature is not good")]
    CertificateSignature,
    #[error("the certificate is not valid yet")]
    CertificateNotYetValid,
    #[error("the certificate has expired")]
    CertificateExpired,
    #[error("the certificate has the critical option {0}, which cannot be honoured")]
    CriticalOption(String),
    #[error("the certificate authority is not trusted for this user")]
    UntrustedAuthority,
    #[error("the certificate names another principal")]
    Principal,
    /// Within her connection somebody else logs in.
    #[error("it is another user's")]
    AnotherUser,
    #[error("what the user's object says of SSH cannot be honoured: {0}")]
    Policy(String),
    #[error("certificate and key options force different commands")]
    ForcedCommandsDiffer,
}
