//! The cluster under test: the embedded one, or the one of KUBECONFIG when `BASTION_TEST_CLUSTER=real`.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};

use bastion::api::DevServerFlavor;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::json;
use tempfile::TempDir;

use super::{Replica, Server};

/// The flavor of the tests' users: so small that a node takes dozens of them.
pub(crate) const FLAVOR: &str = "e2e";

/// How long the tests' operators wait before they suspend a DevServer whose time is over.
const GRACE: &str = "3s";

/// A cluster with an operator at work. Dropped, all that was started ends.
pub(super) struct Cluster {
    pub(super) front: Replica,
    /// `bastion dev`, or `bastion operator`.
    _server: Server,
    pub(super) kubeconfig: PathBuf,
    pub(super) audit_log: PathBuf,
    pub(super) run: String,
    pub(super) folder: TempDir,
    /// Where these bastions have their host key and their lease. After them, as they use it to the last.
    pub(super) namespace: OwnNamespace,
}

pub(crate) fn is_real() -> bool {
    std::env::var("BASTION_TEST_CLUSTER").is_ok_and(|cluster| cluster == "real")
}

/// The image that brings the agent into pods of a real cluster; without it they have none.
fn agent_image() -> Option<String> {
    std::env::var("BASTION_TEST_AGENT_IMAGE").ok()
}

/// How an operator on a real cluster makes pods, as the lines of its `[operator]`.
pub(crate) fn pod_settings() -> String {
    format!("image = \"localhost/dev:1\"\nagent.image = \"{}\"\n", agent_image().unwrap_or_default())
}

/// Whether pods have an agent.
pub(crate) fn has_agents() -> bool {
    !is_real() || agent_image().is_some()
}

impl Cluster {
    pub(super) async fn start() -> Self {
        let run = format!("{:04x}", rand::random::<u16>());
        let folder = tempfile::tempdir().expect("there is a folder for temporary files");
        let cluster = match is_real() {
            true => Self::real(run, folder).await,
            false => Self::embedded(run, folder).await,
        };
        let client = open_client(&cluster.kubeconfig).await;
        add_flavor(&client).await;
        cluster
    }

    async fn embedded(run: String, folder: TempDir) -> Self {
        let data = folder.path().join("data");
        let key = super::keygen(folder.path(), "host", "ed25519");
        let user = format!("host={}.pub", key.display());
        let telemetry = free_port();
        let arguments = ["dev", "--listen", "127.0.0.1:0", "--data", text(&data), "--user", &user];
        let mut server = Server::start(&arguments, |command| {
            command.env("BASTION_TELEMETRY__LISTEN", format!("127.0.0.1:{telemetry}"));
            command.env("BASTION_OPERATOR__LIFECYCLE__GRACE", GRACE);
        });
        let ready = server.ready().await;
        let words: Vec<&str> = ready.split_whitespace().collect();
        let port = words.iter().position(|word| *word == "-p").and_then(|at| words[at + 1].parse().ok());
        let front = Replica::within(port.expect("ssh is told the port"), telemetry, data.join("known_hosts"));
        let kubeconfig = find(&data, "kubeconfig");
        let namespace = OwnNamespace::add(&kubeconfig, &run).await;
        let audit_log = find(&data, "audit.log");
        Self { front, _server: server, kubeconfig, audit_log, run, folder, namespace }
    }

    async fn real(run: String, folder: TempDir) -> Self {
        let kubeconfig = PathBuf::from(std::env::var_os("KUBECONFIG").expect("KUBECONFIG names the cluster"));
        let crds = Command::new(env!("CARGO_BIN_EXE_bastion")).arg("crds").output().expect("the binary was built");
        let crds = String::from_utf8(crds.stdout).expect("YAML is text");
        kubectl(&["apply", "--server-side", "--force-conflicts", "-f", "-"], &crds);
        kubectl(&["wait", "--for=condition=Established", "--timeout=30s", "-f", "-"], &crds);
        kubectl(&["apply", "--server-side", "--force-conflicts", "-f", "-"], &user_roles());
        let namespace = OwnNamespace::add(&kubeconfig, &run).await;
        let telemetry = format!("127.0.0.1:{}", free_port());
        let config = folder.path().join("operator.toml");
        std::fs::write(&config, format!("[operator]\n{}", pod_settings())).expect("the folder is ours");
        let mut server = Server::start(&["operator", "--config", text(&config)], |command| {
            command.env("BASTION_TELEMETRY__LISTEN", &telemetry).env("POD_NAMESPACE", &namespace.name);
            command.env("BASTION_OPERATOR__LIFECYCLE__GRACE", GRACE);
        });
        server.ready().await;
        let front = Replica::start(&kubeconfig, &namespace.name, folder.path(), &[]).await;
        let audit_log = std::env::var_os("BASTION_TEST_AUDIT_LOG").unwrap_or("/run/real-kube/log/audit.log".into());
        Self { front, _server: server, kubeconfig, audit_log: audit_log.into(), run, folder, namespace }
    }
}

