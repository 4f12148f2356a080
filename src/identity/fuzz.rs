//! Targets of fuzzing: what says whose a key is, and what it may be used for.

use std::net::{IpAddr, Ipv4Addr};

use jiff::Timestamp;
use russh::keys::{Certificate, PublicKey};

use super::Permissions;
use super::authorized_key::AuthorizedKey;
use super::options::Options;

const FROM: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 7));

/// Whatever stands in an `authorized_keys` file: options are whole or refused, so that one more can only take away.
pub fn authorized_keys(file: &[u8]) {
    let file = String::from_utf8_lossy(file);
    for line in file.lines() {
        let options = match AuthorizedKey::parse(line) {
            Some(Ok(AuthorizedKey { key, options })) => {
                let written = key.to_openssh().expect("a key that was read can be written");
                let again = PublicKey::from_openssh(&written).expect("a key that was written can be read");
                assert_eq!(again.key_data(), key.key_data());
                assert!(line.trim_start().starts_with(options));
                options
            }
            // Without its key, that the options too are tried which stand before none.
            Some(Err(_)) => line,
            None => continue,
        };
        let Ok(parsed) = Options::parse(options) else { continue };
        if let Ok(Permissions { permit_open, permit_listen, .. }) = parsed.admit(FROM, now()) {
            // Whatever is listed, and whatever is asked for.
            let _ = (permit_open.refusal(line, None), permit_listen.refusal(line, Some(7)));
        }
        let further = |option: &str| {
            let separator = if options.is_empty() || options.ends_with(',') { "" } else { "," };
            Options::parse(&format!("{options}{separator}{option}")).and_then(|options| options.admit(FROM, now()))
        };
        assert!(further("expiry-time=\"19700102\"").is_err(), "{options}");
        assert!(further("from=\"192.0.2.1\"").is_err(), "{options}");
        let places = further("permitopen=\"a:1\",permitlisten=\"[::1]:*\"").is_ok_and(|permissions| {
            let open = permissions.permit_open.refusal("a", Some(1));
            open.or(permissions.permit_listen.refusal("::1", Some(7))).is_none()
        });
        assert!(places || further("pty").is_err(), "{options}");
        assert!(further("no-pty").is_ok_and(|permissions| !permissions.pty) || further("pty").is_err(), "{options}");
    }
}

/// Whatever is sent as a certificate: what admits somebody is signed as it stands.
pub fn certificate(bytes: &[u8]) {
    let Ok(certificate) = Certificate::from_bytes(bytes) else { return };
    let written = certificate.to_bytes().expect("a certificate that was read can be written");
    assert!(Certificate::from_bytes(&written).is_ok_and(|again| again == certificate));
    if super::certificate::admit(&certificate, FROM, now()).is_ok() {
        assert!(certificate.verify_signature().is_ok());
        assert!((certificate.valid_after()..certificate.valid_before()).contains(&(now().as_second() as u64)));
    }
}

fn now() -> Timestamp {
    Timestamp::constant(1_800_000_000, 0)
}

#[cfg(test)]
pub(crate) mod seeds {
    use russh::keys::PrivateKey;
    use russh::keys::ssh_key::certificate::Builder;
    use russh::keys::ssh_key::private::Ed25519Keypair;

    use super::*;

    /// The same ones each time.
    fn key(number: u8) -> PrivateKey {
        PrivateKey::from(Ed25519Keypair::from_seed(&[number; 32]))
    }

    pub(crate) fn authorized_keys() -> Vec<Vec<u8>> {
        let key = key(1).public_key().to_openssh().unwrap();
        let options = [
            "",
            "restrict,pty,port-forwarding ",
            r#"command="echo \"a, b\" c",no-pty "#,
            r#"from="10.0.0.0/8,!10.0.0.9,*.example.org,2001:db8::/32" "#,
            r#"expiry-time="202701151201Z",no-agent-forwarding "#,
            r#"cert-authority,principals="alice,ops" "#,
            r#"restrict,port-forwarding,permitopen="a:80",permitopen="[::1]:*",permitlisten="8080",permitlisten="l?c*:*" "#,
            "expiry-time=\"20270116\"\tno-X11-forwarding ",
        ];
        let mut seeds: Vec<_> = options.iter().map(|options| format!("{options}{key} alice\n").into_bytes()).collect();
        seeds.extend(options.iter().map(|options| options.trim_end().as_bytes().to_vec()));
        seeds.push(seeds.concat());
        seeds.push(b"# comment\n\necdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAAAB\n".to_vec());
        seeds
    }

    pub(crate) fn certificates() -> Vec<Vec<u8>> {
        let sign = |adjust: fn(&mut Builder)| {
            let now = now().as_second() as u64;
            let subject = key(2).public_key().key_data().clone();
            let mut builder = Builder::new(vec![7; 16], subject, now - 60, now + 60).unwrap();
            builder.valid_principal("alice").unwrap();
            adjust(&mut builder);
            builder.sign(&key(3)).unwrap().to_bytes().unwrap()
        };
        vec![
            sign(|_| {}),
            sign(|builder| {
                builder.extension("permit-pty", "").unwrap();
                builder.extension("permit-port-forwarding", "").unwrap();
                builder.critical_option("force-command", "date").unwrap();
            }),
            sign(|builder| {
                builder.critical_option("source-address", "192.0.2.1,10.0.0.0/8").unwrap();
                builder.key_id("laptop").unwrap();
                builder.serial(7).unwrap();
            }),
        ]
    }
}
