//! VS Code's Remote-SSH, its open counterpart, and Cursor, which began as the latter.

use super::{SERVER, Talk, by_socks};
use crate::forwards::{connect, exchange};
use crate::harness::{Laptop, Product, User, eventually, free_port, has_agents, skip_unless};

/// Installs and starts the server as Remote-SSH's script does, answering by markers.
///
/// Known from users' logs in the issues of microsoft/vscode-remote-release (10864, 8946, 10017): `ssh -T -D PORT HOST
/// bash` is given the script on stdin, which stays open; the server is put in the background with its output in a file,
/// without nohup; pid and log tell a later window of a server that runs; what cannot be downloaded there is copied by
/// scp.
const SCRIPT: &str = r#"
echo "7a5c: running"
root=~/.vscode-server; folder=$root/bin/4949701c; log=$root/.4949701c.log; pid=$root/.4949701c.pid
mkdir -p "$folder"
if [[ ! -f $folder/code-server ]]; then
    echo "7a5c:trigger_server_download"
    echo "artifact==server-linux-x64=="
    echo "destFolder==$folder=="
    echo "7a5c:trigger_server_download_end"
    while [[ ! -f $folder/vscode-server.tar.gz.done ]]; do sleep 0.1; done
    tar -xf "$folder/vscode-server.tar.gz" -C "$folder" && unpacked=success
fi
if [[ -f $pid ]] && kill -0 "$(<"$pid")" 2>/dev/null; then
    echo "Found running server"
else
    rm -f "$log"
    python3 "$folder/code-server" --start-server --host=127.0.0.1 --port=0 &>"$log" </dev/null &
    echo $! >"$pid"
fi
for i in {1..300}; do
    port=$(sed -n 's/^Extension host agent listening on //p' "$log" 2>/dev/null)
    [[ -n $port ]] && break
    sleep 0.1
done
echo "7a5c: start"
echo "shell==$$=="
echo "listeningOn==$port=="
echo "arch==$(uname -m)=="
echo "platform==linux=="
echo "unpackResult==$unpacked=="
echo "7a5c: end"
"#;

async fn alice() -> (Product, User, Laptop) {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let laptop = Laptop::new(&alice, product.front());
    (product, alice, laptop)
}

/// A window: `ssh` with its script, and the port of its SOCKS server.
async fn window(laptop: &Laptop, options: &[&str]) -> (Talk, u16) {
    let socks = free_port();
    let port = socks.to_string();
    let arguments: Vec<&str> = options.iter().copied().chain(["-T", "-D", &port, "pod", "bash"]).collect();
    let mut talk = Talk::start(laptop, "ssh", &arguments);
    talk.types(SCRIPT).await;
    talk.hears("7a5c: running").await;
    (talk, socks)
}

async fn is_served(socks: u16, there: u16) {
    let large = b"the extension host's ".repeat(200_000);
    let (management, extensions) =
        tokio::join!(async { exchange(by_socks(socks, there).await, b"management").await }, async {
            exchange(by_socks(socks, there).await, &large).await
        });
    assert_eq!(management, b"MANAGEMENT");
    assert!(extensions == large.to_ascii_uppercase(), "{} other bytes", extensions.len());
}

#[tokio::test]
async fn vscode_finds_its_server_again_after_its_window_was_reloaded() {
    skip_unless!(has_agents(), "the pods have no agent");
    let (_product, alice, laptop) = alice().await;
    let (mut first, socks) = window(&laptop, &[]).await;
    first.hears("7a5c:trigger_server_download").await;
    assert_eq!(first.value("artifact").await, "server-linux-x64");
    let folder = first.value("destFolder").await;
    laptop.write("code-server", SERVER);
    laptop.write("done", "");
    laptop.run("tar", &["-czf", "server.tar.gz", "code-server"]).await.exits(0);
    laptop.run("scp", &["server.tar.gz", &format!("pod:{folder}/vscode-server.tar.gz")]).await.exits(0);
    laptop.run("scp", &["done", &format!("pod:{folder}/vscode-server.tar.gz.done")]).await.exits(0);
    first.hears("7a5c: start").await;
    let shell = first.value("shell").await;
    let there: u16 = first.value("listeningOn").await.parse().expect("a port");
    assert_eq!(first.value("unpackResult").await, "success");
    first.hears("7a5c: end").await;
    is_served(socks, there).await;
    first.types("echo \"still:$((40+2))\"\n").await;
    assert_eq!(first.hears("still:").await, "42");

    first.kill().await;
    eventually("the end of the script's shell", async || {
        let look = alice.ssh(&format!("kill -0 {shell} 2>/dev/null && echo there; true")).run().await;
        look.text().is_empty().then_some(())
    })
    .await;
    let (mut second, socks) = window(&laptop, &[]).await;
    second.hears("Found running server").await;
    assert_eq!(second.value("listeningOn").await, there.to_string());
    is_served(socks, there).await;
    alice.ssh("kill $(cat .vscode-server/.4949701c.pid)").run().await.exits(0);
}

