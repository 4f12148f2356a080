//! Keys that a user has at GitHub, GitLab or their like, here a server of the test's own.

use std::sync::{Arc, Mutex};

use bastion::api::DevServerUser;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use crate::harness::{Input, Product, Ssh, eventually, keygen, public};

/// Has one account.
struct Host {
    url: String,
    keys: Arc<Mutex<String>>,
    serving: AbortOnDropHandle<()>,
}

impl Host {
    async fn start(account: &str, keys: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there are ports");
        let url = format!("http://{}", listener.local_addr().expect("it listens"));
        let (request, keys) = (format!("GET /{account}.keys HTTP/1.1\r\n"), Arc::new(Mutex::new(keys)));
        let answers = keys.clone();
        let serving = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut asked = vec![0; 4096];
                let length = stream.read(&mut asked).await.unwrap_or(0);
                let answer = match asked[..length].starts_with(request.as_bytes()) {
                    true => {
                        let keys = answers.lock().expect("nobody panics").clone();
                        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{keys}", keys.len())
                    }
                    false => "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned(),
                };
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Self { url, keys, serving: AbortOnDropHandle::new(serving) }
    }
}

#[tokio::test]
async fn a_users_account_at_a_code_host_has_her_keys() {
    let product = Product::shared().await;
    let (alice, bob) = (product.user("alice").await, product.user("bob").await);
    let (key, other) =
        (keygen(product.folder(), "at-host", "ed25519"), keygen(product.folder(), "other-at-host", "ed25519"));
    // The account's name is not hers, and an account of bob's name is somebody else's.
    let host = Host::start("octocat", public(&key)).await;
    let strangers = Host::start(bob.name(), public(&other)).await;
    let registry =
        |name: &str, host: &Host| format!("{{ kind = \"code-host\", name = \"{name}\", url = \"{}\" }}", host.url);
    let registries = format!(
        "identity.registries=[{{ kind = \"user-objects\" }}, {}, {}]",
        registry("hub", &host),
        registry("strangers", &strangers)
    );
    let mut replica = product.serve(&[&registries, "identity.code_hosts.refresh=1s"]).await;
    let enters =
        async |name: &str, key| Ssh::new(&replica, name).key(key).command("echo in").run().await.text() == "in\n";
    assert!(!enters(alice.name(), &key).await);

    let users: Api<DevServerUser> = Api::all(product.client());
    let accounts = json!({"spec": {"accounts": {"hub": "octocat"}}});
    users.patch(alice.name(), &PatchParams::default(), &Patch::Merge(accounts)).await.expect("she is there");
    eventually("her account is known", async || enters(alice.name(), &key).await.then_some(())).await;
    assert!(!enters(alice.name(), &other).await);
    assert!(!enters(bob.name(), &key).await);
    assert!(!enters(bob.name(), &other).await);

    let echo = Ssh::new(&replica, alice.name()).key(&key).command("cat; exec sleep 98802").input(Input::Held);
    let mut session = echo.start();
    session.types("here\n").await;
    session.prints("here\n").await;
    *host.keys.lock().expect("nobody panics") = public(&other);
    session.finish().await.exits(255).says("your key was removed");
    eventually("the other key is there", async || enters(alice.name(), &other).await.then_some(())).await;
    assert!(!enters(alice.name(), &key).await);
    drop(host.serving);
    eventually("the host is missed", async || replica_says(&mut replica, "failed to read keys").then_some(())).await;
    let enters = Ssh::new(&replica, alice.name()).key(&other).command("echo in");
    enters.run().await.exits(0).prints("in\n");
}

#[tokio::test]
async fn settings_may_say_whose_account_is_whose_but_make_nobody_a_user() {
    let product = Product::shared().await;
    let (alice, bob) = (product.user("alice").await, product.user("bob").await);
    let nobody = format!("nobody-{:04x}", rand::random::<u16>());
    let key = keygen(product.folder(), "by-settings", "ed25519");
    let (hers, his) = (Host::start("octocat", public(&key)).await, Host::start(bob.name(), public(&key)).await);
    let strangers = Host::start(&nobody, public(&key)).await;
    let registry = |name: &str, host: &Host, more: &str| {
        format!("{{ kind = \"code-host\", name = \"{name}\", url = \"{}\", {more} }}", host.url)
    };
    let registries = format!(
        "identity.registries=[{{ kind = \"user-objects\" }}, {}, {}, {}]",
        registry("hers", &hers, &format!("accounts = {{ \"{}\" = \"octocat\" }}", alice.name())),
        registry("his", &his, "same_name = true"),
        registry("strangers", &strangers, "same_name = true"),
    );
    let replica = product.serve(&[&registries]).await;
    let enters = async |name: &str| Ssh::new(&replica, name).key(&key).command("echo in").run().await.text() == "in\n";
    for user in [&alice, &bob] {
        user.is_known_at(&replica).await;
        assert!(enters(user.name()).await);
    }
    assert!(!enters(&nobody).await);
}

fn replica_says(replica: &mut crate::harness::Replica, text: &str) -> bool {
    replica.server().log().contains(text)
}
