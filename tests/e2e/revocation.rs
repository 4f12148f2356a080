//! Who may not log in any more is not logged in any more: her connections end within seconds, and she reads why.

use std::path::Path;
use std::time::{Duration, Instant};

use bastion::api::DevServerUser;
use jiff::{Timestamp, tz::TimeZone};
use kube::Api;
use kube::api::DeleteParams;
use serde_json::json;
use tokio::net::TcpStream;

use crate::harness::{
    Input, Master, Product, Replica, Session, Ssh, User, certify, eventually, eventually_within, free_port, keygen,
    public, with_agents,
};

/// From the change to the end of what it ends.
///
/// Far less than the minute after which each connection is looked at anyway.
const SECONDS: Duration = Duration::from_secs(20);

/// How long a key or a certificate is good for that shall end before its session does: enough to log in with it.
const GOOD_FOR: Duration = Duration::from_secs(15);

/// Echoes what is typed, and goes on when there is no more of it.
const ECHO: &str = "cat; exec sleep 98800";

/// A session that goes on.
async fn lasting(ssh: Ssh) -> Session {
    let mut session = ssh.command(ECHO).input(Input::Held).start();
    session.types("here\n").await;
    session.prints("here\n").await;
    session
}

/// It ends, for this reason, soon after `since`, which may be still to come.
async fn ends(session: Session, since: Instant, why: &str) {
    session.finish().await.exits(255).says(why);
    assert!(since.elapsed() < SECONDS, "after {:?}", since.elapsed());
}

/// It still passes what is typed.
async fn goes_on(session: &mut Session) {
    session.types("still\n").await;
    session.prints("still\n").await;
}

#[tokio::test]
async fn a_key_that_is_removed_ends_its_connections_and_no_others() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let other = keygen(product.folder(), &format!("{}-other", alice.name()), "ed25519");
    product.change(&alice, json!({"publicKeys": [public(alice.key()).trim(), public(&other).trim()]})).await;
    let shell = || Ssh::new(product.front(), alice.name()).key(&other);
    eventually("the other key is known", async || shell().command("true").run().await.succeeded().then_some(())).await;
    let (mut stays, goes) = (lasting(alice.shell()).await, lasting(shell()).await);
    let mut terminal = shell().terminal(24, 80);
    terminal.types("echo up:$((40+2))\r").await;
    terminal.shows("up:42").await;

    // A line that says the same in other words changes nothing.
    let lines = json!([format!("pty {}", public(alice.key()).trim()), public(&other).trim()]);
    product.change(&alice, json!({ "publicKeys": lines })).await;
    let now = Instant::now();
    product.change(&alice, json!({"publicKeys": [public(alice.key()).trim()]})).await;
    terminal.shows("your key was removed").await;
    terminal.exits(255).await;
    ends(goes, now, "your key was removed").await;
    goes_on(&mut stays).await;
    shell().command("true").run().await.exits(255);
}

#[tokio::test]
async fn what_is_forwarded_ends_too() {
    let Some((product, [alice])) = with_agents(["alice"]).await else { return };
    alice.is_running().await;
    let (here, there, back) = (free_port(), free_port(), free_port());
    let known_hosts = product.folder().join(format!("{}-known", alice.name()));
    let in_jump = lasting(alice.shell().jump("dev", alice.key(), &known_hosts)).await;
    let local = format!("{here}:127.0.0.1:{there}");
    let remote = format!("127.0.0.1:{back}:127.0.0.1:1");
    let forward = alice.shell().argument("-N").argument("-L").argument(&local).argument("-R").argument(&remote).start();
    eventually("the forward", async || TcpStream::connect(("127.0.0.1", here)).await.ok()).await;
    let now = Instant::now();
    product.change(&alice, json!({"disabled": true})).await;
    ends(in_jump, now, "your account was disabled").await;
    ends(forward, now, "your account was disabled").await;
    // The pod listens for nobody.
    product.change(&alice, json!({"disabled": false})).await;
    eventually("she is back", async || alice.ssh("true").run().await.succeeded().then_some(())).await;
    let free = format!("python3 -c \"import socket; socket.socket().bind(('127.0.0.1', {back}))\"");
    eventually("the port is free", async || alice.ssh(&free).run().await.succeeded().then_some(())).await;
}

#[tokio::test]
async fn a_user_who_is_deleted_is_out() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let session = lasting(alice.shell()).await;
    let now = Instant::now();
    let users: Api<DevServerUser> = Api::all(product.client());
    users.delete(alice.name(), &DeleteParams::default()).await.expect("she is there");
    ends(session, now, "your account was removed").await;
    alice.ssh("true").run().await.exits(255);
}

#[tokio::test]
async fn what_a_key_permits_is_not_changed_behind_a_connection() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let session = lasting(alice.shell()).await;
    let now = Instant::now();
    product.change(&alice, json!({"publicKeys": [format!("restrict {}", public(alice.key()).trim())]})).await;
    ends(session, now, "the permissions of your key have changed").await;
    let mut session = lasting(alice.shell()).await;
    let (shorter, longer) = ("expiry-time=\"20980101\",restrict", "expiry-time=\"20990101\",restrict");
    for options in [shorter, longer] {
        // Until when is no matter while it is not over.
        product.change(&alice, json!({"publicKeys": [format!("{options} {}", public(alice.key()).trim())]})).await;
    }
    goes_on(&mut session).await;
}

