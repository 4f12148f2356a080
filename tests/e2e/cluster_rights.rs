//! A right that the cluster withholds is named at the start, not by a login that fails.

use std::time::Duration;

use crate::harness::{Product, Server, free_port, is_real, kubectl, skip_unless};

#[tokio::test]
async fn a_missing_right_is_named_at_the_start() {
    skip_unless!(is_real(), "the embedded cluster lets its administrator do everything");
    let product = Product::shared().await;
    let account = Account::with_all_rights_but("networkpolicies");
    let kubeconfig = product.folder().join("restricted");
    std::fs::write(&kubeconfig, account.kubeconfig(product.kubeconfig())).expect("the folder is ours");
    let config = product.folder().join("restricted.toml");
    let port = free_port();
    std::fs::write(&config, format!("[ssh]\nlisten = \"127.0.0.1:0\"\n[telemetry]\nlisten = \"127.0.0.1:{port}\"\n"))
        .expect("the folder is ours");
    let arguments = ["serve", "--config", config.to_str().expect("plain")];
    let mut server = Server::start(&arguments, |command| {
        command.env("KUBECONFIG", &kubeconfig);
    });
    let status = server.ends_within(Duration::from_secs(30)).await;
    assert!(!status.success() && server.stdout().is_empty());
    assert!(server.log().contains("networkpolicies"), "{}", server.log());
}

/// A service account that may do all that `bastion serve` may, one rule aside. Dropped, it is deleted.
struct Account {
    name: String,
}

impl Account {
    fn with_all_rights_but(resource: &str) -> Self {
        let name = format!("bastion-e2e-rights-{}", std::process::id());
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/k8s/base");
        let built = kubectl(&["kustomize", folder], "");
        let is_serves = |object: &&str| {
            object.contains("kind: ClusterRole\n") && object.contains("impersonate") && object.contains(resource)
        };
        let role = built.split("\n---\n").find(is_serves).expect("k8s/base has the role of serve");
        let role = role.replace(&format!("- {resource}\n"), "- nothing\n");
        let role_name = role.lines().find_map(|line| line.strip_prefix("  name: ")).expect("it has a name");
        let role = role.replace(&format!("  name: {role_name}\n"), &format!("  name: {name}\n"));
        kubectl(&["apply", "-f", "-"], &role);
        kubectl(&["create", "serviceaccount", &name, "-n", "default"], "");
        let account = format!("--serviceaccount=default:{name}");
        kubectl(&["create", "clusterrolebinding", &name, &format!("--clusterrole={name}"), &account], "");
        // For the host key, which is not what this is about.
        kubectl(&["create", "rolebinding", &name, "-n", "default", "--clusterrole=admin", &account], "");
        Self { name }
    }

    fn kubeconfig(&self, admin: &std::path::Path) -> String {
        let token = kubectl(&["create", "token", &self.name, "-n", "default"], "");
        let view = |path: &str| {
            let admin = admin.to_str().expect("plain");
            kubectl(
                &["--kubeconfig", admin, "config", "view", "--raw", "--minify", "-o", &format!("jsonpath={path}")],
                "",
            )
        };
        let server = view("{.clusters[0].cluster.server}");
        let authority = view("{.clusters[0].cluster.certificate-authority-data}");
        serde_json::json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": server, "certificate-authority-data": authority}}],
            "users": [{"name": "u", "user": {"token": token.trim()}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": "default"}}],
            "current-context": "x",
        })
        .to_string()
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        for object in [["clusterrolebinding", "rolebinding"], ["clusterrole", "serviceaccount"]].concat() {
            let mut command = std::process::Command::new("kubectl");
            // What was not made yet when the test failed is not missed.
            let _ = command.args(["delete", object, &self.name, "-n", "default", "--ignore-not-found"]).output();
        }
    }
}
