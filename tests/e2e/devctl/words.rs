//! What is said rather than done: help, mistakes, and what belongs elsewhere.

use super::devctl;
use crate::harness::{FLAVOR, user};

#[tokio::test]
async fn help_tells_what_there_is_and_mistakes_are_explained() {
    let alice = user("alice").await;
    let help = alice.ssh("help").run().await.exits(0).text();
    for text in ["create", "suspend", "users", "Exit status", "3 not found"] {
        assert!(help.contains(text), "{text}: {help}");
    }
    devctl(&alice, "help create").run().await.exits(0).says_exactly("");
    devctl(&alice, "lisst").run().await.exits(2).prints("").says("list");
    devctl(&alice, "list 'open").run().await.exits(2).prints("").says("not closed");
    devctl(&alice, "list | cat").run().await.exits(2).prints("").says("unexpected argument");
    devctl(&alice, "doctor").run().await.exits(2).prints("").says("is for your laptop");
    let who = devctl(&alice, "whoami").run().await.exits(0).text();
    assert!(
        who.contains(alice.name()) && who.lines().any(|line| line.split_whitespace().eq(["DevServer:", "dev"])),
        "{who}"
    );
    devctl(&alice, "whoami -o name").run().await.exits(0).prints(&format!("{}\n", alice.name()));
    let version = devctl(&alice, "version").run().await.exits(0).text();
    assert!(version.starts_with("devctl "), "{version}");

    // In a terminal each line begins at its left edge, and is no wider than it.
    let mut terminal = alice.ssh("help").terminal(100, 60);
    terminal
        .shows_rows("the help, in place", |rows| {
            rows.iter().any(|row| row.starts_with("Exit status:"))
                && rows.iter().any(|row| row.starts_with("Commands:"))
        })
        .await;
    terminal.exits(0).await;
}

#[tokio::test]
async fn a_devservers_own_program_of_that_name_is_run_by_its_path() {
    let alice = user("alice").await;
    alice.is_running().await;
    let own = "printf '#!/bin/sh\\necho own\\n' >devctl && chmod +x devctl && ./devctl";
    alice.ssh(own).run().await.exits(0).prints("own\n");
}

#[tokio::test]
async fn flavors_and_the_quota_are_told() {
    let alice = user("alice").await;
    alice.is_running().await;
    let flavors = devctl(&alice, "flavors").run().await.exits(0).text();
    assert!(flavors.contains("FREE"), "{flavors}");
    assert!(flavors.lines().any(|line| line.starts_with(FLAVOR) && line.contains("1Gi")), "{flavors}");
    let watch = devctl(&alice, "flavors --watch").start();
    watch.prints(FLAVOR).await;
    watch.kill().await;
    assert!(devctl(&alice, "complete flavors").run().await.exits(0).text().contains(FLAVOR));
    let top = devctl(&alice, "top").run().await.exits(0).text();
    assert!(top.contains("dev ") && top.contains("requests.nvidia.com/gpu"), "{top}");
    let top: serde_json::Value =
        serde_json::from_str(&devctl(&alice, "top -o json").run().await.exits(0).text()).expect("it is JSON");
    assert_eq!((&top["devServers"][0]["name"], &top["devServers"][0]["phase"]), (&"dev".into(), &"Running".into()));
    assert!(top["quota"].as_array().is_some_and(|quota| !quota.is_empty()), "{top}");
    let idle = devctl(&alice, "idle").run().await.exits(0).text();
    assert!(idle.contains("suspended when unused for 1h"), "{idle}");
}
