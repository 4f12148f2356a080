//! Where forwards may lead (OpenSSH's PermitOpen and PermitListen): as the configuration, a user's object or a key
//! lists it.

use std::time::Duration;

use bastion::api::DevServerUser;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::forwards::{connect, exchange, shouts, socks};
use crate::harness::{
    Input, Product, Replica, Session, Ssh, User, eventually, free_port, is_real, public, skip_unless, with_agents,
    within,
};

const PROHIBITED: &str = "administratively prohibited";

/// A port of alice's pod where somebody answers, and one where nobody listens.
struct Ports {
    open: u16,
    listen: u16,
    _server: Session,
}

impl Ports {
    async fn of(alice: &User) -> Self {
        Self::at(alice, free_port(), free_port()).await
    }

    async fn at(alice: &User, open: u16, listen: u16) -> Self {
        let _server = shouts(alice, &open.to_string()).await;
        Self { open, listen, _server }
    }

    /// Forwards of every kind lead to `localhost` at these ports. By another name for it, or at another port, none
    /// does.
    async fn are_all_that_forwards_lead_to(&self, ssh: impl Fn() -> Ssh) {
        let Self { open, listen, .. } = self;
        let words = ssh().argument("-W").argument(&format!("localhost:{open}")).input(Input::Bytes(b"by -W".into()));
        words.run().await.exits(0).prints("BY -W");
        ssh().argument("-W").argument(&format!("127.0.0.1:{open}")).run().await.exits(255).says(PROHIBITED);

        let (here, nowhere, dynamic) = (free_port(), free_port(), free_port());
        let local = ssh()
            .argument("-N")
            .argument("-L")
            .argument(&format!("{here}:localhost:{open}"))
            .argument("-L")
            .argument(&format!("{nowhere}:127.0.0.1:{open}"))
            .argument("-D")
            .argument(&dynamic.to_string())
            .start();
        assert_eq!(exchange(connect(here).await, b"by -L").await, b"BY -L");
        let socket = socks(dynamic, "localhost", *open).await.expect("it is permitted");
        assert_eq!(exchange(socket, b"by -D").await, b"BY -D");
        assert!(!local.stderr().contains(PROHIBITED), "{}", local.stderr());
        ends_unanswered(connect(nowhere).await).await;
        local.says(PROHIBITED).await;
        for (host, port) in [("127.0.0.1", *open), ("localhost", 1)] {
            assert!(socks(dynamic, host, port).await.is_none(), "{host}:{port}");
        }
        local.kill().await;

        listens(ssh(), &format!("{listen}:localhost:1")).await.exits(0);
        for elsewhere in [format!("127.0.0.1:{listen}:localhost:1"), "0:localhost:1".to_owned()] {
            listens(ssh(), &elsewhere).await.exits(255).says("remote port forwarding failed");
        }
    }
}

/// A forwarded connection that is not made is closed.
async fn ends_unanswered(mut socket: impl AsyncReadExt + AsyncWriteExt + Unpin) {
    let _ = socket.write_all(b"anybody?").await;
    let mut answer = Vec::new();
    let read = within(Duration::from_secs(30), "the end of a connection", socket.read_to_end(&mut answer)).await;
    assert!(read.is_err() || answer.is_empty(), "{answer:?}");
}

/// Whether the pod can be made to listen there.
async fn listens(ssh: Ssh, remote: &str) -> crate::harness::Finished {
    ssh.option("ExitOnForwardFailure=yes").argument("-R").argument(remote).command("true").run().await
}

/// What the log tells of somebody who was refused.
fn assert_told(replica: &Replica, user: &User, asked: &str, by: &str) {
    let log = replica.log();
    let told = |line: &str| [user.name(), asked, by].iter().all(|word| line.contains(word));
    let mut refusals = log.lines().filter(|line| line.contains("refused to forward connections"));
    assert!(refusals.any(told), "{asked} {by}: {log}");
}

