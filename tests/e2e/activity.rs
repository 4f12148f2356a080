//! A DevServer's status tells how it is used.

use std::time::Duration;

use bastion::api::{Activity, DevServer};

use crate::harness::{Input, Product, User, eventually, has_agents, skip_unless};

async fn status(alice: &User) -> Option<Activity> {
    alice.has::<DevServer>("dev").await.status?.activity
}

#[tokio::test]
async fn what_runs_and_what_was_typed_is_told() {
    skip_unless!(has_agents(), "the pods have no agent");
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let replica = product.serve(&["workspace.activity_interval=1s"]).await;
    alice.is_known_at(&replica).await;
    let mut session = alice.ssh_at(&replica, "echo up; cat").input(Input::Held).start();
    session.prints("up\n").await;
    let began = eventually("a program that runs", async || {
        status(&alice).await.filter(|activity| activity.programs == 1 && activity.last_output_time.is_some())
    })
    .await;
    // To begin a program is a sign of use as what is typed is.
    let first = began.last_input_time.expect("somebody began it").0;
    assert_eq!(began.forwards, 0);
    tokio::time::sleep(Duration::from_secs(2)).await; // Times are whole seconds.
    session.types("typed\n").await;
    eventually("what was typed", async || {
        status(&alice).await.filter(|activity| activity.last_input_time.as_ref().is_some_and(|last| last.0 > first))
    })
    .await;
    session.closes_stdin();
    session.finish().await.exits(0);
    eventually("that nothing runs", async || status(&alice).await.filter(|activity| activity.programs == 0)).await;
}
