//! Completion, asked by the shells themselves.

use std::time::Duration;

use bastion::api::DevServer;
use serde_json::json;

use super::{DEVCTL, Desk};
use crate::devctl::Administrator;
use crate::harness::{FLAVOR, Product, Terminal, eventually, has_agents, is_installed, skip_unless, user};

#[tokio::test]
async fn shells_complete_names() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice.add_devserver("second").await;
    let desk = Desk::new(&alice, product.front());
    let folder = std::path::Path::new(DEVCTL).parent().expect("it is in a folder").display();
    let script = |words: &str, at: usize| {
        format!(
            "PATH={folder}:$PATH; eval \"$(devctl completion bash)\"; COMP_WORDS=({words}); COMP_CWORD={at}; COMP_TYPE=9; \
             _clap_complete_devctl devctl \"${{COMP_WORDS[{at}]}}\" ''; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        )
    };
    let complete = async |words: &str, at: usize| desk.laptop.run("bash", &["-c", &script(words, at)]).await;
    // Whoever is not logged in gets no names, and no complaints in her line.
    complete("devctl suspend se", 2).await.prints("\n").says_exactly("");
    desk.logs_in().await;
    // An answer that comes too late for a finger on the key is not shown.
    for words in ["devctl suspend se", "devctl ssh s"] {
        let completed = eventually("names", async || {
            let completed = complete(words, 2).await;
            (completed.text() != "\n").then_some(completed)
        })
        .await;
        completed.prints("second\n").says_exactly("");
    }
    let verbs = complete("devctl l", 1).await.text();
    assert!(verbs.contains("login") && verbs.contains("list"), "{verbs}");
}

impl Desk {
    /// A shell at whose prompt there is completion.
    async fn shell(&self, words: &[&str], setup: &str) -> Terminal {
        let folder = std::path::Path::new(DEVCTL).parent().expect("it is in a folder").display();
        let path = format!("PATH={folder}:{}", std::env::var("PATH").expect("there is one"));
        let mut terminal = self.runs_at_a_terminal("env", &[&[path.as_str()], words].concat());
        terminal.types(&format!("{setup}\recho re''ady\r")).await;
        terminal.shows_row("ready").await;
        terminal
    }
}

/// Waits until the line is `completed` when `typed`, whose answer may come too late at the first times.
async fn completes(shell: &mut Terminal, typed: &str, completed: &str) {
    let what = format!("{typed:?} becomes {completed:?}");
    eventually(&what, async || {
        shell.types(typed).await;
        let is_completed = |rows: &[String]| rows.iter().any(|row| row.trim_end().ends_with(completed));
        let seen = shell.comes_to_show(Duration::from_secs(10), is_completed).await;
        let rows = shell.rows();
        clear(shell).await;
        if !seen {
            eprintln!("not completed: {}", rows.join("\n").trim_end());
        }
        seen.then_some(())
    })
    .await;
}

/// Away with what is typed, and with what is shown.
async fn clear(shell: &mut Terminal) {
    shell.types("\x15clear\r").await;
    shell.shows_rows("a clear screen", |rows| rows.iter().all(|row| !row.contains("devctl"))).await;
}

/// Presses Tab at a prompt of each shell that there is.
#[tokio::test]
async fn tab_completes_what_a_word_stands_for() {
    skip_unless!(has_agents(), "pods without the agent have no sftp");
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice.is_running().await;
    alice.add_devserver("second").await;
    // Nobody else is called so.
    let tabitha = product.user("tabitha").await;
    let _administrator = Administrator::make(&product, &alice).await;
    alice.ssh("mkdir -p data/deeper; touch 'data/two words' data/other").run().await.exits(0);
    let desk = Desk::of(&alice).await;
    desk.laptop.write("local-file", "");
    let fish =
        "set -g fish_autosuggestion_enabled 0; function fish_prompt; echo '$ '; end; devctl completion fish | source";
    let shells: [(&[&str], &str); 3] = [
        (&["bash", "--norc", "--noprofile", "-i"], "PS1='$ '; eval \"$(devctl completion bash)\""),
        (&["zsh", "-f", "-i"], "PS1='$ '; autoload -Uz compinit; compinit -u; eval \"$(devctl completion zsh)\""),
        (&["fish", "--no-config", "--private", "-i"], fish),
    ];
    for (words, setup) in shells {
        if !is_installed(words[0]) {
            eprintln!("skipped: {} is not installed", words[0]);
            continue;
        }
        let mut shell = desk.shell(words, setup).await;
        for (typed, completed) in [
            ("devctl susp\tse\t", "devctl suspend second"),
            ("devctl cp dev:da\t", "devctl cp dev:data/"),
            ("devctl cp dev:data/tw\t", "devctl cp dev:data/two\\ words"),
            ("devctl cp dev:data/de\t", "devctl cp dev:data/deeper/"),
            ("devctl cp loc\t", "devctl cp local-file"),
            ("devctl cp local-file secon\t", "devctl cp local-file second:"),
            ("devctl create x --flavor e2\t", &format!("devctl create x --flavor {FLAVOR}")),
            ("devctl users keys tabi\t", &format!("devctl users keys {}", tabitha.name())),
            ("devctl share second tabi\t", &format!("devctl share second {}", tabitha.name())),
        ] {
            completes(&mut shell, typed, completed).await;
        }
        shell.kill().await;
    }
}

