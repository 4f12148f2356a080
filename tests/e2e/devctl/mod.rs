//! `ssh alice@bastion devctl …`: what the bastion answers itself.

mod changes;
mod formats;
mod making;
mod sessions;
mod settings;
mod tenancy;
mod users;
mod words;

pub(crate) use users::Administrator;

use bastion::api::DevServer;

use crate::harness::{FLAVOR, Ssh, User};

/// The bastion's own command line.
fn devctl(user: &User, words: &str) -> Ssh {
    user.ssh(&format!("devctl {words}"))
}

/// Makes a DevServer, and waits until it runs.
async fn make(user: &User, name: &str, options: &str) {
    let made = devctl(user, &format!("create {name} --flavor {FLAVOR} --wait {options}")).run().await;
    made.exits(0).says(&format!("`{name}` runs"));
}

async fn devserver(user: &User, name: &str) -> DevServer {
    user.api::<DevServer>().get(name).await.expect("she has it")
}
