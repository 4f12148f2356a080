//! `bastion dev`: the whole product in one process, on the embedded cluster.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::{Patch, PatchParams};
use russh::keys::agent::client::AgentClient;
use russh::keys::ssh_key::LineEnding;
use russh::keys::{Algorithm, PrivateKey, PublicKey};
use tokio_util::sync::CancellationToken;
use toml::Table;
use tracing::{info, warn};

use super::{dev_objects, host_key};
use crate::api::{DevServerUser, DevServerUserSpec, names};
use crate::config::Config;
use crate::minik8s;
use crate::telemetry::chain;
use crate::{agent, api, operator, ssh};

/// What the command line asks for.
pub struct Options {
    pub listen: SocketAddr,
    /// Holds the cluster's objects, homes and keys: a restart finds all of it again.
    pub data: PathBuf,
    /// Names and files with public keys; none means the caller with her own keys.
    pub users: Vec<(String, PathBuf)>,
}

impl Options {
    /// The settings that a development server has other than a real one.
    pub fn settings(&self) -> Table {
        let host_key = Table::from_iter([("file".to_owned(), self.data.join("host_key").display().to_string().into())]);
        let ssh = Table::from_iter([
            ("listen".to_owned(), self.listen.to_string().into()),
            ("host_key".to_owned(), host_key.into()),
            ("drain_timeout".to_owned(), "5s".into()),
        ]);
        let telemetry = Table::from_iter([("listen".to_owned(), "127.0.0.1:0".into())]);
        // There is one operator only, and a lease would outlive a kill.
        let lease = Table::from_iter([("enabled".to_owned(), false.into())]);
        let mut operator = Table::from_iter([("lease".to_owned(), lease.into())]);
        // Where this program was built or installed with it.
        let agent = std::env::current_exe().ok().map(|program| program.with_file_name(agent::PROGRAM));
        if let Some(path) = agent.filter(|path| path.exists()) {
            let image = ("image".to_owned(), "bastion".into());
            let agent = Table::from_iter([image, ("path".to_owned(), path.display().to_string().into())]);
            operator.insert("agent".to_owned(), agent.into());
        }
        let sections = [("ssh", ssh), ("telemetry", telemetry), ("operator", operator)];
        sections.into_iter().map(|(name, section)| (name.to_owned(), section.into())).collect()
    }
}

/// Runs until `shutdown`, and leaves no process behind.
pub async fn dev(options: Options, config: Config, shutdown: CancellationToken) -> Result<()> {
    let data = &options.data;
    create_private(data)?;
    let key = match &config.ssh.host_key {
        ssh::HostKeySource::File(path) => ssh::load_or_create_host_key(path)?,
        ssh::HostKeySource::Secret(_) => bail!("`bastion dev` keeps its host key in a file (ssh.host_key)"),
    };
    let cluster = minik8s::Cluster::start(
        minik8s::Config {
            listen: config.dev.api_listen,
            data: data.clone(),
            exec_idle_timeout: config.dev.exec_idle_timeout,
        },
        api::crds(),
    )
    .await
    .context("the embedded cluster failed to start")?;
    let served = serve(&options, config, key, &cluster, shutdown).await;
    cluster.stop().await;
    served
}

async fn serve(
    options: &Options,
    config: Config,
    key: PrivateKey,
    cluster: &minik8s::Cluster,
    shutdown: CancellationToken,
) -> Result<()> {
    if config.operator.agent.image.is_empty() {
        warn!(
            program = agent::PROGRAM,
            "no agent lies beside this program: no sftp, scp, forwards or shells that last; `cargo build` makes it"
        );
    }
    let client = super::client::new(&cluster.client_config())?;
    dev_objects::add(&client).await.context("failed to add the roles of users and the flavors")?;
    let (users, identity_file) = users(options).await?;
    for (name, keys) in &users {
        add_user(&client, name, keys).await?;
    }
    let stop_operator = CancellationToken::new();
    let operator = tokio::spawn(operator::run(
        client.clone(),
        config.operator.clone(),
        config.provisioning.clone(),
        config.identity.code_hosts_by_name(),
        || {},
        stop_operator.clone(),
    ));
    let known_hosts = options.data.join("known_hosts");
    let public_key = key.clone();
    let ready = |address: SocketAddr| {
        let (host, port) = (address.ip().to_string(), address.port());
        if let Err(error) = host_key::write_known_hosts(&known_hosts, &host, port, &public_key) {
            warn!(error = chain(&*error), "the host key is not pinned");
        }
        info!(kubeconfig = %cluster.kubeconfig().display(), "no isolation here: pods are processes of yours");
        let login = users.first().map_or("USER", |(name, _)| name);
        let identity = identity_file.as_ref().map(|file| format!("-i {} ", quoted(file))).unwrap_or_default();
        super::announce(&format!(
            "ssh -p {port} -o UserKnownHostsFile={} {identity}{login}@{host}",
            quoted(&known_hosts)
        ));
    };
    let served = super::serve_on(client, config, key, shutdown, ready).await;
    stop_operator.cancel();
    operator.await?.context("the operator failed")?;
    served
}

