//! The screens of shells that outlive their connections: on terminals that come later, and on several at once.

use crate::harness::{Terminal, User, eventually, with_agents};
use crate::shells::is_back;

/// Fills the screen, and draws nothing but when its terminal is resized.
const DRAWS_ON_RESIZE: &str = concat!(
    r#"sh -c 'trap "printf \"\\033[5;5Hdrawn:%s\" $((40+2))" WINCH; "#,
    r#"printf "\033[?1049h\033[2J\033[9;9Hready:%s" $((40+3)); while :; do sleep 0.1; done'"#,
    "\r"
);

/// What fits of the second's screen is what is on the first's, of so many rows, and there is nothing else.
async fn show_the_same(first: &Terminal, second: &Terminal, count: usize) {
    let there =
        |terminal: &Terminal| -> Vec<String> { terminal.rows().iter().map(|row| row.trim_end().to_owned()).collect() };
    eventually("one screen on both terminals", async || {
        let (first, second) = (there(first), there(second));
        let same = first[..count] == second[..count];
        (same && second[count..].iter().all(String::is_empty)).then_some(())
    })
    .await;
}

async fn ends(mut terminal: Terminal) {
    terminal.types("exit\r").await;
    terminal.ends().await;
}

/// A terminal of the same size as before tells the program nothing by itself, and no model knows all that it drew.
#[tokio::test]
async fn a_full_screen_program_draws_its_screen_for_whoever_is_back() {
    let Some((_, [alice])) = with_agents(["alice"]).await else { return };
    for (rows, columns) in [(24, 80), (30, 100)] {
        let mut first = alice.shell().terminal(24, 80);
        first.types(DRAWS_ON_RESIZE).await;
        first.shows("ready:43").await;
        first.kill().await;
        let mut second = is_back(&alice, (rows, columns)).await;
        second.shows("ready:43").await;
        second.shows("drawn:42").await;
        assert!(second.is_full_screen());
        second.types("\x03").await;
        // Its terminal is as large as ever, not as for the moment of drawing.
        let as_large =
            format!("until [ \"$(stty size)\" = '{rows} {columns}' ]; do sleep 0.1; done; echo size:$((40+4))\r");
        second.types("printf '\\033[?1049l'; clear\r").await;
        second.types(&as_large).await;
        second.shows_row("size:44").await;
        ends(second).await;
    }
}

#[tokio::test]
async fn what_was_under_a_full_screen_program_is_there_when_it_ends() {
    let Some((_, [alice])) = with_agents(["alice"]).await else { return };
    for (rows, columns) in [(24, 80), (30, 100)] {
        let mut first = alice.shell().terminal(24, 80);
        first.types("seq 3; echo under:$((40+2)); seq 500 | less\r").await;
        first.shows_row(":").await;
        first.types("G").await;
        first.shows("(END)").await;
        first.kill().await;
        let mut second = is_back(&alice, (rows, columns)).await;
        second.shows("(END)").await;
        second.shows_row("500").await;
        assert!(second.is_full_screen());
        second.types("q").await;
        second
            .shows_rows("the shell's screen", |rows| {
                let at = |text| rows.iter().position(|row| row.trim() == text);
                at("under:42").is_some_and(|under| under > 0 && rows[under - 1].trim() == "3")
            })
            .await;
        assert!(!second.is_full_screen());
        ends(second).await;
    }
}

#[tokio::test]
async fn tmux_fills_the_terminal_that_is_back() {
    let Some((_, [alice])) = with_agents(["alice"]).await else { return };
    let mut first = alice.shell().terminal(24, 80);
    first.types(&format!("echo under:$((40+2)); tmux -u -L {} new -s story\r", alice.name())).await;
    first.shows_rows("tmux's status line", |rows| rows[23].starts_with("[story]")).await;
    first.types("seq 100; echo in:$((40+3))\r").await;
    first.shows_row("in:43").await;
    first.kill().await;
    let second = is_back(&alice, (30, 90)).await;
    second.shows("in:43").await;
    second.shows_rows("tmux's status line", |rows| rows[29].starts_with("[story]")).await;
    second.kill().await;
    let mut third = is_back(&alice, (30, 90)).await;
    third.shows("in:43").await;
    third.shows_rows("tmux's status line", |rows| rows[29].starts_with("[story]")).await;
    third.types("exit\r").await;
    third.shows("[exited]").await;
    third.shows_row("under:42").await;
    ends(third).await;
}

/// The first one's shell, of 24 rows and 80 columns.
async fn shell(alice: &User) -> Terminal {
    let mut first = alice.shell().terminal(24, 80);
    first.types("seq 100; echo said:$((40+2))\r").await;
    first.shows_row("said:42").await;
    first
}

#[tokio::test]
async fn terminals_of_different_sizes_show_one_screen() {
    let Some((_, [alice])) = with_agents(["alice"]).await else { return };
    let mut first = shell(&alice).await;
    let mut larger = alice.ssh("shells 1").terminal(40, 120);
    larger.shows_row("said:42").await;
    larger.types("clear; stty size\r").await;
    first.shows_row("24 80").await;
    show_the_same(&first, &larger, 24).await;
    // Lines that end where the smaller terminal ends, and more of them than it has rows.
    first.types("seq -s, 60; seq 30; seq -s, 70; printf 'up\\033[3;7Hhere:%s\\033[24;1H' $((40+4))\r").await;
    first.shows("here:44").await;
    show_the_same(&first, &larger, 24).await;

    let onlooker = alice.ssh("shells 1 --read-only").terminal(5, 30);
    onlooker.shows("bastion: shell 1").await;
    first.types("clear; seq 50; echo last:$((40+2))\r").await;
    onlooker.shows_row("last:42").await;
    onlooker.kill().await;

    // A program that fills the screen fills the smaller one, on both.
    larger.types("seq 500 | less\r").await;
    first.shows_row(":").await;
    show_the_same(&first, &larger, 24).await;
    larger.types("G").await;
    first.shows_row("500").await;
    show_the_same(&first, &larger, 24).await;
    larger.types("q").await;
    first.shows_rows("the shell", |rows| rows.iter().any(|row| row.trim() == "last:42")).await;
    show_the_same(&first, &larger, 24).await;

    // Alone, it has all of its rows.
    first.kill().await;
    eventually("the first one's leaving", async || {
        alice.ssh("shells").run().await.text().contains("120x40").then_some(())
    })
    .await;
    larger.types("clear; stty size; seq 35; printf 'a%.0s' $(seq 100); echo\r").await;
    larger.shows_row("40 120").await;
    larger.shows_row(&"a".repeat(100)).await;
    ends(larger).await;
}

/// The terminals of two people answer what a program asks: it hears one answer.
#[tokio::test]
async fn a_program_is_answered_once() {
    let Some((_, [alice])) = with_agents(["alice"]).await else { return };
    let mut first = shell(&alice).await;
    let mut second = alice.ssh("shells 1").terminal(24, 80);
    second.shows_row("said:42").await;
    second.types("clear; echo ready:$((40+3)); cat; echo over:$((40+4))\r").await;
    first.shows_row("ready:43").await;
    first.types("\x1b[24;1Rone\r").await;
    first.shows_row("one").await;
    second.types("\x1b[24;1Rtwo\r").await;
    first.shows_row("^[[24;1Rtwo").await;
    second.types("\x04").await;
    second.shows_row("over:44").await;
    ends(second).await;
}