/// The roles of users and administrators, out of the manifests that are deployed.
fn user_roles() -> String {
    const NAMES: [&str; 3] = ["dev-user", "devserverflavor-viewer", "bastion-admin"];
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("k8s/base");
    let built = kubectl(&["kustomize", text(&folder)], "");
    let is_named = |object: &&str, name: &str| object.lines().any(|line| line == format!("  name: {name}"));
    let wanted =
        |object: &&str| object.contains("kind: ClusterRole") && NAMES.iter().any(|name| is_named(object, name));
    let roles: Vec<&str> = built.split("\n---\n").filter(wanted).collect();
    assert!(roles.len() > NAMES.len(), "k8s/base has the roles of users: {roles:?}");
    roles.join("\n---\n")
}

async fn add_flavor(client: &Client) {
    let flavor = json!({
        "apiVersion": "devserver.io/v1",
        "kind": "DevServerFlavor",
        "metadata": {"name": FLAVOR},
        "spec": {"resources": {
            "requests": {"cpu": "5m", "memory": "16Mi"},
            "limits": {"cpu": "2", "memory": "1Gi"},
        }},
    });
    let flavors: Api<DevServerFlavor> = Api::all(client.clone());
    let parameters = PatchParams::apply("bastion-e2e").force();
    flavors.patch(FLAVOR, &parameters, &Patch::Apply(&flavor)).await.expect("flavors can be applied");
}

/// A namespace for one run. Dropped, it is deleted.
pub(super) struct OwnNamespace {
    pub(super) name: String,
}

impl OwnNamespace {
    async fn add(kubeconfig: &Path, run: &str) -> Self {
        let name = format!("bastion-e2e-{run}");
        let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": name}})).expect("it is one");
        let namespaces = Api::all(open_client(kubeconfig).await);
        namespaces.create(&PostParams::default(), &namespace).await.expect("namespaces can be made");
        Self { name }
    }
}

impl Drop for OwnNamespace {
    fn drop(&mut self) {
        // The embedded cluster is gone already, with all that was in it.
        if is_real() {
            kubectl(&["delete", "namespace", &self.name, "--wait=false"], "");
        }
    }
}

/// A client as the administrator. It belongs to the test's own runtime, so each test has one.
pub(crate) async fn open_client(kubeconfig: &Path) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).expect("the kubeconfig is there");
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    Client::try_from(config.expect("the kubeconfig is whole")).expect("TLS has a provider")
}

/// Runs kubectl on the real cluster.
pub(crate) fn kubectl(arguments: &[&str], input: &str) -> String {
    let mut command = Command::new("kubectl");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("kubectl is on the PATH");
    let mut stdin = child.stdin.take().expect("it is piped");
    std::io::Write::write_all(&mut stdin, input.as_bytes()).expect("kubectl reads all");
    drop(stdin);
    let output = child.wait_with_output().expect("it is our child");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "kubectl {}: {stderr}", arguments.join(" "));
    String::from_utf8(output.stdout).expect("kubectl writes text")
}

/// A port that nobody else takes: not in the range that `bind` to port 0 draws from, and never given twice by this
/// process.
pub(crate) fn free_port() -> u16 {
    const PORTS: std::ops::Range<u16> = 11_000..29_000; // NodePorts begin at 30000, ephemeral ports at 32768.
    // Runs side by side begin far from each other.
    static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| AtomicU16::new(rand::random()));
    let next = || PORTS.start + NEXT.fetch_add(1, Ordering::Relaxed) % (PORTS.end - PORTS.start);
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    std::iter::repeat_with(next).take(PORTS.len()).find(is_free).expect("loopback has free ports")
}

/// `name` in the data folder, wherever the embedded cluster has it.
fn find(data: &Path, name: &str) -> PathBuf {
    let places = [data.join(name), data.join("cluster").join(name)];
    places.iter().find(|path| path.exists()).unwrap_or_else(|| panic!("no {name} in {}", data.display())).clone()
}

pub(super) fn text(path: &Path) -> &str {
    path.to_str().expect("the tests' folders have plain names")
}
