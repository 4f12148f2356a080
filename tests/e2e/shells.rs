//! A shell on a terminal outlives its connection.

use rustix::process::Signal;

use crate::harness::{Agent, Master, Replica, Ssh, Terminal, User, eventually, with_agents};

/// Her next login, once the end of the last connection was heard of and `shows` tells that it is back in her shell.
pub(crate) async fn comes_back(alice: &User, at: &Replica, (rows, columns): (u16, u16), shows: &str) -> Terminal {
    eventually("the shell that was left", async || {
        let mut terminal = alice.shell_at(at).terminal(rows, columns);
        let either =
            |rows: &[String]| rows.iter().any(|row| row.contains('$') || row.contains('#') || row.contains(shows));
        terminal.shows_rows("a shell", either).await;
        if terminal.rows().join("\n").contains(shows) {
            return Some(terminal);
        }
        // A new one: it must not be what is found next.
        terminal.types("exit\r").await;
        terminal.ends().await;
        None
    })
    .await
}

/// Her next login, back in the shell that she left: a screen that is painted in pieces is not taken for a new one.
pub(crate) async fn is_back(alice: &User, (rows, columns): (u16, u16)) -> Terminal {
    eventually("a shell that was left", async || {
        alice.ssh("shells").run().await.text().contains("Detached").then_some(())
    })
    .await;
    alice.shell().terminal(rows, columns)
}

/// A new shell at this login's other end, that can be told from others.
async fn in_a_new_shell(login: Ssh) -> Terminal {
    let mut terminal = login.terminal(24, 100);
    terminal.types("answer=$((40+2)); seq 100; echo said:$answer\r").await;
    terminal.shows_row("said:42").await;
    terminal
}

/// Leaves a shell at this login's other end.
pub(crate) async fn leaves_a_shell(login: Ssh) {
    in_a_new_shell(login).await.kill().await;
}

/// Whether a terminal of 30 rows and 120 columns is in the shell that was left; ends it.
pub(crate) async fn is_the_one_that_was_left(mut terminal: Terminal) {
    terminal.shows_row("said:42").await;
    terminal.types("echo again:$answer; stty size\r").await;
    terminal.shows_row("again:42").await;
    terminal.shows_row("30 120").await;
    terminal.types("exit 7\r").await;
    terminal.exits(7).await;
}

#[tokio::test]
async fn the_next_login_is_back_in_the_shell_that_was_left() {
    let Some((product, [alice])) = with_agents(["alice"]).await else { return };
    leaves_a_shell(alice.shell()).await;
    is_the_one_that_was_left(comes_back(&alice, product.front(), (30, 120), "the shell you left").await).await;

    let mut third = alice.shell().terminal(24, 100);
    third.types("echo new:$answer.\r").await;
    third.shows_row("new:.").await;
    third.types("exit\r").await;
    third.exits(0).await;
}

/// OpenSSH ends the connection in good order, or only the session's channel where others share the connection.
#[tokio::test]
async fn a_shell_that_is_left_by_will_waits_as_well() {
    let Some((_, [alice])) = with_agents(["alice"]).await else { return };
    let mut escaped = in_a_new_shell(alice.shell()).await;
    escaped.types("\r~.").await;
    escaped.ends().await;
    is_the_one_that_was_left(is_back(&alice, (30, 120)).await).await;

    let master = Master::start(alice.shell()).await;
    in_a_new_shell(master.shell()).await.closes_window().await;
    is_the_one_that_was_left(is_back(&alice, (30, 120)).await).await;
    master.ssh("echo on").run().await.exits(0).prints("on\n");
}

#[tokio::test]
async fn a_server_that_dies_does_not_take_shells_with_it() {
    let Some((product, [alice])) = with_agents(["alice"]).await else { return };
    let mut replica = product.serve(&[]).await;
    alice.is_known_at(&replica).await;
    let mut first = alice.shell_at(&replica).terminal(24, 100);
    first.types("answer=$((40+2)); echo said:$answer\r").await;
    first.shows_row("said:42").await;
    replica.server().signal(Signal::KILL);
    let mut second = comes_back(&alice, product.front(), (24, 100), "the shell you left").await;
    second.types("echo again:$answer\r").await;
    second.shows_row("again:42").await;
    second.types("exit\r").await;
    second.exits(0).await;
}