#[tokio::test]
async fn vscode_has_two_windows_on_one_connection() {
    skip_unless!(has_agents(), "the pods have no agent");
    let (_product, alice, laptop) = alice().await;
    alice
        .ssh("mkdir -p .vscode-server/bin/4949701c && cat >.vscode-server/bin/4949701c/code-server")
        .input(crate::harness::Input::Bytes(SERVER.into()))
        .run()
        .await
        .exits(0);
    let options = ["-o", "ControlMaster=auto", "-o", "ControlPath=control"];
    let (mut first, socks) = window(&laptop, &options).await;
    let there: u16 = first.value("listeningOn").await.parse().expect("a port");
    let (mut second, socks_2) = window(&laptop, &options).await;
    second.hears("Found running server").await;
    second.hears("7a5c: end").await;
    is_served(socks, there).await;
    is_served(socks_2, there).await;
    second.kill().await;
    is_served(socks, there).await;
    alice.ssh("kill $(cat .vscode-server/.4949701c.pid)").run().await.exits(0);
}

/// With `remote.SSH.remoteServerListenOnSocket` the server is given a path instead of a port, where nobody else of the
/// machine may go, and each window forwards a port of the laptop to it.
#[tokio::test]
async fn vscode_has_its_server_listen_on_a_socket() {
    skip_unless!(has_agents(), "the pods have no agent");
    let (_product, alice, laptop) = alice().await;
    let socket = format!("/tmp/vscode-remote-ssh-{}.sock", alice.name());
    let server = SERVER
        .replace(
            "socket.create_server(('127.0.0.1', 0))",
            &format!("socket.socket(socket.AF_UNIX); s.bind('{socket}'); s.listen()"),
        )
        .replace("s.getsockname()[1]", "s.getsockname()");
    laptop.write("code-server", server);
    laptop.run("scp", &["code-server", "pod:code-server"]).await.exits(0);
    let mut script = Talk::start(&laptop, "ssh", &["-T", "pod", "bash"]);
    script.types("umask 077; python3 code-server </dev/null 2>&1 & echo $! >pid\n").await;
    let there = script.hears("Extension host agent listening on ").await;
    assert_eq!(there, socket);
    for _ in 0..2 {
        let here = free_port();
        let mut window = laptop.start("ssh", &["-T", "-L", &format!("{here}:{socket}"), "pod", "bash"]);
        let (one, other) = tokio::join!(async { exchange(connect(here).await, b"management").await }, async {
            exchange(connect(here).await, b"extensions").await
        });
        assert_eq!((&one[..], &other[..]), (&b"MANAGEMENT"[..], &b"EXTENSIONS"[..]));
        window.kill().await.expect("it is our child");
    }
    alice.ssh("kill $(cat pid)").run().await.exits(0);
}

/// Known from the sources of jeanp413/open-remote-ssh (`src/scripts/server-setup.sh`) and from Cursor's logs
/// (cursor/cursor 847): the whole script is the command, some kilobytes with line feeds and quotes; it holds a lock by
/// a descriptor and a trap, starts the server in the background and ends, and so must the session; then -L or -D.
#[tokio::test]
async fn cursor_has_its_script_as_the_command() {
    skip_unless!(has_agents(), "the pods have no agent");
    let (_product, alice, laptop) = alice().await;
    alice.is_running().await; // A first login that takes long says so on stderr.
    let padding = "# 'neither' \"quotes\" nor `marks` nor $signs are at home here\n".repeat(400);
    let script = format!(
        r#"{padding}
exec {{FD}}<>"$HOME/.lock"; flock -x -w 30 $FD
trap "flock -u $FD; trap - EXIT INT HUP; exit" EXIT INT HUP
mkdir -p ~/.cursor-server; pushd ~/.cursor-server >/dev/null
cat >cursor-server <<'END'{SERVER}END
popd >/dev/null
python3 ~/.cursor-server/cursor-server --start-server &> ~/.cursor-server/log &
echo $! >~/.cursor-server/pid
while ! grep -qs listening ~/.cursor-server/log; do sleep 0.1; done
echo "23fe: start"
echo "exitCode==0=="
echo "listeningOn==$(sed -n 's/.*listening on //p' ~/.cursor-server/log)=="
echo "23fe: end"
exit 0
"#
    );
    let script = format!("bash -c '{}'", script.replace('\'', r"'\''"));
    let installed = laptop.run("ssh", &["-T", "pod", &script]).await;
    installed.exits(0).says_exactly("");
    let text = installed.text();
    let there = text.lines().find_map(|line| line.strip_prefix("listeningOn==")?.strip_suffix("=="));
    let there = there.unwrap_or_else(|| panic!("no port in {text:?}"));
    let here = free_port();
    let _tunnel = laptop.start("ssh", &["-N", "-L", &format!("{here}:127.0.0.1:{there}"), "pod"]);
    assert_eq!(exchange(connect(here).await, b"by the tunnel").await, b"BY THE TUNNEL");
    alice.ssh("kill $(cat .cursor-server/pid)").run().await.exits(0);
}
