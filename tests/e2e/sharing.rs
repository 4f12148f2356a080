//! Shared is exactly what was shared, with whom it was shared, until it is taken back.

use std::time::Duration;

use bastion::api::DevServer;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::forwards::{connect, exchange, shouts};
use crate::harness::{Agent, Input, LIMIT, Product, Session, User, eventually, free_port, with_agents, within};

/// Echoes what is typed, and goes on when there is no more of it.
const ECHO: &str = "cat; exec sleep 98801";

/// Alice lets in whom `share` names.
async fn share(alice: &User, name: &str, share: Value) {
    let patch = Patch::Merge(json!({"spec": {"share": share}}));
    alice.api::<DevServer>().patch(name, &PatchParams::default(), &patch).await.expect("her DevServer is there");
}

pub(crate) fn login(bob: &User, name: &str, alice: &User) -> String {
    format!("{}+{name}.{}", bob.name(), alice.name())
}

/// Waits until the bastion has heard of the share.
pub(crate) async fn is_let_in(bob: &User, login: &str) {
    eventually("what was shared is heard of", async || {
        let finished = bob.ssh("true").login(login).run().await;
        (!finished.stderr().contains("you have no DevServer")).then_some(())
    })
    .await;
}

/// Her `dev` is shared with him, perhaps to look at only: the login with which he enters it.
async fn lets_in(alice: &User, bob: &User, read_only: bool) -> String {
    let guest = if read_only { json!({"user": bob.name(), "readOnly": true}) } else { json!({"user": bob.name()}) };
    share(alice, "dev", json!([guest])).await;
    let login = login(bob, "dev", alice);
    is_let_in(bob, &login).await;
    login
}

/// What bob reads, without the names that differ.
async fn refusal(bob: &User, name: &str, owner: &str) -> String {
    let finished = bob.ssh("echo in").login(&format!("{}+{name}.{owner}", bob.name())).run().await;
    finished.exits(255).prints("");
    finished.stderr().replace(&format!("{name}.{owner}"), "NAME")
}

#[tokio::test]
async fn what_is_not_shared_is_as_if_it_were_not_there() {
    let product = Product::shared().await;
    let (alice, bob) = (product.user("alice").await, product.user("bob").await);
    alice.is_running().await;
    bob.is_running().await;
    let said = refusal(&bob, "dev", alice.name()).await;
    assert!(said.contains("you have no DevServer `NAME`"), "{said}");
    assert_eq!(refusal(&bob, "nope", alice.name()).await, said);
    assert_eq!(refusal(&bob, "dev", "nobody-at-all").await, said);

    // Shared with somebody else, and another one of hers with him.
    alice.add_devserver("open").await;
    share(&alice, "dev", json!([{"user": "somebody-else"}])).await;
    share(&alice, "open", json!([{"user": bob.name()}])).await;
    is_let_in(&bob, &login(&bob, "open", &alice)).await;
    assert_eq!(refusal(&bob, "dev", alice.name()).await, said);
    // Her own are hers by either name.
    alice.ssh("echo in").login(&login(&alice, "dev", &alice)).run().await.exits(0).prints("in\n");
}

