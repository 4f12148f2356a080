//! The host key of this process: from a file, or from a Secret that replicas share.

use std::collections::BTreeMap;
#[cfg(feature = "embedded")]
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::PostParams;
use russh::keys::PrivateKey;

use crate::api::names;
use crate::ssh::{self, HostKeySource};

/// The entry of the Secret, named as OpenSSH names the file.
const ENTRY: &str = "ssh_host_ed25519_key";

pub(super) async fn load(source: &HostKeySource, client: &kube::Client) -> Result<PrivateKey> {
    match source {
        HostKeySource::File(path) => Ok(ssh::load_or_create_host_key(path)?),
        HostKeySource::Secret(name) => {
            // As kubectl has it: the pod's own, or the kubeconfig's.
            let namespace = client.default_namespace();
            from_secret(name, Api::default_namespaced(client.clone()))
                .await
                .with_context(|| format!("no host key in Secret {namespace}/{name} (ssh.host_key)"))
        }
    }
}

/// Several replicas may start at once: whoever creates the Secret first has made the key.
async fn from_secret(name: &str, secrets: Api<Secret>) -> Result<PrivateKey> {
    let secret = match secrets.get_opt(name).await? {
        Some(secret) => secret,
        None => {
            let text = ssh::generate_host_key()?;
            let secret = Secret {
                metadata: ObjectMeta {
                    name: Some(name.to_owned()),
                    labels: Some(BTreeMap::from([(names::MANAGED_BY_LABEL.into(), names::MANAGED_BY.into())])),
                    ..ObjectMeta::default()
                },
                data: Some(BTreeMap::from([(ENTRY.to_owned(), ByteString(text.into_bytes()))])),
                immutable: Some(true),
                ..Secret::default()
            };
            match secrets.create(&PostParams::default(), &secret).await {
                Err(kube::Error::Api(status)) if status.code == 409 => secrets.get(name).await?,
                created => created?,
            }
        }
    };
    let data = secret.data.unwrap_or_default();
    let key = data.get(ENTRY).ok_or_else(|| anyhow!("it has no entry {ENTRY}"))?;
    Ok(ssh::parse_host_key(std::str::from_utf8(&key.0)?)?)
}

/// Writes the `known_hosts` file that pins `key` for `host` and `port`.
#[cfg(feature = "embedded")]
pub(super) fn write_known_hosts(path: &Path, host: &str, port: u16, key: &PrivateKey) -> Result<()> {
    std::fs::write(path, ssh::known_hosts_line(host, port, key))
        .with_context(|| format!("failed to write {}", path.display()))
}
