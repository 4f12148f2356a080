//! The product, running: one for all tests that run at the same time, or one with settings of its own.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, Weak};

use bastion::api::user::DevServerDefaults;
use bastion::api::{DevServerUser, DevServerUserSpec};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::sync::{Mutex, OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

use super::cluster::{Cluster, FLAVOR, is_real, open_client};
use super::{Gateway, Replica, User, free_port, keygen};

/// A test's hold on the product.
#[derive(Clone)]
pub(crate) struct Product {
    cluster: Arc<Cluster>,
    client: Client,
    /// Dropped last: then the cluster is free.
    _turn: Arc<Turn>,
}

/// Tests share the cluster, but for those that would disturb the others.
enum Turn {
    Shared(#[expect(dead_code, reason = "it is held")] OwnedRwLockReadGuard<()>),
    Alone(#[expect(dead_code, reason = "it is held")] OwnedRwLockWriteGuard<()>),
}

fn cluster_in_use() -> Arc<RwLock<()>> {
    static IN_USE: LazyLock<Arc<RwLock<()>>> = LazyLock::new(Arc::default);
    Arc::clone(&IN_USE)
}

/// A new user with a key, called something like `name`, of the product that tests share.
pub(crate) async fn user(name: &str) -> User {
    Product::shared().await.user(name).await
}

impl Product {
    /// The product that tests share; it is started by the first and stopped by the last that holds it.
    pub(crate) async fn shared() -> Self {
        static SHARED: Mutex<Weak<Cluster>> = Mutex::const_new(Weak::new());
        let turn = Turn::Shared(cluster_in_use().read_owned().await);
        let mut shared = SHARED.lock().await;
        let cluster = match shared.upgrade() {
            Some(cluster) => cluster,
            None => {
                let cluster = Arc::new(Cluster::start(&[]).await);
                *shared = Arc::downgrade(&cluster);
                cluster
            }
        };
        Self::on(cluster, turn).await
    }

    /// One on a cluster that no other test uses meanwhile.
    pub(crate) async fn undisturbed() -> Self {
        Self::undisturbed_with(&[]).await
    }

    /// The same, with `settings` such as `operator.home_size=1Gi`.
    pub(crate) async fn undisturbed_with(settings: &[&str]) -> Self {
        // An embedded one is nobody else's anyway.
        let turn = match is_real() {
            true => Turn::Alone(cluster_in_use().write_owned().await),
            false => Turn::Shared(cluster_in_use().read_owned().await),
        };
        Self::on(Arc::new(Cluster::start(settings).await), turn).await
    }

    async fn on(cluster: Arc<Cluster>, turn: Turn) -> Self {
        let client = open_client(&cluster.kubeconfig).await;
        Self { cluster, client, _turn: Arc::new(turn) }
    }

    /// Changes fields of the spec of a user's object.
    pub(crate) async fn change(&self, user: &User, spec: Value) {
        let users: Api<DevServerUser> = Api::all(self.client());
        let patch = Patch::Merge(json!({ "spec": spec }));
        users.patch(user.name(), &PatchParams::default(), &patch).await.expect("users can be changed");
    }

    /// A new user with a key, called something like `name`.
    pub(crate) async fn user(&self, name: &str) -> User {
        self.user_with(name, DevServerDefaults::default()).await
    }

    /// A new user whose DevServers have this image.
    pub(crate) async fn user_with_image(&self, name: &str, image: &str) -> User {
        self.user_with(name, DevServerDefaults { image: Some(image.to_owned()), ..Default::default() }).await
    }

    /// A new user whose default DevServer is made so.
    pub(crate) async fn user_with(&self, name: &str, mut defaults: DevServerDefaults) -> User {
        let user = self.stranger(name);
        let public = std::fs::read_to_string(user.key().with_extension("pub")).expect("ssh-keygen wrote it");
        defaults.flavor.get_or_insert(FLAVOR.to_owned());
        let spec = DevServerUserSpec {
            public_keys: vec![public.trim().to_owned()],
            dev_server: Some(defaults),
            ..DevServerUserSpec::default()
        };
        let users: Api<DevServerUser> = Api::all(self.client());
        let object = DevServerUser::new(user.name(), spec);
        users.create(&PostParams::default(), &object).await.expect("users can be made");
        user.is_known_at(self.front()).await;
        user
    }

    /// Somebody with a name and a key that the cluster has not heard of.
    pub(crate) fn stranger(&self, name: &str) -> User {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{name}-{}-{}", self.cluster.run, COUNT.fetch_add(1, Ordering::Relaxed));
        let key = keygen(self.folder(), &name, "ed25519");
        User::new(name, key, self.clone())
    }

    /// One more `bastion serve` on this cluster, with `settings` such as `ssh.max_sessions=2`.
    pub(crate) async fn serve(&self, settings: &[&str]) -> Replica {
        self.serve_through(self.kubeconfig(), settings).await
    }

    /// One more `bastion serve`, that finds the cluster by `kubeconfig`.
    pub(crate) async fn serve_through(&self, kubeconfig: &Path, settings: &[&str]) -> Replica {
        Replica::start(kubeconfig, self.namespace(), self.folder(), settings).await
    }

    /// One more `bastion serve`, to which the API server can be cut off.
    pub(crate) async fn serve_behind_gateway(&self, settings: &[&str]) -> (Replica, Gateway) {
        let gateway = Gateway::to(self.kubeconfig()).await;
        let kubeconfig = self.folder().join(format!("gateway-{}", free_port()));
        std::fs::write(&kubeconfig, gateway.rewrite(self.kubeconfig())).expect("the folder is ours");
        (self.serve_through(&kubeconfig, settings).await, gateway)
    }

    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    pub(crate) fn front(&self) -> &Replica {
        &self.cluster.front
    }

    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.cluster.kubeconfig
    }

    /// Where its bastions have their host key and their lease.
    pub(crate) fn namespace(&self) -> &str {
        &self.cluster.namespace.name
    }

    pub(crate) fn folder(&self) -> &Path {
        self.cluster.folder.path()
    }

    /// What the API server wrote of who did what.
    pub(crate) fn audit_log(&self) -> String {
        std::fs::read_to_string(&self.cluster.audit_log).expect("the audit log is readable")
    }
}
