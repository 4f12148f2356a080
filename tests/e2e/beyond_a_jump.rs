//! What works in a DevServer works through a jump to it, a further jump included.

use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;

use crate::forwards::{connect, exchange, leads_back, shouts, socks};
use crate::harness::{
    Agent, Input, Laptop, Master, Product, Ssh, User, eventually, free_port, keygen, with_agents, within,
};
use crate::shells::{is_the_one_that_was_left, leaves_a_shell};

/// Her login shell in her `dev`, through a jump.
fn jump(product: &Product, alice: &User) -> Ssh {
    let known_hosts = product.folder().join(format!("{}-known", alice.name()));
    alice.shell().jump("dev", alice.key(), &known_hosts)
}

#[tokio::test]
async fn a_further_jump_leads_to_another_devserver() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice.add_devserver("second").await;
    alice.ssh("echo first >whose").run().await.exits(0);
    alice.ssh("echo second >whose").login(&format!("{}+second", alice.name())).run().await.exits(0);
    let laptop = Laptop::new(&alice, product.front());
    // ssh -J pod,dev second
    laptop.knows_behind("one", "pod", "dev");
    laptop.knows_behind("two", "one", "second");
    laptop.run("ssh", &["two", "cat whose; exit 3"]).await.exits(3).prints("second\n");
    laptop.run_with("ssh", &["two", "cat >up; wc -c <up"], &[7; 300_000]).await.exits(0).prints("300000\n");
    // And back, as far as it goes.
    laptop.knows_behind("three", "two", "dev");
    laptop.knows_behind("four", "three", "localhost");
    laptop.knows_behind("five", "four", "second");
    laptop.run("ssh", &["four", "cat whose"]).await.exits(0).prints("first\n");
    laptop.run("ssh", &["five", "cat whose"]).await.exits(255).prints("").says("administratively prohibited");
    // Nobody else's is behind hers.
    let bob = product.user("bob").await;
    bob.is_running().await;
    laptop.knows_behind("his", "one", &format!("dev.{}", bob.name()));
    laptop.run("ssh", &["his", "true"]).await.exits(255).prints("");
}

#[tokio::test]
async fn every_kind_of_local_forward_works_through_a_jump() {
    let Some((product, [alice])) = with_agents(["alice"]).await else { return };
    let there = free_port();
    let _server = shouts(&alice, &there.to_string()).await;
    let words = jump(&product, &alice).argument("-W").argument(&format!("localhost:{there}"));
    words.input(Input::Bytes(b"by -W".into())).run().await.exits(0).prints("BY -W");

    let (here, dynamic) = (free_port(), free_port());
    let forward = jump(&product, &alice)
        .argument("-N")
        .argument("-L")
        .argument(&format!("{here}:127.0.0.1:{there}"))
        .argument("-D")
        .argument(&dynamic.to_string())
        .start();
    let large: Vec<u8> = b"half-closed ".repeat(300_000);
    assert!(exchange(connect(here).await, &large).await == large.to_ascii_uppercase());
    let many = (0..50).map(|n| async move {
        let text = format!("connection {n}").into_bytes();
        assert_eq!(exchange(connect(here).await, &text).await, text.to_ascii_uppercase());
    });
    futures::future::join_all(many).await;
    let socket = socks(dynamic, "localhost", there).await.expect("it is connected");
    assert_eq!(exchange(socket, b"by socks").await, b"BY SOCKS");
    forward.kill().await;

    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    let (here, there) = (folder.path().join("here"), format!("/tmp/{}-beyond", alice.name()));
    let _server = shouts(&alice, &there).await;
    let local = format!("{}:{there}", here.display());
    let forward = jump(&product, &alice).argument("-N").argument("-L").argument(&local).start();
    let socket = eventually("the socket", async || UnixStream::connect(&here).await.ok()).await;
    assert_eq!(exchange(socket, b"by a path").await, b"BY A PATH");
    forward.kill().await;
}

