//! X11 forwarding: X clients in the pod reach the display at the laptop, with nothing of X in the image.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::{Product, Ssh, Terminal, eventually, has_agents, keygen, public, with_agents, within};

/// What an X client does first, in Python: finds its cookie, connects, tells it, and reads the answer.
const CLIENT: &str = r#"
import os, socket, struct
authority = open(os.environ['XAUTHORITY'], 'rb').read()
host, _, number = os.environ['DISPLAY'].partition(':')
cookies = {}
while authority:
    family, fields, at = struct.unpack('>H', authority[:2])[0], [], 2
    for _ in range(4):
        size = struct.unpack('>H', authority[at:at+2])[0]
        fields.append(authority[at+2:at+2+size]); at += 2 + size
    authority = authority[at:]
    cookies[family, fields[0].decode(), fields[1].decode()] = (fields[2], fields[3])
number = number.split('.')[0]
name, cookie = cookies[65535, '', number]
assert cookies[256, socket.gethostname(), number] == (name, cookie)
s = socket.create_connection((host, 6000 + int(number)))
pad = lambda text: text + bytes(-len(text) % 4)
s.sendall(struct.pack('<BxHHHHxx', ord('l'), 11, 0, len(name), len(cookie)) + pad(name) + pad(cookie))
print(s.recv(99).decode())
"#;
const PROTOCOL: &str = "MIT-MAGIC-COOKIE-1";

/// An X server at the laptop, as far as it is asked here.
struct Display {
    listener: TcpListener,
    cookie: [u8; 16],
    authority: PathBuf,
}

impl Display {
    async fn new(folder: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there are ports");
        let (cookie, authority) = (rand::random(), folder.join(format!("authority-{:x}", rand::random::<u32>())));
        let display = Self { listener, cookie, authority };
        let digits: String = cookie.iter().map(|byte| format!("{byte:02x}")).collect();
        let added = Command::new("xauth")
            .arg("-f")
            .arg(&display.authority)
            .args(["add", &display.name(), PROTOCOL, &digits])
            .output()
            .expect("xauth is installed");
        assert!(added.status.success(), "{added:?}");
        display
    }

    fn name(&self) -> String {
        format!("127.0.0.1:{}.0", self.listener.local_addr().expect("it is bound").port() - 6000)
    }

    /// `ssh -X`, from where this is the display.
    fn forwarded(&self, ssh: Ssh) -> Ssh {
        let authority = self.authority.to_str().expect("a plain name");
        let ssh = ssh.environment("DISPLAY", &self.name()).environment("XAUTHORITY", authority);
        // The X server would have to make a cookie for what is not trusted.
        ssh.argument("-X").option("ForwardX11Trusted=yes")
    }

    /// Answers the next client; returns what it says first.
    async fn answers(&self, words: &str) -> Vec<u8> {
        let accepted = within(Duration::from_secs(30), "an X client", self.listener.accept()).await;
        let (mut client, _) = accepted.expect("it comes");
        let mut said = vec![0; 12 + 20 + 16];
        within(Duration::from_secs(10), "its words", client.read_exact(&mut said)).await.expect("they are whole");
        client.write_all(words.as_bytes()).await.expect("it is taken");
        said
    }

    /// The first words of a client that knows the real cookie.
    fn password(&self) -> Vec<u8> {
        let head = [b'l', 0, 11, 0, 0, 0, 18, 0, 16, 0, 0, 0];
        [&head, PROTOCOL.as_bytes(), &[0, 0], &self.cookie].concat()
    }
}

#[tokio::test]
async fn x_clients_of_the_pod_reach_the_users_display() {
    let Some((product, [alice])) = with_agents(["alice"]).await else { return };
    let display = Display::new(product.folder()).await;
    let client = format!("echo $DISPLAY $XAUTHORITY; python3 -c \"{CLIENT}\"; read _");
    let mut sessions = Vec::new();
    for words in ["first", "second"] {
        let session = display.forwarded(alice.ssh(&client)).input(crate::harness::Input::Held).start();
        assert_eq!(display.answers(words).await, display.password());
        session.prints(&format!("{words}\n")).await;
        sessions.push(session);
    }
    // Each has a display of its own, which is gone with it.
    let mut names = Vec::new();
    for session in sessions {
        let said = session.finish().await.text();
        let (name, authority) = said.lines().next().and_then(|line| line.split_once(' ')).expect("two words");
        let number: u16 =
            name.strip_prefix("localhost:").and_then(|name| name.strip_suffix(".0")?.parse().ok()).expect("a display");
        assert!(number >= 10, "{name}");
        assert!(!names.contains(&number));
        names.push(number);
        let gone = format!("test ! -e {authority} && test ! -e $(dirname {authority})");
        eventually("the end of its files", async || alice.ssh(&gone).run().await.succeeded().then_some(())).await;
        let is_closed = async || TcpStream::connect(("127.0.0.1", 6000 + number)).await.is_err().then_some(());
        if !crate::harness::is_real() {
            eventually("the end of the display", is_closed).await;
        }
    }
}

