//! Keys that may have no terminal (`no-pty`): what runs has none, and the client's own stays as it is.

use tempfile::TempDir;

use crate::harness::{Product, Replica, User, eventually, public};

/// A bastion to which alice's key is such a one.
async fn replica(product: &Product, alice: &User) -> (Replica, TempDir) {
    let keys = tempfile::tempdir().expect("there is a folder for temporary files");
    let line = format!("no-pty {}", public(alice.key()));
    std::fs::write(keys.path().join(alice.name()), line).expect("the folder is ours");
    let registry = format!("identity.registries=[{{kind=\"files\",directory=\"{}\"}}]", keys.path().display());
    (product.serve(&[&registry]).await, keys)
}

const REFUSED: &str = "PTY allocation request failed";

#[tokio::test]
async fn a_terminal_that_is_not_granted_leaves_the_clients_own_as_it_was() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let (replica, _keys) = replica(&product, &alice).await;
    let asked = alice.ssh_at(&replica, "test -t 0 || echo none").argument("-tt").run().await;
    asked.exits(0).prints("none\n").says(REFUSED);

    let mut terminal = alice.ssh_at(&replica, "echo up; cat; echo over").terminal(24, 80);
    terminal.shows(REFUSED).await;
    terminal.shows_row("up").await;
    // It is this terminal that a line is edited at, and that shows it; then it comes back.
    terminal.types("hellx\x7fo\r").await;
    let twice = |rows: &[String]| rows.iter().filter(|row| row.trim() == "hello").count() == 2;
    terminal.shows_rows("what was typed and what came back", twice).await;
    terminal.types("\x04").await;
    terminal.shows_row("over").await;
    terminal.exits(0).await;
}

#[tokio::test]
async fn ctrl_c_ends_a_client_without_a_terminal_there_and_its_program() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let (replica, _keys) = replica(&product, &alice).await;
    let mut terminal = alice.ssh_at(&replica, "echo up; sleep 98740").terminal(24, 80);
    terminal.shows(REFUSED).await;
    terminal.shows_row("up").await;
    terminal.types("\x03").await;
    terminal.ends().await;
    eventually("the end of the program", async || (alice.counts_processes("98740").await == 0).then_some(())).await;
}