#[tokio::test]
async fn a_guest_works_in_it_as_himself_until_it_is_taken_back() {
    let Some((product, [alice, bob])) = with_agents(["alice", "bob"]).await else { return };
    alice.ssh("echo hers >file").run().await.exits(0);
    bob.ssh("echo his >file").run().await.exits(0);
    let login = lets_in(&alice, &bob, false).await;
    let as_guest = |command: &str| bob.ssh(command).login(&login);
    as_guest("cat file; echo $BASTION_USER").run().await.exits(0).prints(&format!("hers\n{}\n", bob.name()));
    let copied = product.folder().join(format!("{}-copy", bob.name()));
    bob.shell().login(&login).copy(":file", copied.to_str().expect("plain")).run().await.exits(0);
    assert_eq!(std::fs::read_to_string(&copied).expect("scp wrote it"), "hers\n");

    // Whoever works there is one account, and could sign with it.
    let agent = Agent::start().await;
    agent.add(bob.key());
    let forwarding = as_guest("echo agent:$SSH_AUTH_SOCK").agent(agent.socket()).argument("-A");
    forwarding.run().await.exits(0).prints("agent:\n");

    let port = free_port();
    let _server = shouts(&alice, &port.to_string()).await;
    let words = bob.shell().login(&login).argument("-W").argument(&format!("localhost:{port}"));
    words.input(Input::Bytes(b"by -W".into())).run().await.exits(0).prints("BY -W");

    let known_hosts = product.folder().join(format!("{}-known", bob.name()));
    let name = format!("dev.{}", alice.name());
    let jump = |command: &str| bob.ssh(command).jump(&name, bob.key(), &known_hosts);
    jump("cat file").run().await.exits(0).prints("hers\n");

    // The cluster's audit log names him, and whose guest he is.
    let account = format!("system:serviceaccount:{}:guest.{}", alice.namespace(), bob.name());
    let execs = |line: &str| {
        let event: Value = serde_json::from_str(line).unwrap_or_default();
        event["objectRef"]["subresource"] == "exec"
            && event["objectRef"]["namespace"] == alice.namespace()
            && event["impersonatedUser"]["username"] == account
    };
    eventually("the audit log", async || product.audit_log().lines().any(execs).then_some(())).await;

    let session = held(&bob, &login).await;
    let mut jumped = jump(ECHO).input(Input::Held).start();
    jumped.types("here\n").await;
    jumped.prints("here\n").await;
    let mut terminal = bob.shell().login(&login).terminal(24, 100);
    terminal.types("echo up:$((40+2))\r").await;
    terminal.shows("up:42").await;
    let here = free_port();
    let local = format!("{here}:localhost:{port}");
    let forward = bob.shell().login(&login).argument("-N").argument("-L").argument(&local).start();
    assert_eq!(exchange(connect(here).await, b"by -L").await, b"BY -L");
    let mut open = connect(here).await;
    open.write_all(b"open").await.expect("it is connected");
    let mut own = bob.ssh(ECHO).input(Input::Held).start();
    let mut hers = alice.ssh(ECHO).input(Input::Held).start();
    share(&alice, "dev", json!([])).await;
    let said = format!("your access to {name} was reduced or withdrawn");
    session.finish().await.exits(255).says(&said);
    jumped.finish().await.exits(255).says(&said);
    terminal.shows(&said).await;
    terminal.exits(255).await;
    forward.finish().await.exits(255).says(&said);
    // What it echoes it does after the end of what it reads, so that this is the end and no answer.
    let mut rest = Vec::new();
    let _ = within(LIMIT, "the end of what was forwarded", open.read_to_end(&mut rest)).await;
    assert!(rest.is_empty(), "{rest:?}");
    assert!(TcpStream::connect(("127.0.0.1", here)).await.is_err(), "nothing listens for him");
    for mine in [&mut own, &mut hers] {
        mine.types("still\n").await;
        mine.prints("still\n").await;
    }
    as_guest("cat file").run().await.exits(255).prints("").says("you have no DevServer");
    jump("cat file").run().await.exits(255).prints("");
    eventually("the right is gone", async || {
        let binding = alice.api::<RoleBinding>().get_opt("dev-guests").await.expect("the API server answers");
        let role = alice.api::<Role>().get_opt("dev-guests").await.expect("the API server answers");
        (binding.is_none() && role.is_none()).then_some(())
    })
    .await;
}