/// A bastion that knows the users of a folder, and what is revoked by a file there.
async fn with_files(product: &Product, folder: &Path, more: &[&str]) -> Replica {
    let files = format!("identity.registries=[{{ kind = \"files\", directory = \"{}\" }}]", folder.display());
    let settings = [&[files.as_str()], more].concat();
    product.serve(&settings).await
}

#[tokio::test]
async fn key_files_are_looked_at_again() {
    let product = Product::shared().await;
    let (alice, bob) = (product.user("alice").await, product.user("bob").await);
    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    let write = |user: &User, text: &str| std::fs::write(folder.path().join(user.name()), text).expect("it is ours");
    write(&alice, &public(alice.key()));
    write(&bob, &public(bob.key()));
    let mut replica = with_files(&product, folder.path(), &[]).await;
    let (goes, mut stays) = (lasting(alice.shell_at(&replica)).await, lasting(bob.shell_at(&replica)).await);
    write(&bob, &format!("# the same\n{}", public(bob.key())));
    let now = Instant::now();
    write(&alice, "# nobody\n");
    ends(goes, now, "your key was removed").await;
    goes_on(&mut stays).await;

    // A key that is over, to the second.
    let (over, end) = (Instant::now() + GOOD_FOR, Timestamp::now() + GOOD_FOR);
    let end = end.to_zoned(TimeZone::UTC).strftime("%Y%m%d%H%M%SZ");
    write(&alice, &format!("expiry-time=\"{end}\" {}", public(alice.key())));
    let goes = lasting(alice.shell_at(&replica)).await;
    ends(goes, over, "your key or certificate has expired").await;
    let log = replica.server().log();
    assert!(log.contains("whoever logged in may not any more") && log.contains("your key was removed"), "{log}");
}

#[tokio::test]
async fn a_revoked_key_and_a_certificate_that_is_over_end_their_connections() {
    let product = Product::shared().await;
    let (alice, bob) = (product.user("alice").await, product.user("bob").await);
    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    let (ca, key) = (keygen(folder.path(), "ca", "ed25519"), keygen(folder.path(), "key", "ed25519"));
    let revoked = folder.path().join("revoked");
    std::fs::write(&revoked, "# nothing\n").expect("the folder is ours");
    let replica = product
        .serve(&[
            &format!("identity.trusted_user_ca_keys=[\"{}\"]", ca.with_extension("pub").display()),
            &format!("identity.revoked_keys={}", revoked.display()),
        ])
        .await;
    for user in [&alice, &bob] {
        user.is_known_at(&replica).await;
    }
    let (by_key, mut bobs) = (lasting(alice.shell_at(&replica)).await, lasting(bob.shell_at(&replica)).await);
    certify(&ca, &key, &["-n", alice.name(), "-V", &format!("-1m:+{}s", GOOD_FOR.as_secs())]);
    let over = Instant::now() + GOOD_FOR;
    let by_certificate = lasting(Ssh::new(&replica, alice.name()).key(&key)).await;
    ends(by_certificate, over, "your key or certificate has expired").await;

    // What is not understood keeps people out, but throws out nobody.
    std::fs::write(&revoked, "not a key\n").expect("the folder is ours");
    eventually_within(SECONDS, "nobody is let in", async || {
        (!bob.ssh_at(&replica, "true").run().await.succeeded()).then_some(())
    })
    .await;
    let now = Instant::now();
    std::fs::write(&revoked, public(alice.key())).expect("the folder is ours");
    ends(by_key, now, "your key was revoked").await;
    goes_on(&mut bobs).await;
}

#[tokio::test]
async fn a_shell_that_lasts_is_left_and_nobody_is_in_it() {
    let Some((product, [alice])) = with_agents(["alice"]).await else { return };
    let mut terminal = alice.shell().terminal(24, 80);
    terminal.types("answer=$((40+2)); echo up:$answer\r").await;
    terminal.shows("up:42").await;
    product.change(&alice, json!({"disabled": true})).await;
    terminal.shows("your account was disabled").await;
    terminal.exits(255).await;
    product.change(&alice, json!({"disabled": false})).await;
    eventually("her shell, left", async || alice.ssh("shells").run().await.text().contains("Detached").then_some(()))
        .await;
}

/// Each session of a connection is told, and the connection is not kept by one that reads nothing.
#[tokio::test]
async fn a_connection_with_many_sessions_ends_as_one() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice.is_running().await;
    let master = Master::start(alice.shell()).await;
    let floods = master.ssh("yes").reads_later().start();
    let mut session = master.ssh(ECHO).input(Input::Held).start();
    session.types("here\n").await;
    session.prints("here\n").await;
    let now = Instant::now();
    product.change(&alice, json!({"disabled": true})).await;
    ends(session, now, "your account was disabled").await;
    floods.finish().await.exits(255);
    assert!(now.elapsed() < SECONDS, "after {:?}", now.elapsed());
}
