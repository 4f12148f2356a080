//! `devctl ssh` on a laptop without OpenSSH: devctl is the client, and the terminal is its to look after.

use super::{DEVCTL, Desk};
use crate::harness::{Terminal, user};

/// Runs `devctl` with these words where there is no other program, and tells afterwards how it and the terminal are.
fn alone(desk: &Desk, words: &str) -> Terminal {
    let script = format!(
        "stty -g >before; sh -c 'echo $$ >pid; PATH=/nonexistent exec {DEVCTL} {words}'; echo \"status $?\"; \
         stty -g >after; cmp before after && echo restored; exit 0"
    );
    desk.runs_at_a_terminal("sh", &["-c", &script])
}

/// It has the size of its terminal, of 30 rows and 100 columns at first, and Ctrl-C.
pub(super) async fn works_and_exits_with_7(shell: &mut Terminal) {
    shell.types("PS1=; stty size; echo $TERM\r").await;
    shell.shows_row("30 100").await;
    shell.shows_row("xterm-256color").await;
    shell.resize(40, 90);
    shell.types("clear; until [ \"$(stty size)\" = \"40 90\" ]; do sleep 0.1; done; echo res''ized\r").await;
    shell.shows_row("resized").await;
    shell.types("echo be''gun; sleep 1000\r").await;
    shell.shows_row("begun").await;
    shell.types("\x03").await;
    shell.types("echo aga''in\r").await;
    shell.shows_row("again").await;
    shell.types("exit 7\r").await;
}

#[tokio::test]
async fn a_shell_has_size_signals_and_an_exit_status() {
    let alice = user("alice").await;
    alice.is_running().await;
    let desk = Desk::of(&alice).await;
    let mut shell = alone(&desk, "ssh dev");
    works_and_exits_with_7(&mut shell).await;
    shell.shows_row("status 7").await;
    shell.shows_row("restored").await;
    shell.exits(0).await;
}

#[tokio::test]
async fn the_terminal_is_as_before_whatever_ends_it() {
    let alice = user("alice").await;
    alice.is_running().await;
    let desk = Desk::of(&alice).await;
    for (signal, status) in [("TERM", 143), ("INT", 130), ("HUP", 129)] {
        let mut shell = alone(&desk, "ssh dev -t -- \"echo in; exec sleep 1000\"");
        shell.shows_row("in").await;
        let pid = desk.read("pid");
        desk.laptop.run("kill", &[&format!("-{signal}"), pid.trim()]).await.exits(0);
        shell.shows_row(&format!("status {status}")).await;
        shell.shows_row("restored").await;
        shell.exits(0).await;
    }
    let mut watch = alone(&desk, "list --watch");
    watch.shows("dev ").await;
    watch.types("\x03").await;
    watch.shows_row("status 130").await;
    watch.shows_row("restored").await;
    watch.exits(0).await;
}
