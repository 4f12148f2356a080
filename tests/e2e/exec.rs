//! `ssh alice@bastion 'command'`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use serde_json::json;

use crate::harness::{Flood, Input, Product, has_agents, is_real, processes_with_argument, skip_unless, with_agents};

#[tokio::test]
async fn stdout_and_stderr_stay_apart() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice.is_running().await;
    alice.ssh("echo out; echo err >&2; echo more").run().await.exits(0).prints("out\nmore\n").says_exactly("err\n");
}

#[tokio::test]
async fn exit_status_is_the_programs() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    for code in [0, 1, 7, 254, 255] {
        alice.ssh(&format!("exit {code}")).run().await.exits(code).prints("");
    }
    alice.ssh("no-such-program").run().await.exits(127).says("no-such-program");
}

#[tokio::test]
async fn a_program_that_a_signal_ends_is_told_apart() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    // As with sshd, ssh reports 255 for a signal; a plain exec tells it as shells do.
    let code = |signal| if has_agents() { 255 } else { 128 + signal };
    alice.ssh("exec sh -c 'kill -TERM $$'").run().await.exits(code(15));
    alice.ssh("kill -KILL $$").run().await.exits(code(9));
}

#[tokio::test]
async fn every_byte_comes_back_as_it_went() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let all: Vec<u8> = (0..=255).collect();
    alice.ssh("cat").input(Input::Bytes(all.clone())).run().await.exits(0).prints_bytes(&all);
    let flood = Flood::bytes(1, 5_000_000);
    alice.ssh("cat").input(Input::Flood(flood.clone())).hashed().run().await.exits(0).prints_flood(&flood);
}

#[tokio::test]
async fn the_end_of_stdin_reaches_the_program_and_nothing_else_ends() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let lines = || Input::Bytes(b"pear\napple\nquince\n".to_vec());
    alice.ssh("sort").input(lines()).run().await.exits(0).prints("apple\npear\nquince\n");
    alice.ssh("cat >/dev/null; sleep 1; echo after").input(lines()).run().await.exits(0).prints("after\n");
    let count = alice.ssh("wc -c").input(Input::Flood(Flood::lines(3_000_000))).run().await;
    assert_eq!(count.exits(0).text().trim(), "3000000");
    alice.ssh("cat").run().await.exits(0).prints("");
}

#[tokio::test]
async fn a_program_hears_its_input_while_it_runs() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let mut echo = alice.ssh("while read line; do echo \"heard $line\"; done; echo end").input(Input::Held).start();
    echo.types("one\n").await;
    echo.prints("heard one\n").await;
    echo.types("two\n").await;
    echo.prints("heard two\n").await;
    echo.closes_stdin();
    echo.finish().await.exits(0).prints("heard one\nheard two\nend\n");
}

#[tokio::test]
async fn a_command_of_100_kib_works() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let long = "x".repeat(100 * 1024);
    alice.ssh(&format!("printf %s {long} | wc -c | tr -d ' '")).run().await.exits(0).prints("102400\n");
}

/// On its way to the agent it was longer than the agent takes: every login after it waited in vain.
#[tokio::test]
async fn a_command_too_long_for_the_agent_is_refused_and_harms_no_other() {
    let Some((_, [alice])) = with_agents(["alice"]).await else { return };
    let long = "\u{1}".repeat(60 * 1024);
    alice.ssh(&format!(": '{long}'")).run().await.says("the command is too long");
    alice.ssh("echo on").run().await.exits(0).prints("on\n");
}

#[tokio::test]
async fn the_shell_gets_the_command_as_it_was_typed() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice
        .ssh("printf '%s|' \"two  spaces\" 'a\"b' $((6*7)) '$HOME' \\\\ 'ü'\necho 'second line'; # comment")
        .run()
        .await
        .exits(0)
        .prints("two  spaces|a\"b|42|$HOME|\\|ü|second line\n");
    alice.ssh("echo first &&\necho second").run().await.exits(0).prints("first\nsecond\n");
}

/// The name of a file may be in Latin-1; it came as U+FFFD.
#[tokio::test]
async fn a_command_need_not_be_utf_8() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let latin_1 = OsString::from_vec(b"printf '%s' caf\xe9".to_vec());
    alice.shell().command(latin_1).run().await.exits(0).prints_bytes(b"caf\xe9");
}

#[tokio::test]
async fn commands_start_in_the_home() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice.ssh("test \"$PWD\" = \"$HOME\" && test -w . && echo home").run().await.exits(0).prints("home\n");
}

