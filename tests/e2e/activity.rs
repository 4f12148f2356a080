//! A DevServer's status tells how it is used.

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
    assert_eq!((began.last_input_time, began.forwards), (None, 0));
    session.types("typed\n").await;
    eventually("what was typed", async || status(&alice).await.filter(|activity| activity.last_input_time.is_some()))
        .await;
    session.closes_stdin();
    session.finish().await.exits(0);
    eventually("that nothing runs", async || status(&alice).await.filter(|activity| activity.programs == 0)).await;
}
