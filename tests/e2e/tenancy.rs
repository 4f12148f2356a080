//! Whatever one user tries, she reaches nothing of another's.

use bastion::api::{DevServer, names};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, ServiceAccount};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::{Value, json};

use crate::harness::{Product, User, eventually, has_agents, is_real, keygen, kubectl, skip_unless, with_agents};

/// A client as her account, which is what her sessions act as, and whose token her pods may have.
async fn client_as(product: &Product, user: &User) -> Client {
    client_of(product, names::service_account_username(user.name())).await
}

async fn client_of(product: &Product, account: String) -> Client {
    let kubeconfig = Kubeconfig::read_from(product.kubeconfig()).expect("the kubeconfig is there");
    let mut config =
        Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.expect("it is whole");
    config.auth_info.impersonate = Some(account);
    Client::try_from(config).expect("TLS has a provider")
}

async fn answers(client: &Client, method: &str, path: &str, body: Value) -> u16 {
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let request = http::Request::builder().method(method).uri(path).header("content-type", "application/json");
    match client.request_text(request.body(body).expect("it is a request")).await {
        Ok(_) => 200,
        Err(kube::Error::Api(status)) => status.code,
        Err(error) => panic!("{method} {path}: {error}"),
    }
}

#[tokio::test]
async fn no_login_name_leads_to_another_users_pod() {
    let product = Product::shared().await;
    let (alice, bob) = (product.user("alice").await, product.user("bob").await);
    alice.is_running().await;
    bob.ssh("echo his >secret").run().await.exits(0);
    let long = "x".repeat(3000);
    let (b, namespace) = (bob.name(), bob.namespace());
    let targets = [
        format!("{b}/dev"),
        format!("../{namespace}/dev"),
        format!("dev.{b}"),
        format!("dev.{namespace}"),
        format!("dev.{b}.{b}"),
        format!("{namespace}/pods/dev"),
        format!("..%2f{namespace}%2fdev"),
        format!("%2e%2e/{namespace}/dev"),
        "dev?container=x".to_owned(),
        "dev/exec".to_owned(),
        "dev\u{202e}".to_owned(),
        "dév".to_owned(),
        "DEV".to_owned(),
        "dev ".to_owned(),
        ".".to_owned(),
        "..".to_owned(),
        "-dev".to_owned(),
        "dev-home".to_owned(),
        long,
    ];
    for target in targets {
        let shown: String = target.chars().take(40).collect();
        let finished = alice.ssh("cat secret").login(&format!("{}+{target}", alice.name())).run().await;
        finished.exits(255).prints("");
        let said = finished.stderr().to_owned();
        assert!(said.contains("you have no DevServer"), "{shown}: {said}");
        // And nothing is told of him.
        assert!(!said.replace(&target, "").contains(b), "{shown}: {said}");
    }
    // Her key is not his, whatever she says she is.
    for login in [b.to_owned(), format!("{b}+dev"), format!("{b}+dev.{}", alice.name())] {
        alice.ssh("cat secret").login(&login).run().await.exits(255).prints("").says("Permission denied");
    }
}

#[tokio::test]
async fn no_jump_or_forward_leads_to_another_users_pod() {
    let Some((product, [alice, bob])) = with_agents(["alice", "bob"]).await else { return };
    alice.is_running().await;
    bob.is_running().await;
    let known_hosts = product.folder().join(format!("{}-known", alice.name()));
    for host in
        [format!("dev.{}", bob.name()), format!("{}.{}", bob.name(), alice.name()), format!("dev.{}", bob.namespace())]
    {
        let jump = alice.ssh("cat secret").jump(&host, alice.key(), &known_hosts);
        jump.run().await.exits(255).prints("");
        let port = alice.shell().argument("-W").argument(&format!("{host}:8888"));
        port.run().await.exits(255).prints("");
    }
    // In her own connection nobody else logs in, with whatever key.
    let stranger = keygen(product.folder(), &format!("{}-stranger", alice.name()), "ed25519");
    for key in [bob.key(), &stranger] {
        let jump = alice.ssh("true").jump("dev", key, &known_hosts);
        jump.run().await.exits(255).says("Permission denied");
    }
}