#[tokio::test]
async fn the_configuration_lists_where_forwards_lead() {
    let Some((product, [alice])) = with_agents(["alice"]).await else { return };
    let ports = Ports::of(&alice).await;
    let Ports { open, listen, .. } = ports;
    let permit_open = format!("ssh.permit_open=[\"localhost:{open}\", \"dev:22\"]");
    let replica = product.serve(&[&permit_open, &format!("ssh.permit_listen=[\"localhost:{listen}\"]")]).await;
    alice.is_known_at(&replica).await;
    ports.are_all_that_forwards_lead_to(|| alice.shell_at(&replica)).await;
    assert_told(&replica, &alice, &format!("connect to 127.0.0.1:{open} "), "the configuration (ssh.permit_open)");
    assert_told(&replica, &alice, "listen at localhost:0 ", "the configuration (ssh.permit_listen)");

    // A jump is a connection to port 22 of what the client calls the DevServer.
    let known_hosts = product.folder().join(format!("{}-permits", alice.name()));
    let jump = |name: &str| alice.ssh_at(&replica, "echo in").jump(name, alice.key(), &known_hosts);
    jump("dev").run().await.exits(0).prints("in\n");
    jump(&format!("dev.{}", alice.name())).run().await.exits(255).says(PROHIBITED);
    // Within it the same lists hold.
    let inner = || alice.shell_at(&replica).jump("dev", alice.key(), &known_hosts).argument("-W");
    let words = inner().argument(&format!("localhost:{open}")).input(Input::Bytes(b"within".into()));
    words.run().await.exits(0).prints("WITHIN");
    inner().argument(&format!("127.0.0.1:{open}")).run().await.exits(255).says(PROHIBITED);
}

#[tokio::test]
async fn any_port_may_be_what_a_list_permits() {
    let Some((product, [alice])) = with_agents(["alice"]).await else { return };
    let replica = product.serve(&["ssh.permit_open=[\"none\"]", "ssh.permit_listen=[\"local*:*\"]"]).await;
    alice.is_known_at(&replica).await;
    listens(alice.shell_at(&replica), "0:localhost:1").await.exits(0).says("Allocated port");
    listens(alice.shell_at(&replica), "127.0.0.1:0:localhost:1").await.exits(255);
    alice.shell_at(&replica).argument("-W").argument("localhost:22").run().await.exits(255).says(PROHIBITED);
}

/// As with sshd: but for `*:*`, whoever lists where to connect to permits no sockets; to listen there is another
/// matter.
#[tokio::test]
async fn sockets_are_a_matter_of_their_own() {
    let Some((product, [alice])) = with_agents(["alice"]).await else { return };
    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    let there = format!("/tmp/{}-permits", alice.name());
    let _server = shouts(&alice, &there).await;
    let back = format!("/tmp/{}-permits-back:localhost:1", alice.name());
    let (everything, no_sockets) = ("ssh.permit_open=[\"*:*\"]", "ssh.allow_stream_local_forwarding=false");
    let cases: [(&[&str], bool, bool); 3] = [
        (&[everything, "ssh.permit_listen=[\"none\"]"], true, true),
        (&["ssh.permit_open=[\"*:22\"]"], false, true),
        (&[no_sockets], false, false),
    ];
    for (number, (settings, connects, back_too)) in cases.into_iter().enumerate() {
        let replica = product.serve(settings).await;
        alice.is_known_at(&replica).await;
        let here = folder.path().join(number.to_string());
        let local = format!("{}:{there}", here.display());
        let forward = alice.shell_at(&replica).argument("-N").argument("-L").argument(&local).start();
        let socket = eventually("the socket", async || UnixStream::connect(&here).await.ok()).await;
        match connects {
            true => assert_eq!(exchange(socket, b"down").await, b"DOWN", "{settings:?}"),
            false => {
                ends_unanswered(socket).await;
                forward.says(PROHIBITED).await;
            }
        }
        forward.kill().await;
        assert_eq!(listens(alice.shell_at(&replica), &back).await.succeeded(), back_too, "{settings:?}");
    }
}

