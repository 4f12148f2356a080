//! Wrong words, other people's names, broken files, readers who leave, and a bastion that comes back.

use super::{DEVCTL, Desk};
use crate::harness::{Product, user};

#[tokio::test]
async fn what_is_wrong_is_said_with_the_next_command() {
    let product = Product::shared().await;
    let (alice, bob) = (product.user("alice").await, product.user("bob").await);
    bob.is_running().await;
    let desk = Desk::of(&alice).await;
    let others = format!("dev.{}", bob.name());
    for verb in ["describe", "update", "extend", "snooze", "suspend", "resume", "idle", "why", "logs", "delete"] {
        let options: &[&str] = if verb == "update" { &["--time", "1h"] } else { &[] };
        for name in ["nope", "../x", &others] {
            let said = desk.devctl(&[&[verb, name], options].concat()).await;
            said.exits(3).prints("").says("devctl");
        }
        desk.devctl(&[verb, "--nonsense"]).await.exits(2).prints("").says("--nonsense");
    }
    desk.devctl(&["create", "Not_A_Name"]).await.exits(2).says("lower-case");
    desk.devctl(&["cp", "x", "No:y"]).await.exits(255).says("devctl list");
    desk.devctl(&["forward", "nope", "0"]).await.exits(2).says("1 to 65535");
    desk.devctl(&["ssh", "a.b.c"]).await.exits(255).says("devctl list");

    desk.devctl(&["config", "ssh", "enable", "--yes"]).await.exits(0);
    desk.laptop.write(".config/devctl/config.toml", "host = 7");
    desk.devctl(&["list"]).await.exits(1).says("config.toml").says("devctl login");
    // A second login takes the first one's place.
    let second = Desk::new(&bob, product.front());
    desk.laptop.write(".ssh/second", second.read("key"));
    desk.devctl(&["login", "--identity", ".ssh/second", &second.bastion]).await.exits(0);
    desk.devctl(&["list", "-o", "name"]).await.exits(0).prints("dev\n");
    // So does `ssh NAME.dev`.
    let (config, known) = (desk.read(".config/devctl/ssh_config"), desk.read(".config/devctl/known_hosts"));
    assert!(config.contains(&format!("ProxyJump {}\n", second.bastion)), "{config}");
    assert!(!config.contains(alice.name()) && known.contains(&format!("*.{} ", bob.name())), "{config}{known}");
    desk.laptop.write(".config/devctl/ssh_config", config.replace(&second.bastion, &desk.bastion));
    let report = desk.devctl(&["doctor"]).await;
    let told = format!("it goes by {}", desk.bastion);
    assert!(report.exits(1).text().contains(&told), "{}", report.text());
}

#[tokio::test]
async fn whoever_has_read_enough_is_no_error() {
    let alice = user("alice").await;
    alice.is_running().await;
    let desk = Desk::of(&alice).await;
    for words in ["list", "list --watch", "help", "version", "completion bash", "doctor", "flavors -o json"] {
        let script = format!("{DEVCTL} {words} | head -0");
        desk.laptop.run("sh", &["-c", &script]).await.exits(0).says_exactly("");
    }
}

#[tokio::test]
async fn a_watch_tells_that_the_bastion_went_away() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice.is_running().await;
    let mut replica = product.serve(&[]).await;
    alice.is_known_at(&replica).await;
    let desk = Desk::new(&alice, &replica);
    desk.logs_in().await;
    let mut watch = desk.terminal(&["list", "--watch"]);
    watch.shows("dev ").await;
    replica.server().signal(rustix::process::Signal::KILL);
    watch.shows("devctl doctor").await;
    watch.exits(255).await;
}