/// Regression: such a shell counted as looked at for ever, and whoever tried to look at it hung.
#[tokio::test]
async fn a_shell_whose_program_let_go_of_the_terminal_is_left_and_ends() {
    let Some((product, [alice])) = with_agents(["alice"]).await else { return };
    let replica = product.serve(&["ssh.detached_shell_timeout=2s"]).await;
    alice.is_known_at(&replica).await;
    let seconds = "98440.4";
    let mut terminal = alice.shell_at(&replica).terminal(24, 80);
    terminal.types(&format!("exec sleep {seconds} </dev/null >/dev/null 2>&1\r")).await;
    eventually("its process", async || (alice.counts_processes(seconds).await == 1).then_some(())).await;
    terminal.kill().await;
    eventually("no process left", async || (alice.counts_processes(seconds).await == 0).then_some(())).await;
}

#[tokio::test]
async fn nobody_is_led_back_to_a_shell_whose_program_let_go_of_the_terminal() {
    let Some((_, [alice])) = with_agents(["alice"]).await else { return };
    let seconds = "98440.5";
    let mut terminal = alice.shell().terminal(24, 80);
    terminal.types(&format!("exec sleep {seconds} </dev/null >/dev/null 2>&1\r")).await;
    alice.has_processes(seconds, 1).await;
    terminal.kill().await;
    let is_left = async || alice.ssh("shells").run().await.text().contains("Detached").then_some(());
    eventually("it is left", is_left).await;
    let mut next = alice.shell().terminal(24, 80);
    next.types("echo new$((1))\r").await;
    next.shows_row("new1").await;
    next.types(&format!("pkill -f 'sleep {seconds}'; exit\r")).await;
    next.ends().await;
    alice.has_processes(seconds, 0).await;
}

#[tokio::test]
async fn a_shell_that_nobody_comes_back_to_ends() {
    let Some((product, [alice])) = with_agents(["alice"]).await else { return };
    let replica = product.serve(&["ssh.detached_shell_timeout=2s"]).await;
    alice.is_known_at(&replica).await;
    let seconds = "98440.3";
    let mut terminal = alice.shell_at(&replica).terminal(24, 80);
    terminal.types(&format!("sleep {seconds}\r")).await;
    alice.has_processes(seconds, 1).await;
    let listed = alice.ssh("shells").run().await;
    assert!(listed.exits(0).text().contains("Attached"), "it lasts while somebody is in it");
    terminal.kill().await;
    alice.has_processes(seconds, 0).await;
    eventually("no shell left", async || (alice.ssh("shells").run().await.text() == "No shells.\n").then_some(()))
        .await;
}

#[tokio::test]
async fn a_full_screen_program_goes_on_and_is_shown_again() {
    let Some((_, [alice])) = with_agents(["alice"]).await else { return };
    let mut first = alice.shell().terminal(24, 80);
    first.types("seq 500 | less\r").await;
    first.shows_row(":").await;
    first.types("G").await;
    first.shows("(END)").await;
    first.kill().await;
    let mut second = is_back(&alice, (24, 80)).await;
    second.shows("(END)").await;
    second.shows_row("500").await;
    assert!(second.is_full_screen());
    // That it is the old shell is said over the program's screen, until somebody has read it and types.
    second.shows("bastion: the shell you left").await;
    second.types("=").await;
    let clean = |rows: &[String]| !rows.iter().any(|row| row.contains("bastion: "));
    second.shows_rows("a clean screen", clean).await;
    assert!(second.is_full_screen());
    second.types("q").await;
    second.types("exit\r").await;
    second.exits(0).await;
}

#[tokio::test]
async fn a_shell_finds_the_agent_of_whoever_is_back_in_it() {
    let Some((product, [alice])) = with_agents(["alice"]).await else { return };
    let agent = Agent::start().await;
    agent.add(alice.key());
    let log_in = || Ssh::new(product.front(), alice.name()).agent(agent.socket()).argument("-A").terminal(24, 100);
    let mut first = log_in();
    first.types("test -S $SSH_AUTH_SOCK && echo there:$((40+2))\r").await;
    first.shows_row("there:42").await;
    first.kill().await;
    let look = "test -S $SSH_AUTH_SOCK || echo gone:$((40+2))\r";
    let mut plain = comes_back(&alice, product.front(), (24, 100), "the shell you left").await;
    plain.types(look).await;
    plain.shows_row("gone:42").await;
    plain.kill().await;
    let mut second = eventually("the shell with the agent", async || {
        let mut second = log_in();
        second.types("test -S $SSH_AUTH_SOCK && echo back:$((40+2))\r").await;
        second.shows_row("back:42").await;
        let back = second.rows().join("\n").contains("gone:42");
        if !back {
            second.types("exit\r").await;
            second.ends().await;
        }
        back.then_some(second)
    })
    .await;
    second.types("exit\r").await;
    second.exits(0).await;
}

