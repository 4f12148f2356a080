//! Settings as they are written on a command line.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

use crate::api::{EnvVar, EnvVarSource, IdleAction, SecretKeyRef, Volume};

/// A user and a group, as docker and kubectl write them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct User {
    pub(super) uid: Option<i64>,
    pub(super) gid: Option<i64>,
}

pub(super) fn user(text: &str) -> Result<User, String> {
    let number = |text: &str| match text.parse::<u32>() {
        Ok(number) => Ok(Some(i64::from(number))),
        Err(_) => {
            Err("expected UID[:GID] in numbers, as `id -u` and `id -g` tell them; names are the image's".to_owned())
        }
    };
    match text.split_once(':') {
        Some(("", gid)) => Ok(User { uid: None, gid: number(gid)? }),
        Some((uid, gid)) => Ok(User { uid: number(uid)?, gid: number(gid)? }),
        None => Ok(User { uid: number(text)?, gid: None }),
    }
}

/// As words of which shells complete the rest.
pub(super) fn idle_action() -> impl TypedValueParser<Value = IdleAction> {
    const SUSPEND: &str = "suspend";
    let words = [PossibleValue::new(SUSPEND), PossibleValue::new("nothing").alias("none")];
    PossibleValuesParser::new(words).map(|word| match word.eq_ignore_ascii_case(SUSPEND) {
        true => IdleAction::Suspend,
        false => IdleAction::None,
    })
}

pub(super) fn variable(text: &str) -> Result<EnvVar, String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => {
            Ok(EnvVar { name: name.to_owned(), value: Some(value.to_owned()), value_from: None })
        }
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

pub(super) fn secret_variable(text: &str) -> Result<EnvVar, String> {
    let wrong = || "expected NAME=SECRET/KEY, with :optional behind it to start without it as well".to_owned();
    let (name, source) = text.split_once('=').ok_or_else(wrong)?;
    let (source, optional) = match source.split_once(':') {
        Some((source, "optional")) => (source, Some(true)),
        Some(_) => return Err(wrong()),
        None => (source, None),
    };
    let (secret, key) = source.split_once('/').ok_or_else(wrong)?;
    if [name, secret, key].iter().any(|part| part.is_empty()) {
        return Err(wrong());
    }
    let secret_key_ref = SecretKeyRef { name: secret.to_owned(), key: key.to_owned(), optional };
    Ok(EnvVar { name: name.to_owned(), value: None, value_from: Some(EnvVarSource { secret_key_ref }) })
}

pub(super) fn volume(text: &str) -> Result<Volume, String> {
    let (claim, path) = text.split_once(':').ok_or("expected CLAIM:/PATH, with :ro behind it to only read there")?;
    let (path, read_only) = match path.split_once(':') {
        Some((path, "ro")) => (path, true),
        Some((path, "rw")) => (path, false),
        Some((_, other)) => return Err(format!("`{other}` is neither ro nor rw")),
        None => (path, false),
    };
    if claim.is_empty() || !path.starts_with('/') {
        return Err("expected CLAIM:/PATH, with an absolute path".to_owned());
    }
    Ok(Volume { claim: claim.to_owned(), mount_path: path.to_owned(), read_only })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_are_claims_at_paths() {
        let of =
            |claim: &str, path: &str, read_only| Volume { claim: claim.into(), mount_path: path.into(), read_only };
        assert_eq!(volume("data:/data"), Ok(of("data", "/data", false)));
        assert_eq!(volume("data:/data:ro"), Ok(of("data", "/data", true)));
        for bad in ["data", "data:data", ":/data", "data:/data:rx"] {
            assert!(volume(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn variables_have_a_name_and_any_value() {
        assert_eq!(variable("A=b=c").unwrap().value.as_deref(), Some("b=c"));
        assert_eq!(variable("A=").unwrap().value.as_deref(), Some(""));
        assert!(variable("A").is_err() && variable("=b").is_err());
    }

    #[test]
    fn a_secret_is_named_by_its_key() {
        let source = secret_variable("A=hub/api.token").unwrap().value_from.unwrap().secret_key_ref;
        assert_eq!((source.name.as_str(), source.key.as_str(), source.optional), ("hub", "api.token", None));
        for bad in ["A", "A=hub", "A=/key", "A=hub/", "=hub/key", "A=hub/key:sometimes"] {
            assert!(secret_variable(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn users_are_numbers() {
        assert_eq!(user("1000"), Ok(User { uid: Some(1000), gid: None }));
        assert_eq!(user("0:100"), Ok(User { uid: Some(0), gid: Some(100) }));
        assert_eq!(user(":100"), Ok(User { uid: None, gid: Some(100) }));
        for bad in ["root", "1:", "-1", "1:2:3", ""] {
            assert!(user(bad).is_err(), "{bad}");
        }
    }
}
