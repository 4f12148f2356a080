//! OpenSSH user certificates (OpenSSH's PROTOCOL.certkeys). Whether their authority is to be trusted is the
//! authenticator's part.

use std::net::IpAddr;

use jiff::Timestamp;
use russh::keys::ssh_key::certificate::CertType;
use russh::keys::{Algorithm, Certificate, HashAlg};

use super::{Permissions, Refusal, address};

/// What `certificate` leaves to its holder at `from` and at `now`, if its authority is trusted and it names her.
pub(super) fn admit(certificate: &Certificate, from: IpAddr, now: Timestamp) -> Result<Permissions, Refusal> {
    if certificate.cert_type() != CertType::User {
        return Err(Refusal::CertificateKind);
    }
    let now = u64::try_from(now.as_second()).unwrap_or(0);
    if now < certificate.valid_after() {
        return Err(Refusal::CertificateNotYetValid);
    }
    if now >= certificate.valid_before() {
        return Err(Refusal::CertificateExpired);
    }
    // As OpenSSH's CASignatureAlgorithms: no SHA-1.
    let sha1 = certificate.signature().algorithm() == Algorithm::Rsa { hash: None };
    let authority = certificate.signature_key().fingerprint(HashAlg::Sha256);
    if sha1 || certificate.validate_at(now, [&authority]).is_err() {
        return Err(Refusal::CertificateSignature);
    }
    let permits = |name: &str| certificate.extensions().contains_key(name);
    let mut permissions = Permissions {
        pty: permits("permit-pty"),
        port_forwarding: permits("permit-port-forwarding"),
        agent_forwarding: permits("permit-agent-forwarding"),
        x11_forwarding: permits("permit-X11-forwarding"),
        ..Permissions::ALL
    };
    for (name, value) in certificate.critical_options().iter() {
        match name.as_str() {
            "force-command" => permissions.forced_command = Some(value.clone()),
            "source-address" => {
                let networks = address::networks(value).map_err(|_| Refusal::CriticalOption(name.clone()))?;
                let from = from.to_canonical();
                if !networks.iter().any(|network| network.contains(&from)) {
                    return Err(Refusal::Address);
                }
            }
            _ => return Err(Refusal::CriticalOption(name.clone())),
        }
    }
    Ok(permissions)
}

/// When it ends by itself.
pub(super) fn expiry(certificate: &Certificate) -> Option<Timestamp> {
    // What is past all time is for ever.
    i64::try_from(certificate.valid_before()).ok().and_then(|seconds| Timestamp::from_second(seconds).ok())
}

#[cfg(test)]
mod tests {
    use russh::keys::PrivateKey;
    use russh::keys::ssh_key::certificate::Builder;

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn key() -> PrivateKey {
        PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).unwrap()
    }

    fn sign(window: (u64, u64), adjust: impl FnOnce(&mut Builder)) -> Certificate {
        let subject = key().public_key().clone();
        let mut builder = Builder::new(vec![7; 16], subject.key_data().clone(), window.0, window.1).unwrap();
        builder.valid_principal("alice").unwrap();
        adjust(&mut builder);
        builder.sign(&key()).unwrap()
    }

    fn valid(adjust: impl FnOnce(&mut Builder)) -> Certificate {
        sign((NOW - 60, NOW + 60), adjust)
    }

    fn admit_now(certificate: &Certificate) -> Result<Permissions, Refusal> {
        admit(certificate, [10, 0, 0, 7].into(), Timestamp::from_second(NOW as i64).unwrap())
    }

    #[test]
    fn nothing_is_permitted_that_it_does_not_name() {
        assert_eq!(admit_now(&valid(|_| {})).unwrap(), Permissions::RESTRICTED);
        let certificate = valid(|builder| {
            builder.extension("permit-pty", "").unwrap();
            builder.extension("permit-port-forwarding", "").unwrap();
            builder.extension("permit-X11-forwarding", "").unwrap();
            builder.critical_option("force-command", "date").unwrap();
            builder.critical_option("source-address", "192.0.2.1,10.0.0.0/8").unwrap();
        });
        let forced_command = Some("date".into());
        let permissions = Permissions { forced_command, agent_forwarding: false, ..Permissions::ALL };
        assert_eq!(admit_now(&certificate).unwrap(), permissions);
    }

    #[test]
    fn it_holds_for_its_time_only() {
        assert!(matches!(admit_now(&sign((NOW + 1, NOW + 60), |_| {})), Err(Refusal::CertificateNotYetValid)));
        assert!(matches!(admit_now(&sign((NOW - 60, NOW), |_| {})), Err(Refusal::CertificateExpired)));
        assert!(admit_now(&sign((NOW, NOW + 1), |_| {})).is_ok());
    }

    #[test]
    fn a_hosts_certificate_is_no_users() {
        let certificate = valid(|builder| {
            builder.cert_type(CertType::Host).unwrap();
        });
        assert!(matches!(admit_now(&certificate), Err(Refusal::CertificateKind)));
    }

    #[test]
    fn critical_options_that_are_not_understood_refuse() {
        for (name, value) in [("verify-required", ""), ("source-address", "10.0.0.*"), ("new@example.org", "x")] {
            let certificate = valid(|builder| {
                builder.critical_option(name, value).unwrap();
            });
            assert!(matches!(admit_now(&certificate), Err(Refusal::CriticalOption(option)) if option == name));
        }
        let elsewhere = valid(|builder| {
            builder.critical_option("source-address", "10.0.0.8/32").unwrap();
        });
        assert!(matches!(admit_now(&elsewhere), Err(Refusal::Address)));
    }

    #[test]
    fn a_change_after_the_signature_shows() {
        let certificate = valid(|_| {});
        let mut bytes = certificate.to_bytes().unwrap();
        let at = bytes.windows(5).position(|window| window == b"alice").unwrap();
        bytes[at..at + 5].copy_from_slice(b"admin");
        let forged = Certificate::from_bytes(&bytes).unwrap();
        assert_eq!(forged.valid_principals(), ["admin"]);
        assert!(matches!(admit_now(&forged), Err(Refusal::CertificateSignature)));
    }
}