/// He cannot come by the bastion either, and his right waits for him.
#[tokio::test]
async fn a_guest_who_is_disabled_has_no_right_meanwhile() {
    let product = Product::shared().await;
    let (alice, bob) = (product.user("alice").await, product.user("bob").await);
    alice.is_running().await;
    let login = lets_in(&alice, &bob, false).await;
    let has_right = async |expected: bool| {
        eventually("what the binding should be", async || {
            let binding = alice.api::<RoleBinding>().get_opt("dev-guests").await.expect("the API server answers");
            (binding.is_some() == expected).then_some(())
        })
        .await;
    };
    has_right(true).await;
    product.change(&bob, json!({"disabled": true})).await;
    has_right(false).await;
    product.change(&bob, json!({"disabled": false})).await;
    has_right(true).await;
    eventually("he is let in again", async || bob.ssh("true").login(&login).run().await.succeeded().then_some(()))
        .await;
}

/// Guests went on, and came in, as if nothing had happened.
#[tokio::test]
async fn who_is_disabled_shares_nothing_meanwhile() {
    let product = Product::shared().await;
    let (alice, bob) = (product.user("alice").await, product.user("bob").await);
    alice.is_running().await;
    let login = lets_in(&alice, &bob, false).await;
    let session = held(&bob, &login).await;
    product.change(&alice, json!({"disabled": true})).await;
    session.finish().await.exits(255).says("was reduced or withdrawn");
    bob.ssh("true").login(&login).run().await.exits(255).says("you have no DevServer");
    eventually("the right is gone", async || {
        let binding = alice.api::<RoleBinding>().get_opt("dev-guests").await.expect("the API server answers");
        binding.is_none().then_some(())
    })
    .await;
    product.change(&alice, json!({"disabled": false})).await;
    eventually("he is let in again", async || bob.ssh("true").login(&login).run().await.succeeded().then_some(()))
        .await;
}

/// In a pod without an agent it ran on: his right to end it went with the share.
#[tokio::test]
async fn what_a_guest_runs_ends_with_the_share() {
    let product = Product::shared().await;
    let (alice, bob) = (product.user("alice").await, product.user("bob").await);
    alice.is_running().await;
    let login = lets_in(&alice, &bob, false).await;
    let session = bob.ssh("echo up; exec sleep 98802").login(&login).input(Input::Held).start();
    session.prints("up\n").await;
    alice.has_processes("98802", 1).await;
    share(&alice, "dev", json!([])).await;
    session.finish().await.exits(255);
    alice.has_processes("98802", 0).await;
}

async fn held(bob: &User, login: &str) -> Session {
    let mut session = bob.ssh(ECHO).login(login).input(Input::Held).limit(Duration::from_secs(60)).start();
    session.types("here\n").await;
    session.prints("here\n").await;
    session
}

#[tokio::test]
async fn shells_of_guests_and_of_the_owner_do_not_mix() {
    let Some((_, [alice, bob])) = with_agents(["alice", "bob"]).await else { return };
    let mut hers = alice.shell().terminal(24, 80);
    hers.types("whose=alices; echo up:$((40+2))\r").await;
    hers.shows("up:42").await;
    hers.kill().await;
    let login = lets_in(&alice, &bob, false).await;
    eventually("her shell is left", async || alice.ssh("shells").run().await.text().contains("Detached").then_some(()))
        .await;
    let mut his = bob.shell().login(&login).terminal(24, 80);
    his.types("echo whose:$whose.; whose=bobs\r").await;
    his.shows("whose:.").await;
    his.kill().await;
    let mut again = alice.shell().terminal(24, 80);
    again.types("echo now:$whose.\r").await;
    again.shows("now:alices.").await;
    again.types("exit\r").await;
    again.exits(0).await;
}

