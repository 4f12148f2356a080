//! The audit log, as JSON lines in the shape of Kubernetes' audit events: what touches a person's rights or processes,
//! and every list, whose absence on the login path is a promise worth checking.

use super::{
    access,
    route::{Route, Verb},
};
use crate::minik8s::object;
use http::StatusCode;
use parking_lot::Mutex;
use serde_json::json;
use std::{
    fs::{File, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// At this size the log is renamed to `audit.log.1` and begun anew.
const LONGEST: u64 = 16 << 20;

pub(crate) struct AuditLog {
    path: PathBuf,
    file: Mutex<File>,
}

impl AuditLog {
    pub(crate) fn open(path: &Path) -> std::io::Result<AuditLog> {
        Ok(AuditLog { path: path.to_owned(), file: Mutex::new(append_to(path)?) })
    }

    pub(super) fn record(&self, route: &Route, impersonated: Option<&str>, agent: Option<&str>, code: StatusCode) {
        let watched = ["namespaces", "serviceaccounts", "secrets"];
        if route.subresource != "exec"
            && route.verb != Verb::List
            && !watched.contains(&route.resource.storage().as_str())
        {
            return;
        }
        let mut event = json!({
            "kind": "Event",
            "apiVersion": "audit.k8s.io/v1",
            "level": "Metadata",
            "auditID": object::new_uid(),
            "stage": "ResponseComplete",
            "verb": route.verb.name(),
            "user": {"username": access::USER, "groups": ["system:masters", "system:authenticated"]},
            "objectRef": {
                "resource": route.resource.plural,
                "namespace": route.namespace,
                "name": route.name,
                "apiGroup": route.resource.group,
                "apiVersion": route.resource.version,
                "subresource": route.subresource,
            },
            "responseStatus": {"code": code.as_u16()},
            "stageTimestamp": jiff::Timestamp::now().to_string(),
        });
        if let Some(user) = impersonated {
            event["impersonatedUser"] = json!({"username": user});
        }
        if let Some(agent) = agent {
            event["userAgent"] = json!(agent);
        }
        if let Err(error) = self.append(&format!("{event}\n")) {
            tracing::warn!(error = &error as &dyn std::error::Error, "the audit log cannot be written");
        }
    }

    fn append(&self, line: &str) -> std::io::Result<()> {
        let mut file = self.file.lock();
        if file.metadata()?.len() > LONGEST {
            std::fs::rename(&self.path, self.path.with_extension("log.1"))?;
            *file = append_to(&self.path)?;
        }
        file.write_all(line.as_bytes())
    }
}

fn append_to(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}
