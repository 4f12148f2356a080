//! `devctl` on a laptop whose `~/.ssh/config` leads to the bastion by way of another host.

use crate::harness::{Laptop, Product, has_agents, is_real, skip_unless};

#[tokio::test]
async fn a_jump_host_and_a_proxy_are_gone_through() {
    skip_unless!(has_agents() && !is_real(), "a pod of another machine does not reach this one's ports");
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice.is_running().await;
    // One bastion is the jump host of the other, by a forward through her pod.
    let (front, host) = (product.front(), product.serve(&[]).await);
    alice.is_known_at(&host).await;
    let laptop = Laptop::new(&alice, &host);
    laptop.knows_the_bastion();
    let home = laptop.path("").display().to_string();
    let goes_by = |proxy: &str| {
        let (name, bastion, jump) = (alice.name(), front.port(), host.port());
        laptop.write(
            ".ssh/config",
            format!(
                "Host bastion\n HostName 127.0.0.1\n Port {bastion}\n {proxy}\n\
                 Host jump\n HostName 127.0.0.1\n Port {jump}\n User {name}\n\
                 Host *\n IdentityFile {home}/key\n IdentitiesOnly yes\n IdentityAgent none\n \
                 UserKnownHostsFile {home}/.ssh/known_hosts\n StrictHostKeyChecking yes\n BatchMode yes\n"
            ),
        );
    };
    let logins = || host.log().lines().filter(|line| line.contains("logged in")).count();

    goes_by("ProxyJump jump");
    let before = logins();
    laptop.run("devctl", &["login", "--accept-new", &format!("{}@bastion", alice.name())]).await.exits(0);
    laptop.run("devctl", &["list", "-o", "name"]).await.exits(0).prints("dev\n");
    assert_eq!(logins() - before, 2, "{}", host.log());

    goes_by(&format!("ProxyCommand sh -c 'echo %r at %h port %p >>{home}/proxied; exec ssh -W %h:%p jump'"));
    laptop.run("devctl", &["list", "-o", "name"]).await.exits(0).prints("dev\n");
    let proxied = format!("{} at 127.0.0.1 port {}\n", alice.name(), front.port());
    assert!(laptop.holds("proxied", proxied.as_bytes()));
    assert_eq!(logins() - before, 3, "{}", host.log());

    // A word that takes both back, and a proxy that leads nowhere.
    goes_by("ProxyCommand none");
    laptop.run("devctl", &["list", "-o", "name"]).await.exits(0).prints("dev\n");
    assert_eq!(logins() - before, 3, "{}", host.log());
    assert!(laptop.run("devctl", &["doctor"]).await.text().contains("127.0.0.1 is 127.0.0.1"), "no proxy knows names");
    goes_by("ProxyCommand false");
    laptop.run("devctl", &["list"]).await.fails();
    assert!(!laptop.run("devctl", &["doctor"]).await.text().contains("127.0.0.1 is"), "a proxy may know other names");
}