#[tokio::test]
async fn who_may_only_look_does_nothing_else() {
    let Some((product, [alice, bob])) = with_agents(["alice", "bob"]).await else { return };
    bob.is_running().await;
    let mut hers = alice.shell().terminal(24, 100);
    hers.types("answer=$((40+2)); echo up:$answer\r").await;
    hers.shows("up:42").await;
    let login = lets_in(&alice, &bob, true).await;
    let only = "is shared with you to look at only";
    bob.ssh("echo in").login(&login).run().await.exits(255).prints("").says(only);
    bob.ssh("shells 1 --take-over").login(&login).run().await.exits(255).prints("").says(only);
    bob.shell().login(&login).argument("-s").command("sftp").run().await.exits(255).prints("").says(only);
    let mut shell = bob.shell().login(&login).terminal(24, 80);
    shell.shows("look at only").await;
    shell.exits(255).await;
    let forward = bob.shell().login(&login).argument("-W").argument("localhost:1");
    forward.run().await.exits(255).prints("");
    let back =
        bob.ssh("true").login(&login).option("ExitOnForwardFailure=yes").argument("-R").argument("0:localhost:1");
    back.run().await.exits(255).says("remote port forwarding failed");
    // No right on the pod was given for that.
    assert!(alice.api::<RoleBinding>().get_opt("dev-guests").await.expect("the API server answers").is_none());

    bob.ssh("shells").login(&login).run().await.exits(0).says("");
    // He chooses it from the list, and it is as if he had said --read-only; his small screen is not hers.
    let mut his = bob.ssh("shells").login(&login).terminal(10, 60);
    his.shows("Number of the one").await;
    his.types("1\r").await;
    his.shows("to look at only").await;
    his.types(": >typed\r").await;
    hers.types("clear; stty size; echo seen:$answer\r").await;
    his.shows("seen:42").await;
    hers.shows("24 100").await;
    // The API server's audit log names him, although it is her account that enters.
    let execs = |line: &str| {
        let event: Value = serde_json::from_str(line).unwrap_or_default();
        event["objectRef"]["subresource"] == "exec"
            && event["objectRef"]["namespace"] == alice.namespace()
            && event["userAgent"].as_str().is_some_and(|agent| agent.ends_with(&format!("(for {})", bob.name())))
    };
    eventually("the audit log", async || product.audit_log().lines().any(execs).then_some(())).await;

    share(&alice, "dev", json!([])).await;
    his.shows("your access to dev.").await;
    his.exits(255).await;
    // Whatever he typed would have come before this, for his session is over.
    hers.types("test -e typed || echo none:$answer\r").await;
    hers.shows("none:42").await;
}

/// A viewer that reads nothing must not hold up the shell, whether it only looks or works in it with others.
#[tokio::test]
async fn who_reads_nothing_holds_up_nobody_else() {
    let Some((_, [alice])) = with_agents(["alice"]).await else { return };
    let mut shell = alice.shell().terminal(24, 80);
    shell.types("echo up:$((40+2))\r").await;
    shell.shows("up:42").await;
    let much = "yes 'a line of some length, to fill what there is to fill' | head -n 400000";
    for (at, command) in ["shells 1 --read-only", "shells 1"].into_iter().enumerate() {
        let other = alice.ssh(command).argument("-tt").reads_later().start();
        eventually("two look", async || alice.ssh("shells").run().await.text().contains("(2)").then_some(())).await;
        shell.types(&format!("{much}; echo done:$(({at}+42))\r")).await;
        shell.shows(&format!("done:{}", at + 42)).await;
        other.kill().await;
        eventually("one looks", async || (!alice.ssh("shells").run().await.text().contains("(2)")).then_some(())).await;
    }
}

