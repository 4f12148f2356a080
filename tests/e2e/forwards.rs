//! Connections into the pod and out of it: `-L`, `-D`, `-W`, `-R`, `-A`, and sockets in the file system.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};

use crate::harness::{
    Agent, Input, Product, Session, Ssh, User, eventually, free_port, keygen, public, with_agents, within,
};

/// A program of a pod that answers each connection with what it read until the end, in capitals.
const SHOUT: &str = r#"exec python3 -u -c "
import os, socket, sys, threading
def serve(c):
    text = b''
    while piece := c.recv(65536): text += piece
    c.sendall(text.upper()); c.close()
path = sys.argv[1]
s = socket.socket(socket.AF_UNIX if '/' in path else socket.AF_INET)
s.bind(path if '/' in path else ('127.0.0.1', int(path)))
s.listen(1024); print('listens', flush=True)
while True: threading.Thread(target=serve, args=(s.accept()[0],)).start()
" "#;

/// Writes, ends its own direction, and reads to the end.
pub(crate) async fn exchange(mut socket: impl AsyncReadExt + AsyncWriteExt + Unpin, text: &[u8]) -> Vec<u8> {
    socket.write_all(text).await.expect("it is taken");
    socket.shutdown().await.expect("one direction can be ended");
    let mut answer = Vec::new();
    within(Duration::from_secs(60), "an answer", socket.read_to_end(&mut answer)).await.expect("it can be read");
    answer
}

/// `-R` with a port that the pod chooses, over `ssh`: what connects there in alice's pod is connected here. The forward
/// goes on, at that port.
pub(crate) async fn leads_back(alice: &User, ssh: Ssh) -> (Session, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("there are ports");
    let remote = format!("0:127.0.0.1:{}", listener.local_addr().expect("it is bound").port());
    let forward = ssh.argument("-N").argument("-R").argument(&remote).start();
    forward.says(" for remote forward").await;
    let said = forward.stderr();
    let port = said.split("Allocated port ").nth(1).and_then(|rest| rest.split_whitespace().next());
    let port = port.expect("it is told").to_owned();
    let ask = format!(
        r#"python3 -c "import socket; s=socket.create_connection(('127.0.0.1',{port})); s.sendall(b'up'); s.shutdown(1); print(s.recv(9))""#
    );
    let session = alice.ssh(&ask).start();
    let (mut socket, _) = within(Duration::from_secs(30), "a connection", listener.accept()).await.expect("it comes");
    let mut text = String::new();
    socket.read_to_string(&mut text).await.expect("it ends");
    assert_eq!(text, "up");
    socket.write_all(b"seen").await.expect("the other direction is open");
    drop(socket);
    session.finish().await.exits(0).prints("b'seen'\n");
    (forward, port)
}

pub(crate) async fn connect(port: u16) -> TcpStream {
    eventually("a forwarded port", async || TcpStream::connect(("127.0.0.1", port)).await.ok()).await
}

/// A connection to `host` at `there`, that whoever listens here for `-D` is asked for (RFC 1928); none if it is not
/// made.
pub(crate) async fn socks(here: u16, host: &str, there: u16) -> Option<TcpStream> {
    let mut socks = connect(here).await;
    socks.write_all(&[5, 1, 0]).await.expect("it is taken");
    socks.read_exact(&mut [0; 2]).await.expect("it needs no password");
    let request = [&[5, 1, 0, 3, host.len() as u8][..], host.as_bytes(), &there.to_be_bytes()].concat();
    socks.write_all(&request).await.expect("it is taken");
    socks.read_exact(&mut [0; 10]).await.ok().map(|_| socks)
}

/// A server in her pod, at a port or a path.
pub(crate) async fn shouts(alice: &User, at: &str) -> Session {
    let session = alice.ssh(&format!("{SHOUT}{at}")).input(Input::Held).start();
    session.prints("listens\n").await;
    session
}

#[tokio::test]
async fn a_port_of_the_pod_is_reached_by_every_kind_of_local_forward() {
    let Some((_, [alice])) = with_agents(["alice"]).await else { return };
    let there = free_port();
    let _server = shouts(&alice, &there.to_string()).await;

    let words = alice.shell().argument("-W").argument(&format!("localhost:{there}"));
    words.input(Input::Bytes(b"by -W".into())).run().await.exits(0).prints("BY -W");

    let here = free_port();
    let forward = alice.shell().argument("-N").argument("-L").argument(&format!("{here}:127.0.0.1:{there}")).start();
    let large: Vec<u8> = b"half-closed ".repeat(1_000_000);
    assert_eq!(exchange(connect(here).await, &large).await, large.to_ascii_uppercase());
    let many = (0..200).map(|n| async move {
        let text = format!("connection {n}").into_bytes();
        assert_eq!(exchange(connect(here).await, &text).await, text.to_ascii_uppercase());
    });
    futures::future::join_all(many).await;
    forward.kill().await;

    let here = free_port();
    let forward = alice.shell().argument("-N").argument("-D").argument(&here.to_string()).start();
    let socket = socks(here, "localhost", there).await.expect("it is connected");
    assert_eq!(exchange(socket, b"by socks").await, b"BY SOCKS");
    forward.kill().await;
}

