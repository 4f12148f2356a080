//! A user of the product with a key, a namespace, and what is in it.

use std::path::{Path, PathBuf};

use bastion::api::{DevServer, DevServerUser, Phase, names};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::cluster::open_client;
use super::wait::eventually;
use super::{Product, Replica, Ssh};

/// Dropped, she and her namespace are deleted.
pub(crate) struct User {
    name: String,
    key: PathBuf,
    product: Product,
}

impl User {
    pub(super) fn new(name: String, key: PathBuf, product: Product) -> Self {
        Self { name, key, product }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn key(&self) -> &Path {
        &self.key
    }

    /// Runs `command` in her default DevServer.
    pub(crate) fn ssh(&self, command: &str) -> Ssh {
        self.shell().command(command)
    }

    /// Her login shell.
    pub(crate) fn shell(&self) -> Ssh {
        Ssh::new(self.product.front(), &self.name).key(&self.key)
    }

    /// Her login shell in another DevServer of hers.
    pub(crate) fn shell_in(&self, name: &str) -> Ssh {
        self.shell().login(&format!("{}+{name}", self.name))
    }

    /// The bastion that she goes through.
    pub(crate) fn front(&self) -> &Replica {
        self.product.front()
    }

    /// Her login shell through another bastion.
    pub(crate) fn shell_at(&self, replica: &Replica) -> Ssh {
        Ssh::new(replica, &self.name).key(&self.key)
    }

    /// Runs `command` through another bastion.
    pub(crate) fn ssh_at(&self, replica: &Replica, command: &str) -> Ssh {
        self.shell_at(replica).command(command)
    }

    /// Waits until `replica` has heard of her. It asks for what no session can run, so nothing is made for her.
    pub(crate) async fn is_known_at(&self, replica: &Replica) {
        eventually("the bastion knows the user", async || {
            let nothing = self.ssh_at(replica, "no-such-subsystem").argument("-s").run().await;
            nothing.stderr().contains("subsystem request failed").then_some(())
        })
        .await;
    }

    /// Logs in, so that what follows meets a pod that runs.
    pub(crate) async fn is_running(&self) {
        self.ssh("true").run().await.exits(0).prints("");
    }

    /// Waits until her DevServer `name` runs, without waking it.
    pub(crate) async fn runs(&self, name: &str) {
        let phase = async || self.has::<DevServer>(name).await.status.filter(|status| status.phase == Phase::Running);
        eventually("the DevServer runs", phase).await;
    }

    pub(crate) fn namespace(&self) -> String {
        names::namespace(&self.name)
    }

    /// What is in her namespace.
    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.product.client(), &self.namespace())
    }

    /// An object of her namespace, as soon as it is there.
    pub(crate) async fn has<K>(&self, name: &str) -> K
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
    {
        let what = format!("{} {name} of {}", K::kind(&()), self.name);
        eventually(&what, async || self.api::<K>().get_opt(name).await.expect("the API server answers")).await
    }

    /// Makes a further DevServer, as an administrator would.
    pub(crate) async fn add_devserver(&self, name: &str) {
        self.add_devserver_with(name, json!({})).await;
    }

    /// Makes a further DevServer that runs.
    pub(crate) async fn has_another_running(&self, name: &str) {
        self.add_devserver(name).await;
        self.shell_in(name).command("true").run().await.exits(0);
    }

    /// Makes a further DevServer with this spec, of the tests' flavor where it names none.
    pub(crate) async fn add_devserver_with(&self, name: &str, mut spec: Value) {
        if spec["flavor"].is_null() {
            spec["flavor"] = super::cluster::FLAVOR.into();
        }
        let devserver = json!({
            "apiVersion": "devserver.io/v1",
            "kind": "DevServer",
            "metadata": {"name": name},
            "spec": spec,
        });
        let parameters = PatchParams::apply("bastion-e2e").force();
        // The operator makes her namespace, in its own time.
        eventually("her namespace", async || {
            match self.api::<DevServer>().patch(name, &parameters, &Patch::Apply(&devserver)).await {
                Err(kube::Error::Api(status)) if status.is_not_found() => None,
                made => Some(made.expect("DevServers can be made")),
            }
        })
        .await;
    }

    /// Deletes the pod, as an eviction would.
    pub(crate) async fn loses_pod(&self, name: &str) {
        self.api::<Pod>().delete(name, &DeleteParams::default()).await.expect("the pod is there");
    }

    /// Waits until her DevServer has another pod than `before`.
    pub(crate) async fn has_another_pod(&self, name: &str, before: &Pod) {
        eventually("another pod", async || {
            let pod = self.api::<Pod>().get_opt(name).await.expect("the API server answers")?;
            (pod.metadata.uid != before.metadata.uid).then_some(())
        })
        .await;
    }

    /// How many processes of her pod have `argument` among theirs.
    pub(crate) async fn counts_processes(&self, argument: &str) -> usize {
        // A line of its own is what no shell that merely mentions it has.
        let count = format!("cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n' | grep -c '^{argument}$'");
        let finished = self.ssh(&format!("{count}; true")).run().await;
        finished.exits(0).text().trim().parse().expect("grep counts")
    }

    /// Waits until just so many have it.
    pub(crate) async fn has_processes(&self, argument: &str, count: usize) {
        let what = format!("{count} processes with the argument {argument}");
        eventually(&what, async || (self.counts_processes(argument).await == count).then_some(())).await;
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let (name, namespace) = (self.name.clone(), self.namespace());
        let kubeconfig = self.product.kubeconfig().to_owned();
        // A thread, as a runtime cannot be entered from within another one's.
        let clean = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime can be had").block_on(async {
                let client = open_client(&kubeconfig).await;
                let parameters = DeleteParams::background();
                // What a test did not make, or deleted itself, is not missed.
                let _ = Api::<DevServerUser>::all(client.clone()).delete(&name, &parameters).await;
                let _ = Api::<Namespace>::all(client).delete(&namespace, &parameters).await;
            });
        });
        let _ = clean.join();
    }
}