#[tokio::test]
async fn a_pods_network_is_its_users_alone() {
    skip_unless!(is_real() && has_agents(), "the embedded cluster has no network policy");
    let product = Product::shared().await;
    let (alice, bob) = (product.user("alice").await, product.user("bob").await);
    alice.is_running().await;
    bob.add_devserver("other").await;
    let server = "exec python3 -u -m http.server 8888";
    let _serving = bob.ssh(server).start();
    let address =
        eventually("his pod's address", async || bob.api::<Pod>().get("dev").await.ok()?.status?.pod_ip).await;
    let fetch = |name: &str| {
        let fetch = format!("python3 -c \"import urllib.request as r; r.urlopen('http://{address}:8888', timeout=5)\"");
        (fetch, name.to_owned())
    };
    // From another pod of his it is reached, so that it is no wonder that hers does not reach it.
    eventually("his own pods reach it", async || {
        let (command, name) = fetch("other");
        bob.ssh(&command).login(&format!("{}+{name}", bob.name())).run().await.succeeded().then_some(())
    })
    .await;
    alice.ssh(&fetch("dev").0).run().await.exits(1).prints("").says("Error");
    let forward = alice.shell().argument("-W").argument(&format!("{address}:8888"));
    forward.run().await.exits(255).prints("");
}

#[tokio::test]
async fn an_account_may_nothing_in_another_namespace() {
    let product = Product::shared().await;
    let (alice, bob) = (product.user("alice").await, product.user("bob").await);
    alice.is_running().await;
    bob.is_running().await;
    let client = client_as(&product, &alice).await;
    let (core, ours) = ("/api/v1", "/apis/devserver.io/v1");
    let his = bob.namespace();
    let devserver =
        json!({"apiVersion": "devserver.io/v1", "kind": "DevServer", "metadata": {"name": "mine"}, "spec": {}});
    let tries = [
        ("GET", format!("{core}/namespaces/{his}/pods"), Value::Null),
        ("GET", format!("{core}/namespaces/{his}/pods/dev"), Value::Null),
        ("GET", format!("{core}/namespaces/{his}/pods/dev/log"), Value::Null),
        ("GET", format!("{core}/namespaces/{his}/pods/dev/exec?command=id&stdout=true"), Value::Null),
        ("POST", format!("{core}/namespaces/{his}/pods/dev/exec?command=id&stdout=true"), Value::Null),
        ("GET", format!("{core}/namespaces/{his}/secrets"), Value::Null),
        ("GET", format!("{core}/namespaces/{his}/persistentvolumeclaims"), Value::Null),
        ("GET", format!("{core}/pods"), Value::Null),
        ("GET", format!("{core}/namespaces"), Value::Null),
        ("GET", format!("{ours}/devservers"), Value::Null),
        ("GET", format!("{ours}/devserverusers"), Value::Null),
        ("GET", format!("{ours}/devserverusers/{}", bob.name()), Value::Null),
        ("GET", format!("{ours}/namespaces/{his}/devservers"), Value::Null),
        ("POST", format!("{ours}/namespaces/{his}/devservers"), devserver),
        ("DELETE", format!("{ours}/namespaces/{his}/devservers/dev"), Value::Null),
        ("DELETE", format!("{core}/namespaces/{his}"), Value::Null),
        // Nor on what says who she is.
        ("DELETE", format!("{ours}/devserverusers/{}", alice.name()), Value::Null),
        ("POST", format!("{ours}/devserverusers"), json!({"metadata": {"name": "somebody"}, "spec": {}})),
        ("POST", format!("{ours}/devserverflavors"), json!({"metadata": {"name": "big"}, "spec": {"resources": {}}})),
        // Nor on what says where data is, and who shares it.
        ("POST", format!("{ours}/devserverteams"), json!({"metadata": {"name": "all"}, "spec": {}})),
        ("POST", format!("{core}/persistentvolumes"), json!({"metadata": {"name": "all"}, "spec": {}})),
        ("GET", format!("{core}/persistentvolumes"), Value::Null),
    ];
    for (method, path, body) in tries {
        assert_eq!(answers(&client, method, &path, body).await, 403, "{method} {path}");
    }
    if is_real() {
        // What the embedded cluster lets her do in her own namespace, a real one does not.
        let hers = alice.namespace();
        let rbac = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{hers}");
        let reference =
            json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"});
        let tries = [
            ("POST", format!("{core}/namespaces/{hers}/pods"), json!({"metadata": {"name": "own"}, "spec": {}})),
            ("POST", format!("{core}/namespaces/{hers}/persistentvolumeclaims"), json!({"metadata": {"name": "own"}})),
            ("POST", format!("{core}/namespaces/{hers}/serviceaccounts/{}/token", alice.name()), json!({"spec": {}})),
            ("POST", format!("{rbac}/rolebindings"), json!({"metadata": {"name": "own"}, "roleRef": reference})),
            ("POST", format!("{rbac}/roles"), json!({"metadata": {"name": "own"}, "rules": []})),
            ("DELETE", format!("{core}/namespaces/{hers}/resourcequotas/dev-user"), Value::Null),
            (
                "DELETE",
                format!("/apis/networking.k8s.io/v1/namespaces/{hers}/networkpolicies/default-deny"),
                Value::Null,
            ),
            ("GET", format!("{core}/namespaces/{hers}/secrets"), Value::Null),
        ];
        for (method, path, body) in tries {
            assert_eq!(answers(&client, method, &path, body).await, 403, "{method} {path}");
        }
    }
    // Her own she may, so that the client is no fault of the test's.
    let own = format!("{ours}/namespaces/{}/devservers", alice.namespace());
    assert_eq!(answers(&client, "GET", &own, Value::Null).await, 200);
}