/// The job goes on writing to the terminal: neither the session nor the shell ever ended.
#[tokio::test]
async fn a_job_that_writes_on_and_on_does_not_keep_its_shell() {
    let Some((_, [alice])) = with_agents(["alice"]).await else { return };
    let mut terminal = alice.shell().terminal(24, 80);
    terminal.types("(while echo on-and-on; do sleep 0.01; done) &\r").await;
    terminal.shows_row("on-and-on").await;
    terminal.types("exit\r").await;
    terminal.ends().await;
}

#[tokio::test]
async fn whoever_wants_none_that_lasts_has_none() {
    let Some((_, [alice])) = with_agents(["alice"]).await else { return };
    let seconds = "98440.1";
    let mut terminal = alice.shell().option("SetEnv=BASTION_PERSIST=0").terminal(24, 80);
    terminal.types(&format!("sleep {seconds}\r")).await;
    alice.has_processes(seconds, 1).await;
    terminal.kill().await;
    alice.has_processes(seconds, 0).await;
}

#[tokio::test]
async fn shells_are_listed_shared_looked_at_and_taken_over() {
    let Some((_, [alice])) = with_agents(["alice"]).await else { return };
    alice.ssh("shells").run().await.exits(0).prints("No shells.\n");
    let mut first = alice.shell().terminal(24, 100);
    first.types("answer=$((40+2)); echo said:$answer\r").await;
    first.shows_row("said:42").await;
    let list: serde_json::Value =
        serde_json::from_str(&alice.ssh("shells -o json").run().await.exits(0).text()).expect("it is JSON");
    assert_eq!((&list[0]["number"], &list[0]["viewers"], &list[0]["columns"]), (&1.into(), &1.into(), &100.into()));

    let mut second = alice.ssh("shells 1").terminal(20, 120);
    second.shows_row("said:42").await;
    second.types("echo both:$answer; stty size\r").await;
    first.shows_row("both:42").await;
    first.shows_row("20 100").await;
    second.kill().await;
    // The size is the first one's again.
    eventually("the second one's leaving", async || {
        let list = alice.ssh("shells").run().await;
        list.text().contains("100x24").then_some(())
    })
    .await;

    let mut onlooker = alice.ssh("shells 1 --read-only").terminal(24, 100);
    onlooker.shows("to look at only").await;
    onlooker.types(": >typed\r").await;
    first.types("echo seen:$answer\r").await;
    onlooker.shows_row("seen:42").await;

    let mut third = alice.ssh("shells --take-over 1").terminal(24, 100);
    first.shows("another session has taken this shell over").await;
    first.exits(0).await;
    onlooker.exits(0).await;
    // Whatever the onlooker typed would have come before this, for its session is over.
    third.types("test -e typed || echo none:$answer\r").await;
    third.shows_row("none:42").await;
    third.types("exit 5\r").await;
    third.exits(5).await;
}

#[tokio::test]
async fn a_terminal_is_asked_which_shell_it_wants() {
    let Some((_, [alice])) = with_agents(["alice"]).await else { return };
    leaves_a_shell(alice.shell()).await;
    eventually("a shell that was left", async || {
        alice.ssh("shells").run().await.text().contains("Detached").then_some(())
    })
    .await;
    let mut none = alice.ssh("shells").terminal(24, 100);
    none.shows("Number of the one").await;
    none.types("\r").await;
    none.exits(0).await;
    let mut chosen = alice.ssh("shells").terminal(24, 100);
    chosen.shows("Number of the one").await;
    chosen.types("71\x7f\x7f1\r").await;
    chosen.shows_row("said:42").await;
    chosen.types("exit\r").await;
    chosen.exits(0).await;
}

#[tokio::test]
async fn a_mistake_about_shells_is_explained() {
    let Some((_, [alice])) = with_agents(["alice"]).await else { return };
    alice.ssh("shells --help").run().await.exits(0);
    alice.ssh("shells --sideways").run().await.exits(2).prints("").says("unexpected argument");
    alice.ssh("shells 1").run().await.exits(1).prints("").says("ssh -t USER@BASTION shells NUMBER");
    let mut missing = alice.ssh("shells 77").terminal(24, 100);
    missing.shows("there is no shell 77").await;
    missing.exits(1).await;
}

/// Programs that drive a shell, such as Emacs, say that their terminal is dumb.
#[tokio::test]
async fn a_shell_on_a_dumb_terminal_ends_with_its_connection() {
    let Some((_, [alice])) = with_agents(["alice"]).await else { return };
    let seconds = "98440.2";
    let mut terminal = alice.shell().environment("TERM", "dumb").terminal(24, 80);
    terminal.types(&format!("sleep {seconds}\r")).await;
    alice.has_processes(seconds, 1).await;
    terminal.kill().await;
    alice.has_processes(seconds, 0).await;
}
