//! `ssh alice@bastion`: a login shell in a terminal.

use crate::harness::{Product, with_agents};

#[tokio::test]
async fn the_shell_is_a_login_shell() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let mut terminal = alice.shell().terminal(24, 100);
    let is_login = "case $0 in -*) echo login$((1));; *) shopt -q login_shell && echo login$((1));; esac\r";
    terminal.types(is_login).await;
    terminal.shows_row("login1").await;
    terminal.types("[ \"$PWD\" = \"$HOME\" ] && echo home$((1))\r").await;
    terminal.shows_row("home1").await;
    terminal.types("exit 5\r").await;
    terminal.exits(5).await;
}

#[tokio::test]
async fn the_terminal_has_the_clients_size_and_type() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let lines = "stty size; echo \"T=$TERM L=$LANG\"\r";
    let shell = alice.shell().environment("TERM", "screen-256color").option("SetEnv=LANG=C.UTF-8");
    let mut terminal = shell.terminal(43, 132);
    terminal.types(lines).await;
    terminal.shows_row("43 132").await;
    terminal.shows_row("T=screen-256color L=C.UTF-8").await;
}

#[tokio::test]
async fn a_resize_reaches_the_program_as_a_signal() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let program = "trap 'echo now $(stty size)' WINCH; echo waiting; while :; do sleep 0.1; done";
    let mut terminal = alice.ssh(program).terminal(24, 80);
    terminal.shows_row("waiting").await;
    terminal.resize(50, 120);
    terminal.shows_row("now 50 120").await;
    terminal.resize(10, 40);
    terminal.shows_row("now 10 40").await;
}

/// The program reads nothing: what was typed before the resize is still on its way when that arrives.
#[tokio::test]
async fn a_resize_passes_keys_that_nobody_reads() {
    let Some((_, [alice])) = with_agents(["alice"]).await else { return };
    let program =
        "stty raw -echo; trap 'printf \"\\rnow $(stty size)\"' WINCH; printf waiting; while :; do sleep 0.1; done";
    let mut terminal = alice.ssh(program).terminal(24, 80);
    terminal.shows_row("waiting").await;
    terminal.types(&"x".repeat(100_000)).await;
    terminal.resize(50, 120);
    terminal.shows_row("now 50 120").await;
}

#[tokio::test]
async fn ctrl_c_interrupts_the_program_and_not_the_session() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let mut terminal = alice.shell().terminal(24, 80);
    terminal.types("echo $((40+2)); sleep 1000\r").await;
    terminal.shows_row("42").await;
    terminal.types("\x03").await;
    terminal.types("echo status=$?\r").await;
    terminal.shows_row("status=130").await;
    terminal.types("\x04").await;
    terminal.ends().await;
}

#[tokio::test]
async fn ctrl_c_stops_a_program_that_floods_the_terminal() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let mut terminal = alice.shell().terminal(24, 80);
    terminal.types("yes flood\r").await;
    terminal.shows_row("flood").await;
    terminal.types("\x03").await;
    terminal.types("clear; echo $((40+2))\r").await;
    terminal.shows_row("42").await;
}

#[tokio::test]
async fn utf_8_goes_both_ways() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let mut terminal = alice.shell().option("SetEnv=LANG=C.UTF-8").terminal(24, 80);
    terminal.types("printf '\\303\\244 \\342\\202\\254 \\346\\274\\242\\n'\r").await;
    terminal.shows_row("ä € 漢").await;
    terminal.types("echo $((40+2)); read x; printf %s \"$x\" | od -An -tx1\r").await;
    terminal.shows_row("42").await;
    terminal.types("öß\r").await;
    terminal.shows_row("c3 b6 c3 9f").await;
}

#[tokio::test]
async fn full_screen_programs_work() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let mut terminal = alice.shell().terminal(24, 80);
    let name = alice.name().to_owned();
    terminal.types(&format!("tmux -u -L {name} new -s story\r")).await;
    let status_line_is_at = |row: usize| move |rows: &[String]| rows[row].starts_with("[story]");
    terminal.shows_rows("tmux's status line in row 24", status_line_is_at(23)).await;
    assert!(terminal.is_full_screen());
    terminal.resize(30, 90);
    terminal.shows_rows("tmux's status line in row 30", status_line_is_at(29)).await;
    terminal.types("exit\r").await;
    terminal.shows("[exited]").await;
    assert!(!terminal.is_full_screen());
}

#[tokio::test]
async fn a_command_can_have_a_terminal() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let mut terminal = alice.ssh("test -t 0 && test -t 1 && tty && exit 4").terminal(24, 80);
    terminal.shows("/dev/pts/").await;
    terminal.exits(4).await;
}

#[tokio::test]
async fn a_shell_without_a_terminal_reads_commands() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let input = crate::harness::Input::Bytes(b"echo one\nexit 6\n".to_vec());
    let shell = alice.shell().argument("-T").input(input).run().await;
    shell.exits(6).prints("one\n");
}

#[tokio::test]
async fn the_terminal_has_the_clients_modes() {
    let Some((_, [alice])) = with_agents(["alice"]).await else { return };
    for (here, there) in [
        ("erase ^H intr ^X -ixon", ["intr = ^X;", "erase = ^H;", "-ixon"]),
        ("susp undef start ^G onlret", ["susp = <undef>;", "start = ^G;", "onlret"]),
        ("-iutf8 tostop 9600", ["-iutf8", "tostop", "speed 9600 baud;"]),
    ] {
        let mut terminal = alice.ssh("stty -a").modes(here).terminal(24, 80);
        terminal.exits(0).await;
        for text in there {
            let word = |rows: &[String]| format!(" {} ", rows.join(" ")).contains(&format!(" {text} "));
            terminal.shows_rows(&format!("{text:?}"), word).await;
        }
    }
    let mut terminal = alice.shell().modes("intr ^X").terminal(24, 80);
    terminal.types("echo $((40+2)); sleep 1000\r").await;
    terminal.shows_row("42").await;
    terminal.types("\x18").await;
    terminal.types("echo status=$?\r").await;
    terminal.shows_row("status=130").await;
    terminal.types("exit\r").await;
    terminal.ends().await;
}
