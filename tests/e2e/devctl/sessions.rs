//! `devctl ssh`, `exec` and `shells` are sessions like any other.

use super::{devctl, make};
use crate::harness::{Input, Product, Ssh, with_agents};

#[tokio::test]
async fn programs_run_word_by_word_with_their_input_and_exit_status() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    make(&alice, "second", "--env WHERE=second").await;
    devctl(&alice, "exec second -- printf '%s|' 'a  b' '$WHERE' c").run().await.exits(0).prints("a  b|$WHERE|c|");
    devctl(&alice, "exec second -- sh -c 'exit 7'").run().await.exits(7);
    let input = Input::Bytes(b"through and through".to_vec());
    devctl(&alice, "exec second -- cat").input(input).run().await.exits(0).prints("through and through");
    devctl(&alice, "ssh second 'echo $WHERE; echo beside >&2'").run().await.exits(0).prints("second\n").says("beside");
    devctl(&alice, "exec nowhere -- true").run().await.exits(255).says("you have no DevServer `nowhere`");

    let mut terminal = devctl(&alice, "ssh second").terminal(24, 90);
    terminal.types("echo in:$WHERE:$((40+2)); stty size\r").await;
    terminal.shows_row("in:second:42").await;
    terminal.shows_row("24 90").await;
    terminal.types("exit 3\r").await;
    terminal.exits(3).await;
}

#[tokio::test]
async fn shells_are_those_of_the_named_devserver() {
    let Some((product, [alice])) = with_agents(["alice"]).await else { return };
    make(&alice, "second", "").await;
    let mut first = Ssh::new(product.front(), &format!("{}+second", alice.name())).key(alice.key()).terminal(24, 100);
    first.types("echo said:$((40+2))\r").await;
    first.shows_row("said:42").await;
    let list = devctl(&alice, "shells second -o json").run().await.exits(0).text();
    let list: serde_json::Value = serde_json::from_str(&list).expect("it is JSON");
    assert_eq!(list[0]["number"], 1);
    let onlooker = devctl(&alice, "shells second 1 --read-only").terminal(24, 100);
    onlooker.shows_row("said:42").await;
    onlooker.kill().await;
    first.types("exit\r").await;
    first.exits(0).await;
}
