//! Why a pod ended and where its start took time: told by the DevServer itself.

use bastion::api::{DevServer, DevServerStatus, StepName};
use serde_json::json;

use crate::harness::{Product, Ssh, User, eventually, is_real, skip_unless};

async fn status_that(user: &User, what: &str, fits: impl Fn(&DevServerStatus) -> bool) -> DevServerStatus {
    eventually(what, async || {
        let status = user.has::<DevServer>("train").await.status?;
        fits(&status).then_some(status)
    })
    .await
}

fn login(product: &Product, user: &User, command: &str) -> Ssh {
    Ssh::new(product.front(), &format!("{}+train", user.name())).key(user.key()).command(command)
}

#[tokio::test]
async fn why_the_pod_ended_is_kept_and_told_once() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice.is_running().await;
    // The first one fails, the next one stays.
    let script = "test -e ended && exec sleep 98710; echo >ended; exit 3";
    alice.add_devserver_with("train", json!({"command": ["sh", "-c", script]})).await;
    let status = status_that(&alice, "an end that is told", |status| status.last_end.is_some()).await;
    let end = status.last_end.expect("it was waited for");
    let told = "its command ended with exit code 3; `devctl logs train --previous` shows what it wrote";
    assert_eq!((end.reason.as_str(), end.message.as_str()), ("CommandEnded", told));

    let first = login(&product, &alice, "echo in").run().await;
    first.exits(0).prints("in\n").says("your DevServer `train` ended at ").says("its command ended with exit code 3");
    let second = login(&product, &alice, "echo in").run().await;
    assert!(!second.exits(0).prints("in\n").stderr().contains("ended at"), "{}", second.stderr());

    // A person has not read it yet: a command may be a program's.
    let shell = || Ssh::new(product.front(), &format!("{}+train", alice.name())).key(alice.key()).terminal(24, 200);
    let mut terminal = shell();
    terminal.shows("its command ended with exit code 3").await;
    terminal.types("exit\r").await;
    terminal.exits(0).await;
    status_that(&alice, "it is noted", |status| status.told_time.as_ref() == Some(&end.time)).await;
    let kept = status_that(&alice, "the pod runs", |status| status.pod_name.is_some()).await;
    assert_eq!(kept.last_end, Some(end));
}

#[tokio::test]
async fn running_out_of_memory_is_told_at_the_next_login() {
    skip_unless!(is_real(), "the embedded cluster limits no memory");
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice.is_running().await;
    // A variable of a shell grows until the kernel steps in; the flavor's limit is 1Gi. It is the pod's own command: of
    // a session's program older kernels kill that alone.
    let grows = "until test -e go; do sleep 0.1; done; rm go; a=x; while :; do a=$a$a; done";
    alice.add_devserver_with("train", json!({"command": ["sh", "-c", grows]})).await;
    login(&product, &alice, "touch go; exec sleep 60").run().await.fails();
    let status = status_that(&alice, "an end that is told", |status| status.last_end.is_some()).await;
    assert_eq!(status.last_end.expect("it was waited for").reason, "OutOfMemory");
    let next = login(&product, &alice, "echo in").run().await;
    // Whether a look saw its peak is chance: it is over within seconds.
    next.exits(0).prints("in\n");
    let most = ["(all of its limit of 1Gi was in use)", "(limit 1Gi; at most "];
    let said = most.iter().any(|most| next.stderr().contains(&format!("it ran out of memory {most}")));
    assert!(said && next.stderr().contains("; choose a larger flavor"), "{}", next.stderr());
}

#[tokio::test]
async fn each_step_of_a_start_has_its_time() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice.is_running().await;
    alice.add_devserver_with("train", json!({})).await;
    login(&product, &alice, "true").run().await.exits(0);
    let is_whole = |status: &DevServerStatus| status.steps.iter().any(|step| step.name == StepName::Ready);
    let steps = status_that(&alice, "a whole timeline", is_whole).await.steps;
    let names: Vec<StepName> = steps.iter().map(|step| step.name).collect();
    // What the embedded cluster tells of.
    let everywhere =
        [StepName::Created, StepName::Scheduled, StepName::Initialized, StepName::Started, StepName::Ready].as_slice();
    let others = [StepName::Requested, StepName::Mounted, StepName::ImagePulled];
    for name in everywhere.iter().chain(is_real().then_some(&others).into_iter().flatten()) {
        assert!(names.contains(name), "{name:?} is missing: {names:?}");
    }
    assert!(names.is_sorted(), "{names:?}");
    assert!(steps.iter().map(|step| step.time.0).is_sorted(), "{steps:?}");
}
