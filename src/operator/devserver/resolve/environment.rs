//! The owner's variables, as the pod's. The schema says the same of them; not every API server looks at it.

use k8s_openapi::api::core::v1;

use super::Invalid;
use crate::api::{EnvVar, SecretKeyRef};

pub(super) fn resolve(variables: Vec<EnvVar>) -> Result<Vec<v1::EnvVar>, Invalid> {
    let mut resolved: Vec<v1::EnvVar> = Vec::with_capacity(variables.len());
    for EnvVar { name, value, value_from } in variables {
        let refuse = |why| Err(Invalid::Env { name: name.clone(), why });
        if OF_THE_SESSION.contains(&name.as_str()) {
            return refuse("is the session's own; the home's path is home.mountPath");
        }
        if !is_name(&name) {
            return refuse("is not a valid name: letters, digits, '_', '-' and '.', no digit first");
        }
        if resolved.iter().any(|other| other.name == name) {
            return refuse("appears twice");
        }
        if value.is_some() == value_from.is_some() {
            return refuse("has to have either a value or a valueFrom");
        }
        let value_from = value_from.map(|from| source(from.secret_key_ref));
        resolved.push(v1::EnvVar { name, value, value_from });
    }
    Ok(resolved)
}

fn source(SecretKeyRef { name, key, optional }: SecretKeyRef) -> v1::EnvVarSource {
    let secret_key_ref = Some(v1::SecretKeySelector { name, key, optional });
    v1::EnvVarSource { secret_key_ref, ..v1::EnvVarSource::default() }
}

fn is_name(name: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    name.chars().all(is_part) && name.chars().next().is_some_and(|first| !first.is_ascii_digit())
}

/// What a login sets, and has to be right about.
const OF_THE_SESSION: [&str; 4] = ["HOME", "USER", "LOGNAME", "SHELL"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_break_a_session_is_refused_in_a_sentence() {
        let plain = |name: &str| EnvVar { name: name.to_owned(), value: Some("x".to_owned()), value_from: None };
        let error = |variables| resolve(variables).unwrap_err().to_string();
        for name in OF_THE_SESSION {
            let told = format!("env {name:?} is the session's own; the home's path is home.mountPath");
            assert_eq!(error(vec![plain(name)]), told);
        }
        for name in ["", "1A", "A=B", "A B"] {
            assert!(error(vec![plain(name)]).contains("is not a valid name"), "{name}");
        }
        assert_eq!(error(vec![plain("A"), plain("A")]), r#"env "A" appears twice"#);
        let empty = EnvVar { value: None, ..plain("A") };
        assert_eq!(error(vec![empty]), r#"env "A" has to have either a value or a valueFrom"#);
        assert!(resolve(vec![plain("PATH"), plain("a.b-c_1")]).is_ok());
    }
}