/// A port other than that of ssh is one of that DevServer's pod.
#[tokio::test]
async fn a_devservers_name_and_a_port_lead_into_its_pod() {
    let Some((product, [alice])) = with_agents(["alice"]).await else { return };
    alice.add_devserver("second").await;
    let there = free_port();
    let login = format!("{}+second", alice.name());
    let server = format!(
        "exec python3 -u -c \"
import socket
s = socket.socket(); s.bind(('127.0.0.1', {there})); s.listen(); print('listens')
while True: c, _ = s.accept(); c.sendall(b'of second'); c.close()\""
    );
    let session = alice.ssh(&server).login(&login).input(Input::Held).start();
    session.prints("listens\n").await;
    for host in ["second", &format!("second.{}", alice.name())] {
        let named = format!("{host}:{there}");
        alice.shell().argument("-W").argument(&named).run().await.exits(0).prints("of second");
        jump(&product, &alice).argument("-W").argument(&named).run().await.exits(0).prints("of second");
    }
    let here = free_port();
    let local = format!("{here}:second:{there}");
    let forward = alice.shell().argument("-N").argument("-L").argument(&local).start();
    let mut text = String::new();
    let mut socket = connect(here).await;
    within(Duration::from_secs(60), "an answer", socket.read_to_string(&mut text)).await.expect("it ends");
    assert_eq!(text, "of second");
    forward.kill().await;
}

#[tokio::test]
async fn a_port_of_the_pod_leads_back_through_a_jump() {
    let Some((product, [alice])) = with_agents(["alice"]).await else { return };
    alice.is_running().await;
    let (forward, _) = leads_back(&alice, jump(&product, &alice)).await;
    forward.kill().await;
}

#[tokio::test]
async fn the_users_agent_is_there_through_a_jump() {
    let Some((product, [alice])) = with_agents(["alice"]).await else { return };
    let agent = Agent::start().await;
    agent.add(&keygen(product.folder(), &format!("{}-other", alice.name()), "ed25519"));
    let ask = r#"python3 -c "
import os, socket
s = socket.socket(socket.AF_UNIX); s.connect(os.environ['SSH_AUTH_SOCK'])
s.sendall(b'\0\0\0\1\13'); print(s.recv(9)[8])""#; // How many keys?
    let laptop = Laptop::new(&alice, product.front());
    laptop.knows_behind("beyond", "pod", "dev");
    let known = std::fs::read_to_string(laptop.path(".ssh/config")).expect("it was written");
    laptop.write(".ssh/config", format!("Host beyond\n IdentityAgent {}\n{known}", agent.socket().display()));
    laptop.run("ssh", &["-A", "beyond", ask]).await.exits(0).prints("1\n");
    laptop.run("ssh", &["beyond", "echo \"[$SSH_AUTH_SOCK]\""]).await.exits(0).prints("[]\n");
}

#[tokio::test]
async fn files_go_through_a_jump_and_go_on_where_they_were_cut_off() {
    let Some((product, [alice])) = with_agents(["alice"]).await else { return };
    let laptop = Laptop::new(&alice, product.front());
    laptop.knows_behind("beyond", "pod", "dev");
    let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(3_000_001).collect();
    laptop.write("whole", &bytes);
    laptop.write("half", &bytes[..1_234_567]);
    let commands = b"mkdir there\nput half there/up\nreput whole there/up\nget -a there/up half\nls -1 there\n";
    let sftp = laptop.run_with("sftp", &["-q", "-b", "-", "beyond"], commands).await;
    sftp.exits(0).prints_line("there/up");
    assert!(laptop.holds("half", &bytes), "what was cut off is whole");
    laptop.run("scp", &["-q", "-r", "beyond:there", "back"]).await.exits(0);
    assert!(laptop.holds("back/up", &bytes));
    laptop.run("scp", &["-q", "-O", "-p", "whole", "beyond:old"]).await.exits(0);
    alice.ssh("cmp old there/up").run().await.exits(0);
}

#[tokio::test]
async fn a_shell_that_was_left_is_found_through_a_jump() {
    let Some((product, [alice])) = with_agents(["alice"]).await else { return };
    leaves_a_shell(jump(&product, &alice)).await;
    let list = async || jump(&product, &alice).command("shells").run().await.exits(0).text();
    eventually("the shell that was left", async || list().await.contains("Detached").then_some(())).await;
    is_the_one_that_was_left(jump(&product, &alice).command("shells 1").terminal(30, 120)).await;
}

#[tokio::test]
async fn one_connection_through_a_jump_carries_many_sessions() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice.is_running().await;
    let master = Master::start(jump(&product, &alice)).await;
    let sessions = (0..5).map(|n| {
        let session = master.ssh(&format!("cat; echo {n}; exit {n}")).input(Input::Bytes(vec![b'x'; 100_000])).run();
        async move {
            session.await.exits(n).prints(&format!("{}{n}\n", "x".repeat(100_000)));
        }
    });
    futures::future::join_all(sessions).await;
    let mut terminal = master.ssh("stty size; read line; echo \"$line\"").terminal(20, 70);
    terminal.shows_row("20 70").await;
    terminal.types("well\r").await;
    terminal.exits(0).await;
}
