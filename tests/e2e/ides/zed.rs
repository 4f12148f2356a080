//! Zed.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{Laptop, eventually, with_agents};

/// Stands in for `zed-remote-server proxy`: messages in both directions, each after its length in four bytes.
const SERVER: &str = "#!/usr/bin/env python3
import struct, sys
if sys.argv[1] == 'version': print('0.1'); sys.exit()
print('the log is on stderr', file=sys.stderr, flush=True)
while head := sys.stdin.buffer.read(4):
    body = sys.stdin.buffer.read(struct.unpack('<I', head)[0])
    sys.stdout.buffer.write(head + body[::-1]); sys.stdout.buffer.flush()
";

/// Known from its sources (zed-industries/zed, `crates/remote/src/transport/ssh.rs`): a master connection without a
/// session; commands that begin with `cd;` through its control socket, stdin a pipe; the server, compressed, by
/// `sftp -b -`; then a proxy that speaks a binary protocol on stdio, and terminals by `-t`.
#[tokio::test]
async fn zed_uploads_its_server_and_talks_to_it() {
    let Some((product, [alice])) = with_agents(["alice"]).await else { return };
    let laptop = Laptop::new(&alice, product.front());
    let control = ["-o", "ControlMaster=no", "-o", "ControlPath=control"];
    let arguments = |more: &[&'static str]| control.iter().copied().chain(more.iter().copied()).collect::<Vec<_>>();
    let _master = laptop
        .start("ssh", &["-N", "-o", "ControlPersist=no", "-o", "ControlMaster=yes", "-o", control[3], "ssh://pod"]);
    eventually("the control socket", async || laptop.path("control").exists().then_some(())).await;

    let shell = laptop.run("ssh", &arguments(&["ssh://pod", "-T", "cd; sh -c 'echo $SHELL'"])).await;
    assert!(shell.exits(0).text().starts_with('/'), "{:?}", shell.text());
    let platform = laptop.run("ssh", &arguments(&["ssh://pod", "-T", "cd; uname -sm"])).await;
    assert!(platform.exits(0).text().starts_with("Linux "), "{:?}", platform.text());
    let server = ".zed_server/zed-remote-server-stable-0.1";
    let version = "cd; .zed_server/zed-remote-server-stable-0.1 version";
    laptop.run("ssh", &arguments(&["ssh://pod", version])).await.exits(127);
    laptop.run("ssh", &arguments(&["ssh://pod", "cd; mkdir -p .zed_server"])).await.exits(0);
    laptop.write("server", SERVER);
    laptop.run("gzip", &["server"]).await.exits(0);
    let put = format!("put {} {server}-download-1.gz\n", laptop.path("server.gz").display());
    laptop.run_with("sftp", &arguments(&["-b", "-", "pod"]), put.as_bytes()).await.exits(0);
    let unpack = "cd; sh -c 'gunzip -f .zed_server/zed-remote-server-stable-0.1-download-1.gz && \
                  chmod 755 .zed_server/zed-remote-server-stable-0.1-download-1 && \
                  mv .zed_server/zed-remote-server-stable-0.1-download-1 .zed_server/zed-remote-server-stable-0.1'";
    laptop.run("ssh", &arguments(&["ssh://pod", unpack])).await.exits(0);

    let proxy = "cd; exec env RUST_LOG=info .zed_server/zed-remote-server-stable-0.1 proxy --identifier dev-1";
    let mut proxy = laptop.command("ssh", &arguments(&["ssh://pod", "-T", proxy])).spawn().expect("it is installed");
    let (mut to, mut from) = (proxy.stdin.take().expect("it is piped"), proxy.stdout.take().expect("it is piped"));
    for length in [1_u32, 70_000, 5, 3_000_000] {
        let message: Vec<u8> = (0..=u8::MAX).cycle().take(length as usize).collect();
        let (sent, answer) = tokio::join!(
            async {
                to.write_all(&length.to_le_bytes()).await?;
                to.write_all(&message).await
            },
            async {
                let mut answer = vec![0; 4 + message.len()];
                from.read_exact(&mut answer).await.map(|_| answer)
            }
        );
        sent.expect("it reads");
        let mut answer = answer.expect("it answers");
        assert_eq!(answer.drain(..4).collect::<Vec<_>>(), length.to_le_bytes());
        assert!(answer.iter().rev().eq(&message), "a message of {length} bytes");
    }
    drop(to);
    let ended = proxy.wait_with_output().await.expect("it is our child");
    assert!(ended.status.success() && ended.stderr == b"the log is on stderr\n", "{ended:?}");

    let terminal = alice.ssh("cd && exec env TERM=xterm-256color ${SHELL:-sh} -l").argument("-t");
    let mut terminal = terminal.terminal(24, 80);
    terminal.types("echo $TERM:$((40+2)); exit 4\r").await;
    terminal.shows_row("xterm-256color:42").await;
    terminal.exits(4).await;
}
