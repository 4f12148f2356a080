//! What the tests are written with: the product running somewhere, its users, and OpenSSH. Every wait has a deadline.

mod client;
mod cluster;
mod flood;
mod gateway;
mod keys;
mod load_balancer;
mod output;
mod product;
mod replica;
mod security_key;
mod server;
mod ssh;
mod terminal;
mod user;
mod wait;

pub(crate) use client::{Laptop, is_installed};
pub(crate) use cluster::{FLAVOR, free_port, has_agents, is_real, kubectl, open_client, pod_settings};
pub(crate) use flood::Flood;
pub(crate) use gateway::Gateway;
pub(crate) use keys::{Agent, certify, keygen, public, revoke};
pub(crate) use load_balancer::LoadBalancer;
pub(crate) use output::{Finished, Session};
pub(crate) use product::{Product, user};
pub(crate) use replica::Replica;
pub(crate) use security_key::{Presence, SecurityKey};
pub(crate) use server::{Server, processes_with_argument};
pub(crate) use ssh::{Input, Master, Ssh, until_refused};
pub(crate) use terminal::Terminal;
pub(crate) use user::User;
pub(crate) use wait::{LIMIT, eventually, eventually_within, heavy, within};

/// Ends the test with a printed reason where the cluster cannot show what it is about.
macro_rules! skip_unless {
    ($condition:expr, $reason:expr) => {
        if !$condition {
            eprintln!("skipped: {}", $reason);
            return;
        }
    };
}
pub(crate) use skip_unless;

/// The shared product, and new users called something like `names`; none, with a printed reason, where pods have no
/// agent.
pub(crate) async fn with_agents<const N: usize>(names: [&str; N]) -> Option<(Product, [User; N])> {
    if !has_agents() {
        eprintln!("skipped: the pods have no agent");
        return None;
    }
    let product = Product::shared().await;
    let mut users = Vec::with_capacity(N);
    for name in names {
        users.push(product.user(name).await);
    }
    Some((product, users.try_into().ok().expect("there is one for each name")))
}