#[tokio::test]
async fn a_guests_account_may_enter_the_one_pod_and_nothing_else() {
    let product = Product::shared().await;
    let (alice, bob) = (product.user("alice").await, product.user("bob").await);
    alice.is_running().await;
    bob.is_running().await;
    alice.add_devserver("private").await;
    alice.ssh("true").login(&format!("{}+private", alice.name())).run().await.exits(0);
    let share = Patch::Merge(json!({"spec": {"share": [{"user": bob.name()}]}}));
    alice.api::<DevServer>().patch("dev", &PatchParams::default(), &share).await.expect("it is there");
    let login = format!("{}+dev.{}", bob.name(), alice.name());
    eventually("he is let in", async || bob.ssh("true").login(&login).run().await.succeeded().then_some(())).await;
    let client = client_of(&product, names::guest_account_username(alice.name(), bob.name())).await;
    let hers = format!("/api/v1/namespaces/{}", alice.namespace());
    for path in
        ["pods/private/exec?command=id&stdout=true", "pods/dev", "pods", "pods/dev/log", "persistentvolumeclaims"]
    {
        let path = format!("{hers}/{path}");
        assert_eq!(answers(&client, "GET", &path, Value::Null).await, 403, "{path}");
    }
    let devserver = format!("/apis/devserver.io/v1/namespaces/{}/devservers/dev", alice.namespace());
    assert_eq!(answers(&client, "GET", &devserver, Value::Null).await, 403);
    // Not refused, but no WebSocket.
    let exec = format!("{hers}/pods/dev/exec?command=id&stdout=true");
    assert_ne!(answers(&client, "GET", &exec, Value::Null).await, 403);

    // But by the bastion alone. His own account, whose token programs in a pod of his may have, enters nothing of hers:
    // it would be past what his key may, in no log of the bastion, and for as long as the program runs.
    let own = client_as(&product, &bob).await;
    for method in ["GET", "POST"] {
        assert_eq!(answers(&own, method, &exec, Value::Null).await, 403, "{method}");
    }
    // And nobody has a token of the other: there is no such account.
    let accounts: Vec<ServiceAccount> =
        alice.api().list(&ListParams::default()).await.expect("the API server answers").items;
    assert!(accounts.iter().all(|account| account.metadata.name.as_ref().is_some_and(|name| !name.contains('.'))));
}

