//! `devctl ssh`, `exec` and `shells` are sessions like any other.

use super::{devctl, make};
use crate::harness::{Input, user, with_agents};

#[tokio::test]
async fn programs_run_word_by_word_with_their_input_and_exit_status() {
    let alice = user("alice").await;
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
    let Some((_, [alice])) = with_agents(["alice"]).await else { return };
    make(&alice, "second", "").await;
    let mut first = alice.shell_in("second").terminal(24, 100);
    first.types("echo said:$((40+2))\r").await;
    first.shows_row("said:42").await;
    let list = async |format: &str| devctl(&alice, &format!("shells second -o {format}")).run().await.exits(0).text();
    let json: serde_json::Value = serde_json::from_str(&list("json").await).expect("it is JSON");
    assert_eq!((&json[0]["number"], &json[0]["viewers"]), (&1.into(), &1.into()));
    assert!(list("yaml").await.contains("number: 1\n"));
    assert_eq!(list("name").await, "1\n");
    let (table, wide) = (list("table").await, list("wide").await);
    assert!(table.starts_with("NUMBER ") && !table.contains("VIEWERS") && wide.contains("VIEWERS"), "{table}{wide}");
    // The same of whoever is logged in to it.
    alice.shell_in("second").command("shells -o name").run().await.exits(0).prints("1\n");
    devctl(&alice, "shells second 1 -o name").run().await.exits(2).prints("").says("--output");
    devctl(&alice, "shells second -o xml").run().await.exits(2).prints("").says("xml");
    let onlooker = devctl(&alice, "shells second 1 --read-only").terminal(24, 100);
    onlooker.shows_row("said:42").await;
    onlooker.kill().await;
    first.types("exit\r").await;
    first.exits(0).await;
}
