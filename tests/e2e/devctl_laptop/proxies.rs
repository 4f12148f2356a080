//! A bastion that is reached through other hosts: `ProxyCommand` and `ProxyJump` of `~/.ssh/config`.

use super::Desk;
use crate::harness::{Product, has_agents, is_real, skip_unless};

#[tokio::test]
async fn a_program_carries_the_connection() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let desk = Desk::new(&alice, product.front());
    let port = product.front().port();
    // The name leads nowhere: nothing but the program gets there.
    let relay = format!(
        "trap 'kill $!' HUP; echo %h %p %r >used; exec 3<>/dev/tcp/127.0.0.1/{port}; cat <&3 & cat >&3; kill $!"
    );
    desk.laptop.write("relay", format!("#!/bin/bash\n{}", relay.replace("%h %p %r", "\"$@\"")));
    let config = "Host front\n  HostName front.invalid\n  Port 7\n  ProxyCommand bash relay %h %p %r\n";
    desk.laptop.write(".ssh/config", config);
    let login = format!("{}@front", alice.name());
    desk.devctl(&["login", "--accept-new", &login]).await.exits(0);
    assert_eq!(desk.read("used"), format!("front.invalid 7 {}\n", alice.name()));
    desk.devctl(&["list"]).await.exits(0);
    let report = desk.devctl(&["doctor"]).await;
    assert!(report.exits(0).text().contains("through bash relay"), "{}", report.text());

    desk.laptop.write(".ssh/config", config.replace("bash relay", "/nonexistent/relay"));
    desk.devctl(&["list"]).await.exits(255).says("/nonexistent/relay").says("ProxyCommand");
}

#[tokio::test]
async fn another_host_is_jumped_over() {
    let product = Product::shared().await;
    skip_unless!(has_agents() && !is_real(), "the bastion is not to be reached from the pods");
    let (alice, bob) = (product.user("alice").await, product.user("bob").await);
    bob.is_running().await;
    let desk = Desk::of(&alice).await;
    let port = product.front().port();
    desk.laptop.write("bobs", std::fs::read_to_string(bob.key()).expect("it is there"));
    // From bob's pod the bastion is near.
    let config = format!(
        "Host hop\n  HostName 127.0.0.1\n  Port {port}\n  User {}\n  IdentityFile {}\n  IdentitiesOnly yes\n\
         Host front\n  HostName 127.0.0.1\n  Port {port}\n  ProxyJump hop\n{}",
        bob.name(),
        desk.laptop.path("bobs").display(),
        desk.openssh()
    );
    desk.laptop.write(".ssh/config", config);
    desk.devctl(&["login", &format!("{}@front", alice.name())]).await.exits(0);
    desk.devctl(&["list"]).await.exits(0);
    let mut alone = desk.command(&["list"]);
    alone.env("PATH", "/nonexistent");
    Desk::finish(alone).await.exits(255).says("failed to start the proxy").says("OpenSSH");
}