/// Nothing told it but the hidden verb that completes words.
#[tokio::test]
async fn what_is_shared_with_her_is_listed() {
    let product = Product::shared().await;
    let (alice, bob) = (product.user("alice").await, product.user("bob").await);
    alice.is_running().await;
    bob.is_running().await;
    for name in ["open", "shown", "secret"] {
        alice.add_devserver(name).await;
    }
    let list = async |options: &str| bob.ssh(&format!("devctl list {options}")).run().await;
    list("--shared").await.exits(0).prints("").says("Nothing is shared with you.");
    let none = list("").await;
    assert!(!none.exits(0).stderr().contains("--shared"), "{}", none.stderr());

    share(&alice, "open", json!([{"user": bob.name()}])).await;
    share(&alice, "shown", json!([{"user": bob.name(), "readOnly": true}])).await;
    share(&alice, "secret", json!([{"user": "somebody-else"}])).await;
    is_let_in(&bob, &login(&bob, "open", &alice)).await;
    is_let_in(&bob, &login(&bob, "shown", &alice)).await;
    let names = format!("open.{0}\nshown.{0}\n", alice.name());
    list("--shared -o name").await.exits(0).prints(&names);
    let table = list("--shared").await;
    let user = bob.name();
    table.exits(0).says(&format!("ssh {user}+NAME@BASTION")).says(&format!("ssh -t {user}+NAME@BASTION shells"));
    let words = |line: &str| line.split_whitespace().take(3).map(str::to_owned).collect::<Vec<_>>();
    let rows: Vec<_> = table.text().lines().map(words).collect();
    let row = |name: &str, access: &str| [format!("{name}.{}", alice.name()), alice.name().into(), access.into()];
    assert_eq!(rows, [["NAME", "OWNER", "ACCESS"].map(str::to_owned), row("open", "work"), row("shown", "look")]);
    let listed: Value = serde_json::from_str(&list("--shared -o json").await.exits(0).text()).expect("it is JSON");
    let shown = &listed["shared"][1];
    assert_eq!((shown["owner"].as_str(), shown["readOnly"].as_bool()), (Some(alice.name()), Some(true)));

    // His own are listed as before.
    list("-o name").await.exits(0).prints("dev\n").says_exactly("");
    let own = list("").await;
    own.exits(0).says("Shared with you: 2; `devctl list --shared`");
    assert!(!own.text().contains(alice.name()), "{}", own.text());
    share(&alice, "open", json!([])).await;
    eventually("it is taken back", async || {
        (list("--shared -o name").await.text() == format!("shown.{}\n", alice.name())).then_some(())
    })
    .await;
}

/// Less than before is taken back, too.
#[tokio::test]
async fn a_guest_who_may_only_look_from_now_on_is_put_out() {
    let Some((_, [alice, bob])) = with_agents(["alice", "bob"]).await else { return };
    alice.is_running().await;
    let login = lets_in(&alice, &bob, false).await;
    let session = held(&bob, &login).await;
    share(&alice, "dev", json!([{"user": bob.name(), "readOnly": true}])).await;
    session.finish().await.exits(255).says("was reduced or withdrawn");
    eventually("the right is gone", async || {
        alice.api::<RoleBinding>().get_opt("dev-guests").await.expect("the API server answers").is_none().then_some(())
    })
    .await;
}

/// The verbs are about his own DevServers, wherever he is; only those that enter one know another's.
#[tokio::test]
async fn verbs_in_anothers_devserver_are_about_ones_own() {
    let Some((_, [alice, bob])) = with_agents(["alice", "bob"]).await else { return };
    alice.is_running().await;
    bob.is_running().await;
    let login = lets_in(&alice, &bob, false).await;
    assert!(alice.ssh("devctl share dev").run().await.text().contains(bob.name()));
    // Neither hers nor his: he has to say which.
    bob.ssh("devctl suspend").login(&login).run().await.fails();
    for user in [&alice, &bob] {
        let server = user.api::<DevServer>().get("dev").await.expect("it is there");
        assert!(server.spec.lifecycle.is_none_or(|lifecycle| !lifecycle.suspended), "{}", user.name());
    }
    let name = format!("dev.{}", alice.name());
    bob.ssh(&format!("devctl delete --yes {name}")).run().await.fails();
    alice.api::<DevServer>().get("dev").await.expect("it is there");

    // Entered by a verb, it ends as any other session there, and the connection stays.
    let mut session = bob.ssh(&format!("devctl ssh {name} '{ECHO}'")).input(Input::Held).start();
    session.types("here\n").await;
    session.prints("here\n").await;
    alice.ssh(&format!("devctl share dev {} --remove", bob.name())).run().await.exits(0).says("may not enter");
    session.finish().await.exits(255).says("was reduced or withdrawn");
    bob.ssh(&format!("devctl ssh {name} true")).run().await.exits(255).says("you have no DevServer");
}
