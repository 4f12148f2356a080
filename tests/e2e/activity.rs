//! A DevServer's status tells how it is used.

use bastion::api::{Activity, DevServer};

use crate::harness::{Input, User, eventually, with_agents};

async fn status(alice: &User) -> Option<Activity> {
    alice.has::<DevServer>("dev").await.status?.activity
}

#[tokio::test]
async fn what_runs_and_what_was_typed_is_told() {
    let Some((product, [alice])) = with_agents(["alice"]).await else { return };
    let replica = product.serve(&["workspace.activity_interval=1s"]).await;
    alice.is_known_at(&replica).await;
    let mut session = alice.ssh_at(&replica, "echo up; cat").argument("-tt").input(Input::Held).start();
    session.prints("up\r\n").await;
    let began = eventually("a program that runs", async || {
        status(&alice).await.filter(|activity| activity.programs == 1 && activity.last_session_time.is_some())
    })
    .await;
    assert_eq!((began.last_input_time, began.last_output_time, began.forwards), (None, None, 0));
    assert!(began.observed_time.is_some() && began.last_use_time == began.last_session_time);
    assert_eq!(began.awake.as_deref(), Some("login"));
    session.types("typed\n").await;
    let typed = eventually("what was typed", async || {
        status(&alice).await.filter(|activity| activity.last_input_time.is_some())
    })
    .await;
    assert_eq!((typed.awake.as_deref(), typed.last_output_time), (Some("keystrokes, login"), None), "a word is little");
    session.types("\u{4}").await;
    session.finish().await.exits(0);
    eventually("that nothing runs", async || status(&alice).await.filter(|activity| activity.programs == 0)).await;
}
