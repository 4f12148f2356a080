//! Who may come in, and what accounts may do.

use super::*;
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use kube::api::ListParams;

/// The code of the answer to `user`.
async fn asked_as(running: &Running, user: &str, method: &str, path: &str) -> u16 {
    let request = http::Request::builder().method(method).uri(path).header("Impersonate-User", user);
    match running.client.request::<Value>(request.body(Vec::new()).unwrap()).await {
        Ok(_) => 200,
        Err(kube::Error::Api(status)) => status.code,
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test]
async fn only_the_token_opens() {
    let running = Running::start().await;
    let mut config = running.cluster.client_config();
    config.auth_info.token = None;
    let stranger = Client::try_from(config).unwrap();
    let namespaces: Api<Namespace> = Api::all(stranger);
    assert_eq!(code(namespaces.list(&ListParams::default()).await).0, 401);

    let file = kube::config::Kubeconfig::read_from(running.cluster.kubeconfig()).unwrap();
    let config = kube::Config::from_custom_kubeconfig(file, &Default::default()).await.unwrap();
    let namespaces: Api<Namespace> = Api::all(Client::try_from(config).unwrap());
    assert!(namespaces.get("default").await.is_ok());
    running.cluster.stop().await;
}

#[tokio::test]
async fn loopback_only_and_one_cluster_on_its_data() {
    let running = Running::start().await;
    let open = Config::new("0.0.0.0:0".parse().unwrap(), running.data.path());
    let refused = Cluster::start(open, Vec::new()).await.err().unwrap();
    assert!(matches!(refused, Error::NotLoopback(_)), "{refused}");
    let second = Config::new("127.0.0.1:0".parse().unwrap(), running.data.path());
    let refused = Cluster::start(second, Vec::new()).await.err().unwrap();
    assert!(matches!(refused, Error::InUse(_)), "{refused}");
    running.cluster.stop().await;
}

#[tokio::test]
async fn an_account_acts_in_its_own_namespace_only() {
    let running = Running::start().await;
    running.namespace("team").await;
    let accounts = running.within::<ServiceAccount>("team");
    accounts.create(&PostParams::default(), &from(json!({"metadata": {"name": "alice"}}))).await.unwrap();
    let get = async |user: &str, namespace: &str| {
        asked_as(&running, user, "GET", &format!("/api/v1/namespaces/{namespace}/configmaps")).await
    };
    assert_eq!(get("system:serviceaccount:team:alice", "team").await, 200);
    assert_eq!(get("system:serviceaccount:team:alice", "default").await, 403);
    assert_eq!(get("system:serviceaccount:team:nobody", "team").await, 403);
    assert_eq!(get("root", "team").await, 403);

    let log = fs::read_to_string(running.data.path().join("audit.log")).unwrap();
    let events: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of_alice = events.iter().filter(|event| {
        event["impersonatedUser"]["username"] == "system:serviceaccount:team:alice" && event["verb"] == "list"
    });
    let codes: Vec<_> = of_alice.map(|event| event["responseStatus"]["code"].as_u64().unwrap()).collect();
    assert_eq!(codes, [200, 403]);
    running.cluster.stop().await;
}

#[tokio::test]
async fn an_account_may_elsewhere_what_roles_say() {
    let running = Running::start().await;
    running.namespace("team").await;
    let ask =
        async |method: &str, path: &str| asked_as(&running, "system:serviceaccount:team:default", method, path).await;
    let rule = json!({"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]});
    let role = from(json!({"metadata": {"name": "see-nodes"}, "rules": [rule]}));
    let role_ref = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "see-nodes"});
    let subject = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:serviceaccounts"});
    let binding = from(json!({"metadata": {"name": "see-nodes"}, "roleRef": role_ref, "subjects": [subject]}));
    assert_eq!(ask("GET", "/api/v1/nodes").await, 403);
    running.all::<ClusterRole>().create(&PostParams::default(), &role).await.unwrap();
    running.all::<ClusterRoleBinding>().create(&PostParams::default(), &binding).await.unwrap();
    assert_eq!(ask("GET", "/api/v1/nodes").await, 200);
    assert_eq!(ask("GET", "/api/v1/nodes/minik8s").await, 403);
    assert_eq!(ask("DELETE", "/api/v1/nodes").await, 403);
    assert_eq!(ask("GET", "/api/v1/namespaces/default/configmaps").await, 403);

    // Nobody looks whether the account is there: roles are bound to a name.
    let ask_as_nobody =
        async |path: &str| asked_as(&running, "system:serviceaccount:team:nobody", "GET", path).await == 200;
    assert!(!ask_as_nobody("/api/v1/namespaces/team/configmaps").await);
    let rule = json!({"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]});
    let role = from(json!({"metadata": {"name": "see-maps"}, "rules": [rule]}));
    let role_ref = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "see-maps"});
    let subject = json!({"kind": "ServiceAccount", "namespace": "team", "name": "nobody"});
    let binding = from(json!({"metadata": {"name": "see-maps"}, "roleRef": role_ref, "subjects": [subject]}));
    running.within::<Role>("team").create(&PostParams::default(), &role).await.unwrap();
    running.within::<RoleBinding>("team").create(&PostParams::default(), &binding).await.unwrap();
    assert!(ask_as_nobody("/api/v1/namespaces/team/configmaps").await);
    assert!(!ask_as_nobody("/api/v1/namespaces/team/secrets").await);
    running.cluster.stop().await;
}
