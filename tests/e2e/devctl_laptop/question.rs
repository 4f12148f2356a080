//! `devctl config ssh enable` changes nothing unasked; once it may, whatever uses ssh finds DevServers by their names.

use tokio::io::AsyncWriteExt;

use super::Desk;
use crate::forwards::{exchange, shouts, socks};
use crate::harness::{Input, free_port, has_agents, is_installed, skip_unless, user};

#[tokio::test]
async fn nothing_is_written_before_she_says_yes() {
    let alice = user("alice").await;
    alice.is_running().await;
    let desk = Desk::of(&alice).await;
    let before = "# mine\nHost elsewhere\n  Port 7\n";
    desk.laptop.write(".ssh/config", before);
    let is_untouched = || {
        assert_eq!(desk.read(".ssh/config"), before);
        assert!(!desk.laptop.path(".config/devctl/ssh_config").exists());
        assert!(!desk.laptop.path(".config/devctl/known_hosts").exists());
    };
    let enable = ["config", "ssh", "enable"];
    desk.devctl(&enable).await.exits(1).prints("").says("there is no terminal to ask on").says("--yes");
    is_untouched();
    for answer in ["no\r", "\r", "yes please\r"] {
        let mut asked = desk.terminal(&enable);
        asked.shows("Go on? [yes/no]").await;
        is_untouched();
        asked.types(answer).await;
        asked.shows("nothing was changed").await;
        asked.exits(1).await;
        is_untouched();
    }
    let mut asked = desk.terminal(&enable);
    asked.shows("Go on? [yes/no]").await;
    asked.types("\x03").await;
    asked.ends().await;
    is_untouched();

    let mut asked = desk.terminal(&enable);
    asked.shows("takes all of it away again").await;
    asked.shows("Go on? [yes/no]").await;
    asked.types("yes\r").await;
    asked.shows("leads to your DevServer dev").await;
    asked.exits(0).await;
    let config = desk.read(".ssh/config");
    assert!(config.starts_with("Include \"") && config.ends_with(before), "{config}");
    // Asked once.
    let mut again = desk.terminal(&enable);
    again.exits(0).await;
    assert!(!again.rows().join("\n").contains("Go on?"));
}

#[tokio::test]
async fn rsync_and_editors_find_devservers_by_their_names() {
    let alice = user("alice").await;
    alice.is_running().await;
    let desk = Desk::of(&alice).await;
    desk.devctl(&["config", "ssh", "enable", "--yes"]).await.exits(0);
    desk.laptop.write(".ssh/config", format!("{}\n{}", desk.read(".ssh/config"), desk.openssh()));
    let has_rsync = is_installed("rsync") && alice.ssh("command -v rsync >/dev/null").run().await.succeeded();
    if has_rsync {
        desk.laptop.write("folder/one", "one");
        desk.laptop.write("folder/a name with spaces", "two");
        desk.laptop.run("rsync", &["-a", "--delete", "folder/", "dev.dev:there"]).await.exits(0);
        desk.laptop.run("rsync", &["-ai", "--delete", "folder/", "dev.dev:there"]).await.exits(0).prints("");
        alice.ssh("cat there/one 'there/a name with spaces'").run().await.exits(0).prints("onetwo");
    } else {
        eprintln!("skipped: rsync is not installed, here or there");
    }

    // As VS Code does: a shell that is told what to do on its stdin, with a SOCKS server beside it.
    skip_unless!(has_agents(), "the pods have no agent");
    let (here, there) = (free_port(), free_port());
    let _server = shouts(&alice, &there.to_string()).await;
    let mut editor = desk.laptop.command("ssh", &["-T", "-D", &here.to_string(), "dev.dev", "bash"]);
    let mut editor = editor.spawn().expect("OpenSSH is installed");
    let mut stdin = editor.stdin.take().expect("it is piped");
    stdin.write_all(b"echo by its name >sign\n").await.expect("ssh reads");
    let socket = socks(here, "localhost", there).await.expect("it is connected");
    assert_eq!(exchange(socket, b"by socks").await, b"BY SOCKS");
    drop(stdin);
    let ended = crate::harness::within(crate::harness::LIMIT, "the end of ssh", editor.wait()).await;
    assert!(ended.expect("it is our child").success());
    alice.ssh("cat sign").input(Input::Nothing).run().await.exits(0).prints("by its name\n");
}