#[tokio::test]
async fn only_locale_variables_of_the_client_are_taken() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice
        .ssh("echo \"$LANG|$LC_TIME|$LD_PRELOAD|$BASH_ENV\"")
        .option("SetEnv=LANG=de_DE.UTF-8 LC_TIME=C LD_PRELOAD=/nonexistent BASH_ENV=/nonexistent")
        .run()
        .await
        .exits(0)
        .prints("de_DE.UTF-8|C||\n");
}

/// Over 300 MB of input wait when the program ends; the API server's exec would wait for them for ever.
#[tokio::test]
async fn a_program_that_leaves_its_input_unread_ends_at_once() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice.is_running().await;
    let flood = Flood::lines(300_000_000);
    let head = alice.ssh("head -c 9").input(Input::Flood(flood)).run().await;
    head.exits(0).prints("000000000").took_less_than(Duration::from_secs(60));
}

#[tokio::test]
async fn a_background_process_outlives_the_session_that_let_go_of_it() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let seconds = "98110.7";
    let started = alice.ssh(&format!("setsid sleep {seconds} >/dev/null 2>&1 </dev/null & echo started")).run().await;
    started.exits(0).prints("started\n").took_less_than(Duration::from_secs(60));
    assert_eq!(alice.counts_processes(seconds).await, 1);
    if !is_real() {
        let pids = processes_with_argument(seconds);
        alice.ssh(&format!("kill {}", pids[0])).run().await.exits(0);
    }
}

/// Its pod can run a program of its own; a command of the client's needs a shell.
#[tokio::test]
async fn an_image_without_a_shell_says_so() {
    skip_unless!(is_real(), "on the embedded cluster every image is this machine's programs");
    let product = Product::shared().await;
    let user = product.user_with_image("distroless", "localhost/distroless:1").await;
    user.ssh("echo hi").run().await.fails().prints("").says(if has_agents() {
        "has no shell"
    } else {
        "has no program sh"
    });

    let program = json!({"image": "localhost/distroless:1", "command": ["/sleep", "2147483647"]});
    user.add_devserver_with("bare", program).await;
    let login = format!("{}+bare", user.name());
    let refused = user.shell().login(&login).command("echo hi").run().await;
    refused.fails().prints("").says("shell");
}

#[tokio::test]
async fn a_killed_client_leaves_no_process_behind() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let seconds = "98110.1";
    let held = alice.ssh(&format!("echo up; sleep {seconds}; echo over")).input(Input::Held).start();
    held.prints("up\n").await;
    assert_eq!(alice.counts_processes(seconds).await, 1);
    held.kill().await;
    alice.has_processes(seconds, 0).await;

    let seconds = "98110.2";
    let mut terminal = alice.shell().option("SetEnv=BASTION_PERSIST=0").terminal(24, 80);
    terminal.types(&format!("echo $((40+2)); sh -c 'trap \"\" HUP; sleep {seconds}'\r")).await;
    terminal.shows_row("42").await;
    alice.has_processes(seconds, 1).await;
    terminal.kill().await;
    alice.has_processes(seconds, 0).await;
}

/// Whoever read its output waited for the end of all that it did after.
#[tokio::test]
async fn a_program_may_end_its_output_long_before_itself() {
    skip_unless!(has_agents(), "a plain exec cannot tell");
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice.ssh("true").run().await.exits(0); // Else a start that takes long is told of on stderr.
    let command = "echo all; echo said >&2; exec >&- 2>&-; read line; exit 3";
    let mut held = alice.ssh(command).input(Input::Held).start();
    held.ends_stdout().await;
    assert!(held.is_running());
    held.types("\n").await;
    held.finish().await.exits(3).prints("all\n").says_exactly("said\n");
}

#[tokio::test]
async fn a_session_knows_where_it_comes_from() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let told = alice.ssh("echo $SSH_CONNECTION; echo $SSH_CLIENT; echo [$SSH_TTY]").run().await.exits(0).text();
    let lines: Vec<Vec<&str>> = told.lines().map(|line| line.split(' ').collect()).collect();
    let [connection, client, tty] = &lines[..] else { panic!("{told}") };
    let [from, port, to, own] = connection[..] else { panic!("{told}") };
    let listens = product.front().port().to_string();
    assert_eq!([from, to, own], ["127.0.0.1", "127.0.0.1", listens.as_str()]);
    assert!(port.parse::<u16>().is_ok_and(|port| port > 0), "{told}");
    assert_eq!(client, &[from, port, own]);
    assert_eq!(tty, &["[]"]);
    skip_unless!(has_agents(), "a plain exec does not tell its terminal");
    let mut terminal = alice.ssh("test $(tty) = $SSH_TTY && echo same; echo $SSH_CLIENT").terminal(24, 80);
    terminal.shows("same").await;
    terminal.exits(0).await;
}