#[tokio::test]
async fn a_users_object_lists_where_her_forwards_lead() {
    let Some((product, [alice, bob])) = with_agents(["alice", "bob"]).await else { return };
    let (open, listen) = (free_port(), free_port());
    // It is no more than the configuration lets her.
    let permit_open = format!("ssh.permit_open=[\"localhost:*\", \"127.0.0.1:{open}\"]");
    let replica = product.serve(&[&permit_open]).await;
    bob.is_known_at(&replica).await;
    let permits =
        json!({"permitOpen": [format!("localhost:{open}"), "*:1"], "permitListen": [format!("localhost:{listen}")]});
    limit(&product, &alice, permits).await;
    // Everywhere: what she began before is ended.
    for replica in [product.front(), &replica] {
        eventually("her object is known", async || {
            let refused = alice.shell_at(replica).argument("-W").argument(&format!("127.0.0.1:{open}")).run().await;
            refused.stderr().contains(PROHIBITED).then_some(())
        })
        .await;
    }
    let ports = Ports::at(&alice, open, listen).await;
    ports.are_all_that_forwards_lead_to(|| alice.shell_at(&replica)).await;
    assert_told(&replica, &alice, "connect to 127.0.0.1:", "the user's object (spec.ssh.permitOpen)");
    assert_told(&replica, &alice, "listen at localhost:0 ", "the user's object (spec.ssh.permitListen)");
    alice.shell_at(&replica).argument("-W").argument("elsewhere:1").run().await.exits(255).says(PROHIBITED);
    assert_told(&replica, &alice, "connect to elsewhere:1 ", "the configuration (ssh.permit_open)");
    // Nobody else is meant.
    listens(bob.shell_at(&replica), "0:localhost:1").await.exits(0);
}

async fn limit(product: &Product, user: &User, ssh: Value) {
    let users: Api<DevServerUser> = Api::all(product.client());
    let patch = Patch::Merge(json!({"spec": {"ssh": ssh}}));
    users.patch(user.name(), &PatchParams::default(), &patch).await.expect("she is there");
}

#[tokio::test]
async fn what_an_object_cannot_mean_is_refused_at_once() {
    skip_unless!(is_real(), "the embedded cluster has no schemas");
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let users: Api<DevServerUser> = Api::all(product.client());
    let patch = async |ssh: &Value| {
        let patch = Patch::Merge(json!({"spec": {"ssh": ssh}}));
        users.patch(alice.name(), &PatchParams { dry_run: true, ..PatchParams::default() }, &patch).await
    };
    for list in [json!([]), json!(["a"]), json!(["a:0"]), json!(["a:65536"]), json!(["::1:1"]), json!(["any", "a:1"])] {
        for field in ["permitOpen", "permitListen"] {
            assert!(patch(&json!({field: list})).await.is_err(), "{field} {list}");
        }
    }
    let open = json!(["localhost:65535", "*:*", "[::1]:22", "a:080"]);
    let permitted = json!({"permitOpen": open, "permitListen": ["8080", "*", "local?ost:*", "[::1]:22"]});
    for ssh in [permitted, json!({"permitOpen": ["any"], "permitListen": ["none"]})] {
        patch(&ssh).await.unwrap_or_else(|error| panic!("{ssh}: {error}"));
    }
}

#[tokio::test]
async fn options_of_a_key_list_where_its_forwards_lead() {
    let Some((product, [alice])) = with_agents(["alice"]).await else { return };
    let ports = Ports::of(&alice).await;
    let Ports { open, listen, .. } = ports;
    let keys = tempfile::tempdir().expect("there is a folder for temporary files");
    let registry = format!("identity.registries=[{{kind=\"files\",directory=\"{}\"}}]", keys.path().display());
    let replica = product.serve(&[&registry]).await;
    let with = |options: &str| {
        let line = format!("{options} {}", public(alice.key()));
        std::fs::write(keys.path().join(alice.name()), line).expect("the folder is ours");
    };
    with(&format!(
        "restrict,port-forwarding,permitopen=\"gpu:22\",permitopen=\"localhost:{open}\",permitlisten=\"localhost:{listen}\""
    ));
    ports.are_all_that_forwards_lead_to(|| alice.shell_at(&replica)).await;
    assert_told(&replica, &alice, &format!("connect to 127.0.0.1:{open} "), "the key's options (permitopen)");
    assert_told(&replica, &alice, "listen at localhost:0 ", "the key's options (permitlisten)");

    // One of them says nothing of the other's.
    with("permitopen=\"localhost:1\"");
    listens(alice.shell_at(&replica), "0:localhost:1").await.exits(0);
    with("permitlisten=\"1\"");
    let words = alice.shell_at(&replica).argument("-W").argument(&format!("localhost:{open}"));
    words.input(Input::Bytes(b"open".into())).run().await.exits(0).prints("OPEN");

    // As with sshd, a key with what cannot be meant lets nobody in.
    for options in ["permitopen=\"localhost\"", "permitlisten=\"none\""] {
        with(options);
        alice.ssh_at(&replica, "true").run().await.exits(255).says("Permission denied");
    }
    assert!(replica.log().contains("invalid permission port"), "{}", replica.log());
}