/// What no schema knows reaches no pod.
#[tokio::test]
async fn a_devserver_cannot_ask_for_more_than_its_fields() {
    let product = Product::shared().await;
    let (alice, bob) = (product.user("alice").await, product.user("bob").await);
    alice.is_running().await;
    bob.is_running().await;
    let devserver = json!({
        "apiVersion": "devserver.io/v1",
        "kind": "DevServer",
        "metadata": {
            "name": "greedy",
            "labels": {"devserver.io/user": bob.name(), "app.kubernetes.io/managed-by": "bob", "devserver.io/devserver": "dev"},
            "annotations": {"devserver.io/user": bob.name()},
        },
        "spec": {
            "flavor": "e2e",
            "hostPath": "/",
            "hostNetwork": true,
            "hostPID": true,
            "privileged": true,
            "serviceAccountName": bob.name(),
            "nodeName": "elsewhere",
            "namespace": bob.namespace(),
            "owner": bob.name(),
            "securityContext": {"privileged": true},
            "volumes": [{
                "claim": "dev-home", "namespace": bob.namespace(), "hostPath": {"path": "/"}, "mountPath": "/host", "readOnly": true,
            }],
        },
        "status": {"phase": "Running", "podName": "dev", "agent": true},
    });
    // As JSON that no type of ours has gone through.
    let path = format!("/apis/devserver.io/v1/namespaces/{}/devservers", alice.namespace());
    let made = answers(&product.client(), "POST", &path, devserver).await;
    assert_eq!(made, 200, "what is not known is left out");
    let pod: Pod = alice.has("greedy").await;
    assert_eq!(pod.metadata.namespace.as_deref(), Some(alice.namespace().as_str()));
    assert_eq!(pod.metadata.labels.as_ref().expect("it has some")["devserver.io/user"], alice.name());
    let spec = serde_json::to_value(pod.spec.expect("it has one")).expect("it is JSON");
    assert_eq!(spec["serviceAccountName"], alice.name());
    assert_eq!(spec["automountServiceAccountToken"], false);
    for absent in ["hostNetwork", "hostPID", "hostIPC"] {
        assert!(spec[absent].is_null() || spec[absent] == false, "{absent}");
    }
    assert_ne!(spec["nodeName"], "elsewhere");
    let kinds = ["hostPath", "nfs", "csi", "secret", "projected"];
    for volume in spec["volumes"].as_array().expect("there are some") {
        assert!(kinds.iter().all(|kind| volume[kind].is_null()), "{volume}");
    }
    for container in spec["containers"].as_array().expect("there is one") {
        assert!(container["securityContext"]["privileged"].is_null(), "{container}");
    }
    // The claim is her own of that name, as there is no way to say another namespace.
    let claims: Vec<PersistentVolumeClaim> =
        alice.api().list(&ListParams::default()).await.expect("the API server answers").items;
    assert!(claims.iter().any(|claim| claim.metadata.name.as_deref() == Some("dev-home")));
}

/// Only the operator says what a DevServer is like, and what anybody says leads nowhere else.
#[tokio::test]
async fn a_status_that_is_made_up_leads_nowhere() {
    let product = Product::shared().await;
    let (alice, bob) = (product.user("alice").await, product.user("bob").await);
    alice.ssh("echo hers >whose").run().await.exits(0);
    bob.ssh("echo his >whose").run().await.exits(0);
    if is_real() {
        let client = client_as(&product, &alice).await;
        let servers: Api<DevServer> = Api::namespaced(client, &alice.namespace());
        let patch = Patch::Merge(json!({"status": {"podName": "other"}}));
        let refused = servers.patch_status("dev", &PatchParams::default(), &patch).await;
        assert!(matches!(refused, Err(kube::Error::Api(status)) if status.code == 403));
    }
    // As if she could: a name that would lead out of the URL of her namespace. It is put right by the operator, sooner
    // or later than a login.
    for name in [format!("../../{}/pods/dev", bob.namespace()), "..".to_owned()] {
        let patch = Patch::Merge(json!({"status": {"podName": name}}));
        let servers = alice.api::<DevServer>();
        servers.patch_status("dev", &PatchParams::default(), &patch).await.expect("an administrator may");
        for _ in 0..3 {
            alice.ssh("cat whose").run().await.exits(0).prints("hers\n");
        }
    }
}