#[tokio::test]
async fn x_clients_reach_the_display_through_a_jump() {
    let Some((product, [alice])) = with_agents(["alice"]).await else { return };
    let display = Display::new(product.folder()).await;
    let known_hosts = product.folder().join(format!("{}-known", alice.name()));
    let client = alice.ssh(&format!("python3 -c \"{CLIENT}\"")).jump("dev", alice.key(), &known_hosts);
    let session = display.forwarded(client).start();
    assert_eq!(display.answers("through a jump").await, display.password());
    session.finish().await.exits(0).prints("through a jump\n");
}

#[tokio::test]
async fn a_shell_finds_the_display_of_whoever_is_back_in_it() {
    let Some((product, [alice])) = with_agents(["alice"]).await else { return };
    let save = alice.ssh("cat >client.py").input(crate::harness::Input::Bytes(CLIENT.into())).run().await;
    save.exits(0);
    let displays = [Display::new(product.folder()).await, Display::new(product.folder()).await];
    let asks = async |terminal: &mut Terminal, display: &Display, words: &str| {
        terminal.types("clear; python3 client.py\r").await;
        assert_eq!(display.answers(words).await, display.password());
        terminal.shows_row(words).await;
    };
    let mut first = displays[0].forwarded(alice.shell()).terminal(24, 80);
    asks(&mut first, &displays[0], "hello").await;
    first.types("left=$((40+2)); echo set:$left.\r").await;
    first.shows_row("set:42.").await;
    first.kill().await;
    let mut second = eventually("the shell that was left", async || {
        let mut second = displays[1].forwarded(alice.shell()).terminal(24, 80);
        second.types("echo left:$left.\r").await;
        second.shows_rows("a shell", |rows| rows.iter().any(|row| ["left:.", "left:42."].contains(&row.trim()))).await;
        let back = second.rows().join("\n").contains("left:42.");
        if !back {
            second.types("exit\r").await;
            second.ends().await;
        }
        back.then_some(second)
    })
    .await;
    asks(&mut second, &displays[1], "again").await;
    second.types("exit\r").await;
    second.exits(0).await;
}

#[tokio::test]
async fn a_display_may_be_kept_from_the_pod() {
    let product = Product::shared().await;
    let display = Display::new(product.folder()).await;
    let alice = product.user("alice").await;
    let replica = product.serve(&["ssh.allow_x11_forwarding=false"]).await;
    alice.is_known_at(&replica).await;
    let switched_off = display.forwarded(alice.ssh_at(&replica, "echo \"[$DISPLAY]\"")).run().await;
    switched_off.exits(0).prints("[]\n").says("X11 forwarding request failed");

    let key = keygen(product.folder(), "no-x11", "ed25519");
    let keys = tempfile::tempdir().expect("there is a folder for temporary files");
    for (options, permitted) in [("no-X11-forwarding", false), ("restrict,X11-forwarding", true)] {
        std::fs::write(keys.path().join(alice.name()), format!("{options} {}", public(&key)))
            .expect("the folder is ours");
        let registry = format!("identity.registries=[{{kind=\"files\",directory=\"{}\"}}]", keys.path().display());
        let replica = product.serve(&[&registry]).await;
        let ssh = Ssh::new(&replica, alice.name()).key(&key).command("echo \"[$DISPLAY]\"");
        let said = display.forwarded(ssh).run().await;
        assert_eq!(said.exits(0).stderr().contains("X11 forwarding request failed"), !permitted, "{}", said.stderr());
        assert!(
            said.text().starts_with(if permitted && has_agents() { "[localhost:" } else { "[]" }),
            "{}",
            said.text()
        );
    }
}
