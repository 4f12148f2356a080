//! Why a pod ended and where its start took time: told by the DevServer itself.

use bastion::api::{DevServer, DevServerStatus, StepName};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use crate::harness::{Product, Ssh, User, eventually, has_agents, is_real, skip_unless};

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

/// What `devctl` says of it is the same by either verb.
async fn is_described(user: &User, words: &str) {
    for verb in ["describe", "why"] {
        let told = user.ssh(&format!("devctl {verb} train")).run().await.exits(0).text();
        assert!(told.contains(words), "{verb}: {told}");
    }
}

#[tokio::test]
async fn an_image_that_is_not_there_refuses_logins_at_once() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice.is_running().await;
    let registry = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
    let port = registry.local_addr().expect("it is bound").port();
    let serves = AbortOnDropHandle::new(tokio::spawn(has_nothing(registry)));
    let image = if is_real() { format!("localhost:{port}/team/x:1") } else { "missing/x:1".to_owned() };
    alice.add_devserver_with("train", json!({ "image": image })).await;
    let words = format!("cannot pull image {image}: ");
    let advice = "not found; check its name and tag, and that the cluster may pull it; `devctl update train --image \
                  IMAGE` takes another";
    let refused = login(&product, &alice, "echo in").run().await;
    refused.fails().prints("").says("bastion: DevServer `train` cannot run: ").says(&words).says(advice);
    is_described(&alice, &words).await;
    is_described(&alice, advice).await;
    drop(serves);

    alice.ssh("devctl update train --image localhost/dev:1 --yes").run().await.exits(0);
    login(&product, &alice, "echo in").run().await.exits(0).prints("in\n");
}

/// A registry of images, without one.
async fn has_nothing(registry: TcpListener) {
    while let Ok((mut stream, _)) = registry.accept().await {
        let mut request = vec![0; 4096];
        if stream.read(&mut request).await.is_ok() {
            let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
        }
    }
}

#[tokio::test]
async fn an_image_with_a_name_that_is_none_refuses_logins_at_once() {
    skip_unless!(is_real(), "the embedded cluster looks at no image's name");
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice.is_running().await;
    alice.add_devserver_with("train", json!({ "image": "No/Such:Name" })).await;
    let words = "cannot pull image No/Such:Name: the name is not valid; check its name and tag";
    login(&product, &alice, "echo in").run().await.fails().prints("").says(words);
    is_described(&alice, words).await;
}

#[tokio::test]
async fn a_command_that_the_image_has_not_is_named() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice.is_running().await;
    alice.add_devserver_with("train", json!({ "command": ["/no/such", "program"] })).await;
    if !has_agents() {
        let words = "image localhost/dev:1 has no program /no/such; take one that keeps running";
        login(&product, &alice, "echo in").run().await.fails().says(words);
        return is_described(&alice, words).await;
    }
    let words = "its command ended with exit code 127: a program was not found; `devctl logs train --previous`";
    let waiting = login(&product, &alice, "echo in").start();
    waiting.says(words).await;
    waiting.kill().await;
    is_described(&alice, words).await;
    eventually("what the agent wrote", async || {
        let logs = alice.ssh("devctl logs train --previous").run().await;
        logs.text().contains("failed to start /no/such: No such file or directory").then_some(())
    })
    .await;
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