#[tokio::test]
async fn what_refuses_in_the_pod_is_refused_here() {
    let Some((_, [alice])) = with_agents(["alice"]).await else { return };
    for nowhere in [&format!("localhost:{}", free_port()), "no-such-host.invalid:80"] {
        alice.shell().argument("-W").argument(nowhere).run().await.fails().says("connect failed");
    }
}

#[tokio::test]
async fn sockets_in_the_file_system_are_forwarded_both_ways() {
    let Some((_, [alice])) = with_agents(["alice"]).await else { return };
    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    let (here, there) = (folder.path().join("here"), format!("/tmp/{}-there", alice.name()));
    let _server = shouts(&alice, &there).await;
    let local = format!("{}:{there}", here.display());
    let forward = alice.shell().argument("-N").argument("-L").argument(&local).start();
    let socket = eventually("the socket", async || UnixStream::connect(&here).await.ok()).await;
    assert_eq!(exchange(socket, b"down").await, b"DOWN");
    forward.kill().await;

    let back = format!("/tmp/{}-back", alice.name());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("there are ports");
    let remote = format!("{back}:127.0.0.1:{}", listener.local_addr().expect("it is bound").port());
    let ask = format!(
        r#"python3 -c "import socket; s=socket.socket(socket.AF_UNIX); s.connect('{back}'); s.sendall(b'up'); print(s.recv(9))""#
    );
    let session = alice.ssh(&ask).argument("-R").argument(&remote).start();
    let (mut socket, _) = within(Duration::from_secs(30), "a connection", listener.accept()).await.expect("it comes");
    socket.read_exact(&mut [0; 2]).await.expect("two bytes come");
    socket.write_all(b"seen").await.expect("it is taken");
    drop(socket);
    session.finish().await.exits(0).prints("b'seen'\n");
    let gone = format!("test ! -e {back}");
    eventually("the socket is gone", async || alice.ssh(&gone).run().await.succeeded().then_some(())).await;
}

#[tokio::test]
async fn a_port_that_the_pod_chose_leads_back_here() {
    let Some((_, [alice])) = with_agents(["alice"]).await else { return };
    // It answers with the port, and is not waited for as long as a pod may take.
    alice.ssh("true").run().await.exits(0);
    let (forward, port) = leads_back(&alice, alice.shell()).await;
    // Taken, it is refused to the next.
    let taken = format!("{port}:127.0.0.1:1");
    let second = alice.ssh("true").option("ExitOnForwardFailure=yes").argument("-R").argument(&taken);
    second.run().await.exits(255).says("remote port forwarding failed");
    forward.kill().await;
}

#[tokio::test]
async fn programs_of_the_pod_may_use_the_users_agent_while_she_is_in() {
    let Some((product, [alice])) = with_agents(["alice"]).await else { return };
    let agent = Agent::start().await;
    agent.add(&keygen(product.folder(), &format!("{}-other", alice.name()), "ed25519"));
    agent.add(alice.key());
    let ask = r#"echo "$SSH_AUTH_SOCK"; python3 -c "
import os, socket
s = socket.socket(socket.AF_UNIX); s.connect(os.environ['SSH_AUTH_SOCK'])
s.sendall(b'\0\0\0\1\13'); print(s.recv(9)[5:9])""#; // How many keys?
    let forwarding =
        Ssh::new(product.front(), alice.name()).agent(agent.socket()).argument("-A").command(ask).run().await;
    forwarding.exits(0);
    let text = forwarding.text();
    let (socket, keys) = text.split_once('\n').expect("two lines");
    assert_eq!(keys, "b'\\x00\\x00\\x00\\x02'\n");
    let gone = format!("test ! -e {socket}");
    eventually("the socket is gone", async || alice.ssh(&gone).run().await.succeeded().then_some(())).await;
    alice.ssh("echo \"[$SSH_AUTH_SOCK]\"").run().await.prints("[]\n");
}

#[tokio::test]
async fn a_key_may_be_kept_from_forwarding() {
    let product = Product::shared().await;
    let key = keygen(product.folder(), "kept", "ed25519");
    let keys = tempfile::tempdir().expect("there is a folder for temporary files");
    let line = format!("no-port-forwarding,no-agent-forwarding {}", public(&key));
    let name = format!("kept-{:04x}", rand::random::<u16>());
    std::fs::write(keys.path().join(&name), line).expect("the folder is ours");
    let registry = format!("identity.registries=[{{kind=\"files\",directory=\"{}\"}}]", keys.path().display());
    let replica = product.serve(&[&registry]).await;
    let ssh = || Ssh::new(&replica, &name).key(&key);
    ssh().argument("-W").argument("localhost:1").run().await.fails().says("administratively prohibited");
    ssh()
        .command("true")
        .option("ExitOnForwardFailure=yes")
        .argument("-R")
        .argument("0:localhost:1")
        .run()
        .await
        .fails();
}
