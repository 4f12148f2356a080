//! A started cluster, driven from outside by kube's clients and by a WebSocket of our own.

mod access;
mod clients;
mod exec;
mod objects;
mod pods;
mod socket;
mod volumes;
mod watches;

use super::*;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod};
use kube::{
    Api, Client,
    api::PostParams,
    runtime::wait::{Condition, await_condition},
};
use serde_json::{Value, json};
use std::fmt::Debug;

/// Long enough for a busy machine; nothing waits this long unless it is broken.
const PATIENCE: Duration = Duration::from_secs(30);

impl Cluster {
    /// For tests of what works on it: with these kinds, a client, and its folder, which it needs for as long as it
    /// runs.
    pub(crate) async fn start_for_a_test(crds: Vec<CustomResourceDefinition>) -> (Cluster, Client, tempfile::TempDir) {
        let data = tempfile::tempdir().unwrap();
        let config = Config::new("127.0.0.1:0".parse().unwrap(), data.path());
        let cluster = Cluster::start(config, crds).await.unwrap();
        let client = Client::try_from(cluster.client_config()).unwrap();
        (cluster, client, data)
    }
}

struct Running {
    cluster: Cluster,
    client: Client,
    data: Arc<tempfile::TempDir>,
}

impl Running {
    async fn start() -> Running {
        let data = Arc::new(tempfile::tempdir().unwrap());
        Running::start_on(data, "127.0.0.1:0").await
    }

    /// With this limit to an exec's silence.
    async fn start_impatient(idle: Duration) -> Running {
        let data = Arc::new(tempfile::tempdir().unwrap());
        let mut config = Config::new("127.0.0.1:0".parse().unwrap(), data.path());
        config.exec_idle_timeout = idle;
        Running::start_with(data, config).await
    }

    async fn start_on(data: Arc<tempfile::TempDir>, listen: &str) -> Running {
        let config = Config::new(listen.parse().unwrap(), data.path());
        Running::start_with(data, config).await
    }

    async fn start_with(data: Arc<tempfile::TempDir>, config: Config) -> Running {
        let cluster = Cluster::start(config, vec![widgets()]).await.unwrap();
        let client = Client::try_from(cluster.client_config()).unwrap();
        Running { cluster, client, data }
    }

    /// The same data on the same port.
    async fn restart(self) -> Running {
        let address = self.cluster.url.authority().unwrap().to_string();
        let data = self.data.clone();
        self.cluster.stop().await;
        Running::start_on(data, &address).await
    }

    fn all<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = ()>,
    {
        Api::all(self.client.clone())
    }

    fn within<K>(&self, namespace: &str) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    async fn namespace(&self, name: &str) {
        let namespace = from(json!({"metadata": {"name": name}}));
        let params = PostParams::default();
        self.all::<Namespace>().create(&params, &namespace).await.unwrap();
        let accounts = self.within::<k8s_openapi::api::core::v1::ServiceAccount>(name);
        until(&accounts, "default", |account: Option<&_>| account.is_some()).await;
    }

    /// A pod whose one container, `main`, runs this script; ready when this returns.
    async fn pod(&self, namespace: &str, name: &str, script: &str) -> Pod {
        let spec = json!({"containers": [container(script)], "terminationGracePeriodSeconds": 1});
        let pod = self.create_pod(namespace, name, spec).await;
        let pods = self.within::<Pod>(namespace);
        until(&pods, &pod, kube::runtime::conditions::is_pod_running()).await.unwrap()
    }

    async fn create_pod(&self, namespace: &str, name: &str, spec: Value) -> String {
        let pod = from(json!({"metadata": {"name": name}, "spec": spec}));
        let pods = self.within::<Pod>(namespace);
        pods.create(&PostParams::default(), &pod).await.unwrap();
        name.to_owned()
    }
}

fn config_map(name: &str, value: &str) -> ConfigMap {
    from(json!({"metadata": {"name": name}, "data": {"key": value}}))
}

fn container(script: &str) -> Value {
    json!({"name": "main", "image": "any", "command": ["sh", "-c", script]})
}

fn from<K: serde::de::DeserializeOwned>(object: Value) -> K {
    serde_json::from_value(object).unwrap()
}

async fn until<K>(api: &Api<K>, name: &str, condition: impl Condition<K>) -> Option<K>
where
    K: Clone + Debug + Send + serde::de::DeserializeOwned + kube::Resource + 'static,
{
    let met = await_condition(api.clone(), name, condition);
    tokio::time::timeout(PATIENCE, met).await.unwrap().unwrap()
}

/// A kind as anybody might define it.
fn widgets() -> CustomResourceDefinition {
    from(json!({
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "shortNames": ["wd"]},
            "versions": [{
                "name": "v1",
                "served": true,
                "storage": true,
                "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
            }],
        },
    }))
}

fn code(result: kube::Result<impl Debug>) -> (u16, String) {
    match result.unwrap_err() {
        kube::Error::Api(status) => (status.code, status.reason.clone()),
        other => panic!("not a status: {other}"),
    }
}

/// Living processes whose command line holds this text.
fn processes_with(text: &str) -> usize {
    let found = fs::read_dir("/proc").unwrap().filter(|entry| {
        let path = entry.as_ref().unwrap().path();
        let line = fs::read(path.join("cmdline")).unwrap_or_default();
        let state = fs::read_to_string(path.join("stat")).unwrap_or_default();
        let zombie = state.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z'));
        !zombie && String::from_utf8_lossy(&line).replace('\0', " ").contains(text)
    });
    found.count()
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