/// Whatever she writes on her own objects about his, his come and go as he likes.
#[tokio::test]
async fn claims_on_anothers_objects_are_void() {
    let product = Product::shared().await;
    let (alice, bob) = (product.user("alice").await, product.user("bob").await);
    alice.is_running().await;
    bob.ssh("echo his >whose").run().await.exits(0);
    let uid = bob.api::<DevServer>().get("dev").await.expect("it is there").metadata.uid;
    let claims = json!({"metadata": {
        "finalizers": ["example.org/held"],
        "labels": {"devserver.io/user": bob.name()},
        "ownerReferences": [{
            "apiVersion": "devserver.io/v1", "kind": "DevServer", "name": "dev", "uid": uid,
            "controller": true, "blockOwnerDeletion": true,
        }],
    }});
    alice.add_devserver("claims").await;
    let hers = alice.api::<DevServer>();
    hers.patch("claims", &PatchParams::default(), &Patch::Merge(claims)).await.expect("they can be written");
    bob.ssh("cat whose").run().await.exits(0).prints("his\n");
    // In the foreground it would wait for hers, unless the API server has OwnerReferencesPermissionEnforcement.
    bob.api::<DevServer>().delete("dev", &DeleteParams::background()).await.expect("it is there");
    eventually("his is gone", async || {
        bob.api::<DevServer>().get_opt("dev").await.expect("the API server answers").is_none().then_some(())
    })
    .await;
    bob.ssh("cat whose").run().await.exits(0).prints("his\n");
    let freed = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    // It may be gone, as an owner in another namespace is none at all.
    let _ = hers.patch("claims", &PatchParams::default(), &freed).await;
}

#[tokio::test]
async fn no_token_of_the_cluster_is_in_a_pod() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice.ssh("cat /var/run/secrets/kubernetes.io/serviceaccount/token").run().await.exits(1).prints("");
}

#[tokio::test]
async fn a_namespace_takes_no_pod_beyond_the_baseline() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice.is_running().await;
    let pod = |spec: Value| {
        let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "beyond"}, "spec": {"containers": [{"name": "c", "image": "localhost/dev:1"}]}});
        for (key, value) in spec.as_object().expect("it is one") {
            pod["spec"][key] = value.clone();
        }
        serde_json::from_value::<Pod>(pod).expect("it is a pod")
    };
    let privileged =
        json!({"containers": [{"name": "c", "image": "localhost/dev:1", "securityContext": {"privileged": true}}]});
    for spec in [
        privileged,
        json!({"hostNetwork": true}),
        json!({"hostPID": true}),
        json!({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}),
    ] {
        let refused = alice.api::<Pod>().create(&PostParams::default(), &pod(spec.clone())).await;
        assert!(matches!(&refused, Err(kube::Error::Api(status)) if status.code == 403), "{spec}: {refused:?}");
    }
}

/// The agent does for others what they could do anyway: who is not its own user is not heard.
#[tokio::test]
async fn the_agent_serves_nobody_but_its_own_user() {
    let Some((_, [alice])) = with_agents(["alice"]).await else { return };
    // Only root can be somebody else.
    alice.add_devserver_with("root", json!({ "user": { "uid": 0 } })).await;
    let in_root = async |command: &str| alice.ssh(command).login(&format!("{}+root", alice.name())).run().await;
    let id = in_root("id -u").await;
    skip_unless!(id.text() == "0\n", "whoever runs the embedded cluster is not root");
    if is_real() {
        let rights = |process| format!("grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/{process}/status");
        let command = ["exec", "-n", &alice.namespace(), "root", "--", "sh", "-c", &rights("self")];
        let containers = kubectl(&command, "");
        in_root(&rights("$PPID")).await.exits(0).prints(&containers);
        in_root(&rights("self")).await.exits(0).prints(&containers);
    }
    // Where the agent is, its socket is. Whoever may open it, it hears none but its own user.
    let knock = r#"exec python3 -c "
import os, socket, sys
os.chdir(os.path.dirname(os.readlink('/proc/%s/exe' % sys.argv[1])))
os.chmod('agent.sock', 0o777)
os.setgroups([]); os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[2]))
s = socket.socket(socket.AF_UNIX); s.settimeout(3)
try: s.connect('agent.sock'); print('sent away' if not s.recv(1) else 'answered')
except PermissionError: print('kept away')
except TimeoutError: print('heard')
" $PPID "#;
    in_root(&format!("{knock} 0")).await.exits(0).prints("heard\n");
    let stranger = in_root(&format!("{knock} 65534")).await;
    assert!(["sent away\n", "kept away\n"].contains(&stranger.exits(0).text().as_str()), "{}", stranger.text());
}