/// Whoever may write in a DevServer may call a file there whatever she likes.
#[tokio::test]
async fn no_name_of_a_file_is_run_on_the_laptop() {
    skip_unless!(has_agents(), "pods without the agent have no sftp");
    skip_unless!(is_installed("bash"), "there is no bash");
    let alice = user("alice").await;
    let names =
        "mkdir evil; touch 'evil/one$(touch pwned)' \"evil/two'\\$(touch pwned)'x\"; mkdir kind; touch 'kind/a*b'";
    alice.ssh(names).run().await.exits(0);
    let desk = Desk::of(&alice).await;
    desk.laptop.write("ab", "");
    let setup = "PS1='$ '; eval \"$(devctl completion bash)\"";
    let mut shell = desk.shell(&["bash", "--norc", "--noprofile", "-i"], setup).await;
    for quote in ["\"", "'"] {
        for name in ["one", "two"] {
            shell.types(&format!("devctl version {quote}dev:evil/{name}\t{quote}; echo r''an\r")).await;
            shell.shows_rows("it ran", |rows| rows.iter().any(|row| row.trim_end() == "ran")).await;
            clear(&mut shell).await;
        }
    }
    completes(&mut shell, "devctl cp dev:kind/\t", "dev:kind/a\\*b").await;
    assert!(!desk.laptop.path("pwned").exists());
    shell.kill().await;
}

/// Whoever only wants to see what there is wakes nothing, and sees no complaints.
#[tokio::test]
async fn nothing_is_woken_for_a_completion() {
    skip_unless!(has_agents(), "pods without the agent have no sftp");
    skip_unless!(is_installed("bash"), "there is no bash");
    let alice = user("alice").await;
    alice.is_running().await;
    let desk = Desk::of(&alice).await;
    alice.ssh("touch here").run().await.exits(0);
    let completed = eventually("a path", async || {
        let completed = desk.completes(":he").await;
        (!completed.exits(0).text().is_empty()).then_some(completed)
    })
    .await;
    completed.prints(":here").says_exactly("");
    alice.ssh("devctl suspend dev").run().await.exits(0);
    eventually("it sleeps", async || {
        alice.ssh("devctl why dev").run().await.text().contains("is suspended").then_some(())
    })
    .await;
    for word in ["dev:he", "nope:he", "dev.nobody:he", "a b:he", ":he"] {
        desk.completes(word).await.exits(0).prints("").says_exactly("");
    }
    alice.ssh("devctl why dev").run().await.prints_line("`dev` is suspended");
    desk.laptop.write(".config/devctl/config.toml", "host = 'nowhere.invalid'\nuser = 'x'\n");
    desk.completes("dev:he").await.exits(0).prints("").says_exactly("");
}

/// Regression: a completion took what the next command should have said.
#[tokio::test]
async fn a_completion_takes_no_news_away() {
    skip_unless!(has_agents(), "pods without the agent have no sftp");
    let alice = user("alice").await;
    alice.is_running().await;
    alice.add_devserver_with("train", json!({"startupScript": "#!/bin/sh\ntouch here\nexit 3\n"})).await;
    let desk = Desk::of(&alice).await;
    eventually("its script failed", async || {
        let status = alice.has::<DevServer>("train").await.status?;
        status.conditions.iter().any(|one| one.type_ == "StartupScript" && one.status == "False").then_some(())
    })
    .await;
    let completed = eventually("a path", async || {
        let completed = desk.completes("train:he").await;
        (!completed.exits(0).text().is_empty()).then_some(completed)
    })
    .await;
    completed.prints("train:here").says_exactly("");
    eventually("the news", async || {
        let next = alice.shell_in("train").command("true").run().await;
        next.exits(0).stderr().contains("the startup script failed (exit code 3)").then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_others_share_is_completed() {
    let product = Product::shared().await;
    skip_unless!(has_agents(), "pods without the agent have no sftp");
    let (alice, bob) = (product.user("alice").await, product.user("bob").await);
    alice.ssh("mkdir data; touch data/here data/.hidden").run().await.exits(0);
    alice.add_devserver("seen").await;
    alice.add_devserver("own").await;
    alice.ssh(&format!("devctl share dev {}", bob.name())).run().await.exits(0);
    alice.ssh(&format!("devctl share seen {} --read-only", bob.name())).run().await.exits(0);
    // Whoever is no administrator knows of those whom she shares something with.
    for (one, other) in [(&alice, &bob), (&bob, &alice)] {
        one.ssh("devctl complete people").run().await.exits(0).prints(&format!("{}\n", other.name()));
    }
    let desk = Desk::of(&bob).await;
    let owner = alice.name();
    for (typed, completed) in [
        (format!("dev.{owner}:da"), format!("dev.{owner}:data/")),
        (format!("dev.{owner}:data/"), format!("dev.{owner}:data/here")),
        (format!("dev.{}", &owner[..2]), format!("dev.{owner}:")),
    ] {
        let told = eventually("a completion", async || {
            let told = desk.completes(&typed).await;
            (!told.exits(0).text().is_empty()).then_some(told)
        })
        .await;
        told.prints(&completed).says_exactly("");
    }
    for typed in [format!("seen.{owner}"), format!("own.{owner}"), format!("seen.{owner}:"), format!("own.{owner}:")] {
        desk.completes(&typed).await.exits(0).prints("");
    }
}
