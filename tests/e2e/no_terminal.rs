//! Keys that may have no terminal (`no-pty`): what runs has none, and the client's own is left as it was found. As sshd
//! refuses it: OpenSSH's client then leaves if it was told to ask (`-t`), and else goes on without.

use tempfile::TempDir;

use crate::harness::{Laptop, Product, Replica, Terminal, User, public};

const REFUSED: &str = "PTY allocation request failed";

/// A bastion to which alice's key is such a one, and a laptop of hers.
struct Desk {
    laptop: Laptop,
    _replica: Replica,
    _keys: TempDir,
}

impl Desk {
    async fn of(product: &Product, alice: &User) -> Self {
        let keys = tempfile::tempdir().expect("there is a folder for temporary files");
        let line = format!("no-pty {}", public(alice.key()));
        std::fs::write(keys.path().join(alice.name()), line).expect("the folder is ours");
        let registry = format!("identity.registries=[{{kind=\"files\",directory=\"{}\"}}]", keys.path().display());
        let replica = product.serve(&[&registry]).await;
        Self { laptop: Laptop::new(alice, &replica), _replica: replica, _keys: keys }
    }

    /// A terminal at which this is run, where `SSH` is the client.
    fn runs(&self, script: &str) -> Terminal {
        let script = script.replace("SSH", &self.laptop.path("bin/ssh").display().to_string());
        let command = pty_process::Command::new("sh").args(["-c", &script]).env_remove("SSH_AUTH_SOCK");
        Terminal::start(command.kill_on_drop(true), 24, 80)
    }
}

/// What stty(1) says of a terminal that edits lines, shows what is typed and knows Ctrl-C.
const AS_FOUND: &str = "isig icanon iexten echo ";

#[tokio::test]
async fn a_client_that_asks_for_a_terminal_in_vain_leaves_its_own_as_it_was() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let desk = Desk::of(&product, &alice).await;
    let mut terminal = desk.runs("SSH -t pod true; echo ended:$?; stty -a");
    terminal.shows(REFUSED).await;
    terminal.shows_row("ended:255").await;
    terminal.shows(AS_FOUND).await;
    terminal.exits(0).await;
}

#[tokio::test]
async fn a_shell_without_a_terminal_is_typed_at_by_the_clients_own() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let desk = Desk::of(&product, &alice).await;
    let mut terminal = desk.runs("SSH pod; echo ended:$?; stty -a");
    terminal.shows(REFUSED).await;
    // Only here is a line edited.
    terminal.types("test -t 0 || echo saix\x7fd:$((40+2))\r").await;
    terminal.shows_row("said:42").await;
    terminal.types("\x04").await;
    terminal.shows_row("ended:0").await;
    terminal.shows(AS_FOUND).await;
    terminal.exits(0).await;
}

#[tokio::test]
async fn ctrl_c_ends_a_client_without_a_terminal_there_and_its_program() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let desk = Desk::of(&product, &alice).await;
    let mut terminal = desk.runs("exec SSH pod");
    terminal.shows(REFUSED).await;
    terminal.types("echo up:$((40+2)); sleep 98740\r").await;
    terminal.shows_row("up:42").await;
    terminal.types("\x03").await;
    terminal.ends().await;
    alice.has_processes("98740", 0).await;
}