/// The users to make, and the private key that this function made for the first of them, if it had to.
async fn users(options: &Options) -> Result<(Vec<(String, Vec<String>)>, Option<PathBuf>)> {
    if !options.users.is_empty() {
        let read = |(name, file): &(String, PathBuf)| {
            let text = std::fs::read_to_string(file).with_context(|| format!("failed to read {}", file.display()))?;
            let keys = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
            Ok((name.clone(), keys.map(str::to_owned).collect()))
        };
        return Ok((options.users.iter().map(read).collect::<Result<_>>()?, None));
    }
    let name = own_name();
    let mut keys = key_files();
    keys.extend(agent_keys().await);
    keys.sort();
    keys.dedup();
    if !keys.is_empty() {
        return Ok((vec![(name, keys)], None));
    }
    let file = options.data.join("id_ed25519");
    let key = match std::fs::read_to_string(&file) {
        Ok(text) => {
            PrivateKey::from_openssh(&text).with_context(|| format!("{} is not a private key", file.display()))?
        }
        Err(_) => {
            info!(file = %file.display(), "you have no SSH key; made one");
            let key = PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519)?;
            key.write_openssh_file(&file, LineEnding::LF)?;
            key
        }
    };
    Ok((vec![(name, vec![key.public_key().to_openssh()?])], Some(file)))
}

/// The caller's name, as far as it can name a user here.
fn own_name() -> String {
    let name = ["USER", "LOGNAME"].iter().find_map(|variable| std::env::var(variable).ok()).unwrap_or_default();
    let name: String = name.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let name = name.trim_matches('-');
    if names::is_user_name(name) { name.to_owned() } else { "dev".to_owned() }
}

/// The public keys in `~/.ssh/*.pub`.
fn key_files() -> Vec<String> {
    let Some(home) = std::env::home_dir() else { return Vec::new() };
    let files = std::fs::read_dir(home.join(".ssh")).into_iter().flatten().flatten().map(|entry| entry.path());
    files
        .filter(|path| path.extension().is_some_and(|extension| extension == "pub"))
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .filter_map(|text| PublicKey::from_openssh(text.trim()).ok()?.to_openssh().ok())
        .collect()
}

/// The public keys that the caller's SSH agent holds.
async fn agent_keys() -> Vec<String> {
    let Ok(mut agent) = AgentClient::connect_env().await else { return Vec::new() };
    match agent.request_identities().await {
        Ok(identities) => identities.iter().filter_map(|identity| identity.public_key().to_openssh().ok()).collect(),
        Err(error) => {
            warn!(error = chain(&error), "the SSH agent does not tell its keys");
            Vec::new()
        }
    }
}

async fn add_user(client: &kube::Client, name: &str, keys: &[String]) -> Result<()> {
    if !names::is_user_name(name) {
        bail!("`{name}` cannot be a user: lower-case letters, digits and dashes, at most {}", names::MAX_USER_LENGTH);
    }
    let user = DevServerUser {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        spec: DevServerUserSpec { public_keys: keys.to_vec(), ..DevServerUserSpec::default() },
        status: None,
    };
    let users: Api<DevServerUser> = Api::all(client.clone());
    users.patch(name, &PatchParams::apply("bastion-dev").force(), &Patch::Apply(&user)).await?;
    Ok(())
}

fn create_private(folder: &Path) -> Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(folder).with_context(|| format!("failed to make {}", folder.display()))
}

/// `path` as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    shlex::try_quote(&text).map(Cow::into_owned).unwrap_or(text)
}
