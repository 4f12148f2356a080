//! A small Kubernetes in one process, for `bastion dev` and for tests: an API server, the controllers it cannot do
//! without, and a kubelet that runs pods as local processes. It listens on loopback only and isolates nothing.

mod apiserver;
mod controllers;
mod kubelet;
mod object;
mod patch;
mod seed;
mod store;
#[cfg(test)]
mod tests;

use apiserver::{ApiServer, AuditLog, Requests};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kubelet::Kubelet;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use store::Store;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Clusters in this program; only the last to stop may take orphans for its own.
static RUNNING: AtomicUsize = AtomicUsize::new(0);

#[derive(Clone, Debug)]
pub struct Config {
    /// A loopback address; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Holds everything that lasts; made if it is not there.
    pub data: PathBuf,
    /// How long an exec may be without data either way; Kubernetes' own limit is four hours.
    pub exec_idle_timeout: Duration,
}

impl Config {
    pub fn new(listen: SocketAddr, data: impl Into<PathBuf>) -> Config {
        Config { listen, data: data.into(), exec_idle_timeout: Duration::from_secs(4 * 60 * 60) }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the embedded cluster listens on loopback only, not on {0}: it would give everybody a shell")]
    NotLoopback(SocketAddr),
    #[error("failed to listen on {address}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("another process runs a cluster on {0}")]
    InUse(PathBuf),
    #[error("failed to use {path}")]
    Data { path: PathBuf, source: io::Error },
    #[error("failed to open the cluster's store")]
    Store(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("failed to set up the cluster: {0}")]
    Seed(String),
}

/// A running cluster. Dropped without `stop`, its processes stay until the next start on the same data.
pub struct Cluster {
    url: http::Uri,
    token: String,
    kubeconfig: PathBuf,
    kubelet: Arc<Kubelet>,
    shutdown: CancellationToken,
    connections: TaskTracker,
    tasks: JoinSet<()>,
    /// Locked for as long as the cluster runs.
    _lock: File,
}

impl Cluster {
    /// Starts a cluster that serves the given kinds beside the built-in ones and those already on its data.
    pub async fn start(config: Config, crds: Vec<CustomResourceDefinition>) -> Result<Cluster, Error> {
        if !config.listen.ip().is_loopback() {
            return Err(Error::NotLoopback(config.listen));
        }
        let data = &config.data;
        create_private_folder(data)?;
        let lock = lock(data)?;
        let token = secret(&data.join("token"))?;
        let id = secret(&data.join("cluster-id"))?;
        let audit = AuditLog::open(&data.join("audit.log")).map_err(data_error(data))?;
        let store = Arc::new(Store::open(&data.join("objects")).map_err(|error| Error::Store(error.into()))?);
        seed::plant(&store, crds).map_err(Error::Seed)?;

        let listen = |source| Error::Listen { address: config.listen, source };
        let listener = TcpListener::bind(config.listen).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let kubeconfig = data.join("kubeconfig");
        write_private(&kubeconfig, &kubeconfig_text(address, &token))?;

        let data = fs::canonicalize(data).map_err(data_error(data))?;
        let kubelet = Arc::new(Kubelet::new(store.clone(), data.clone(), id));
        kubelet.end_leftovers().await;
        let shutdown = CancellationToken::new();
        let connections = TaskTracker::new();
        let server = Arc::new(ApiServer {
            store: store.clone(),
            kubelet: kubelet.clone(),
            audit,
            requests: Requests::default(),
            token: token.clone(),
            exec_idle_timeout: config.exec_idle_timeout,
            shutdown: shutdown.clone(),
            tasks: connections.clone(),
        });
        RUNNING.fetch_add(1, Ordering::SeqCst);
        let mut tasks = JoinSet::new();
        tasks.spawn(Kubelet::reap());
        tasks.spawn(controllers::run(store, data));
        tasks.spawn(kubelet.clone().run());
        tasks.spawn(apiserver::serve(server, listener));
        tracing::info!(
            %address,
            kubeconfig = %kubeconfig.display(),
            "the embedded cluster runs; its pods are local processes of this user, without any isolation"
        );
        Ok(Cluster { url: url(address, ""), token, kubeconfig, kubelet, shutdown, connections, tasks, _lock: lock })
    }

    /// How clients in this process reach it.
    pub fn client_config(&self) -> kube::Config {
        let mut config = kube::Config::new(self.url.clone());
        config.auth_info.token = Some(self.token.clone().into());
        config
    }

    /// For clients in other processes.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Hangs up on all clients and ends every process it started. What is stored stays.
    pub async fn stop(mut self) {
        self.shutdown.cancel();
        self.connections.close();
        self.connections.wait().await;
        self.tasks.shutdown().await;
        let last = RUNNING.load(Ordering::SeqCst) == 1;
        self.kubelet.stop(last).await;
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.shutdown.cancel();
        RUNNING.fetch_sub(1, Ordering::SeqCst);
    }
}

fn url(address: SocketAddr, path: &str) -> http::Uri {
    format!("http://{address}{path}").parse().expect("an address and a path of letters make a URL")
}

/// kubectl keeps its token to itself when there is no TLS, so the URL carries it.
fn kubeconfig_text(address: SocketAddr, token: &str) -> String {
    let server = url(address, &format!("/{token}"));
    format!(
        "apiVersion: v1
kind: Config
current-context: bastion-dev
clusters:
- name: bastion-dev
  cluster:
    server: {server}
users:
- name: bastion-dev
  user: {{}}
contexts:
- name: bastion-dev
  context:
    cluster: bastion-dev
    user: bastion-dev
"
    )
}

fn create_private_folder(path: &Path) -> Result<(), Error> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(data_error(path))
}

fn lock(data: &Path) -> Result<File, Error> {
    let path = data.join("lock");
    let file = File::create(&path).map_err(data_error(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(Error::InUse(data.to_owned())),
        Err(fs::TryLockError::Error(error)) => Err(data_error(&path)(error)),
    }
}

/// The secret in the file, made at the first start.
fn secret(path: &Path) -> Result<String, Error> {
    match fs::read_to_string(path) {
        Ok(secret) if secret.trim().len() >= 32 => Ok(secret.trim().to_owned()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(data_error(path)(error)),
        _ => {
            let secret = object::random_hex(24);
            write_private(path, &secret)?;
            Ok(secret)
        }
    }
}

fn write_private(path: &Path, text: &str) -> Result<(), Error> {
    let write = || {
        // A new file each time: the mode of one that is there would stay.
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(text.as_bytes())
    };
    write().map_err(data_error(path))
}

fn data_error(path: &Path) -> impl Fn(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Data { path: path.clone(), source }
}
