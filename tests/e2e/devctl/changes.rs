//! Changing DevServers: their settings, their time, and whether they sleep.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use super::{devctl, devserver, make};
use crate::flavors::{add_flavor, flavors};
use crate::harness::{FLAVOR, Product, User, eventually, user};

#[tokio::test]
async fn an_update_restarts_what_it_must_and_asks_first() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice.is_running().await;
    alice.ssh("echo kept >note").run().await.exits(0);
    devctl(&alice, "update dev --env COLOUR=blue --env SIZE=big --wait").run().await.exits(0).says("`dev` runs");
    alice.ssh("echo $COLOUR $SIZE; cat note").run().await.exits(0).prints("blue big\nkept\n");
    // What is printed is what was waited for.
    let red = devctl(&alice, "update dev --env COLOUR=red --unset-env SIZE --wait -o json").run().await;
    let red: Value = serde_json::from_str(&red.exits(0).text()).expect("it is JSON");
    assert_eq!(
        (&red["status"]["phase"], &red["status"]["observedGeneration"]),
        (&json!("Running"), &red["metadata"]["generation"]),
        "{red}"
    );
    alice.ssh("echo $COLOUR ${SIZE-none}").run().await.exits(0).prints("red none\n");
    devctl(&alice, "update dev --env COLOUR=red").run().await.exits(0).says("already has these settings");
    devctl(&alice, "update dev").run().await.exits(2).says("say what to change");

    let mut terminal = devctl(&alice, "update dev --env COLOUR=green").terminal(24, 100);
    terminal.shows("That restarts `dev`").await;
    terminal.types("no\r").await;
    terminal.exits(1).await;
    assert_eq!(devserver(&alice, "dev").await.spec.env[0].value.as_deref(), Some("red"));

    // Another size and another image are another pod, with the same home.
    let flavor = format!("other-{}", alice.name());
    let resources = json!({ "limits": { "memory": "512Mi" } });
    add_flavor(product.client(), &flavor, json!({ "resources": resources })).await;
    let image = "localhost/busybox:1";
    let words = format!("update dev --flavor {flavor} --image {image} --yes --wait");
    devctl(&alice, &words).run().await.exits(0).says("`dev` runs");
    alice.ssh("cat note").run().await.exits(0).prints("kept\n");
    let container = alice.has::<Pod>("dev").await.spec.expect("it has one").containers.remove(0);
    let memory = container.resources.and_then(|resources| resources.limits?.remove("memory"));
    assert_eq!((container.image.as_deref(), memory.map(|memory| memory.0).as_deref()), (Some(image), Some("512Mi")));
    flavors(product.client()).delete(&flavor, &DeleteParams::default()).await.expect("it is there");
}

#[tokio::test]
async fn a_change_that_is_not_taken_is_no_success() {
    let alice = user("alice").await;
    alice.is_running().await;
    let refused = devctl(&alice, "update dev --flavor no-such-flavor --yes --wait").run().await;
    refused.exits(1).says("that is not what runs").says("no-such-flavor").says("runs as before");
    alice.ssh("echo in").run().await.exits(0).prints("in\n");
    let why = devctl(&alice, "why dev").run().await.exits(0).text();
    assert!(why.contains("no-such-flavor") && why.contains("devctl flavors"), "{why}");
    let taken = devctl(&alice, "update dev --reset flavor --wait").run().await;
    taken.exits(0).says("`dev` runs");
}

#[tokio::test]
async fn time_is_extended_and_idleness_snoozed() {
    let alice = user("alice").await;
    make(&alice, "long", "--time 4h").await;
    let before = Timestamp::now().as_second();
    let extended = devctl(&alice, "extend long --time 2h").run().await;
    assert!(extended.exits(0).text().contains("`long`"), "{}", extended.text());
    let lifecycle = devserver(&alice, "long").await.spec.lifecycle.expect("it was extended");
    let until = lifecycle.extended_until.expect("it was extended").0.as_second();
    assert!(until >= before + 2 * 3600, "{until} is two hours after {before}");

    let before = Timestamp::now().as_second();
    let snoozed = devctl(&alice, "snooze long --time 30m").run().await;
    assert!(snoozed.exits(0).text().contains("not be suspended for being idle"), "{}", snoozed.text());
    let lifecycle = devserver(&alice, "long").await.spec.lifecycle.expect("it was snoozed");
    let until = lifecycle.snoozed_until.expect("it was snoozed").0.as_second();
    assert!((before + 1800..before + 1900).contains(&until), "{until} is half an hour after {before}");
    assert!(devctl(&alice, "idle long").run().await.exits(0).text().contains("Snoozed:"));
    devctl(&alice, "extend long --time 1h -o name").run().await.exits(0).prints("long\n");
    let snoozed = devctl(&alice, "snooze long --time 1h -o json").run().await.exits(0).text();
    assert!(snoozed.contains("\"snoozedUntil\""), "{snoozed}");
    devctl(&alice, "extend long --time soon").run().await.exits(2).says("4h, 90m");
}

#[tokio::test]
async fn it_is_extended_as_far_as_its_flavor_allows() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let flavor = format!("short-{}", alice.name());
    add_flavor(product.client(), &flavor, json!({ "resources": {}, "timeLimit": "5h" })).await;
    devctl(&alice, &format!("create long --flavor {flavor} --time 4h --wait")).run().await.exits(0);
    assert_eq!(hours_of(&alice, "long").await, 4.0);
    let extended = devctl(&alice, "extend long --time 4h").run().await.exits(0).text();
    assert!(extended.contains(THE_MOST), "{extended}");
    assert_eq!(hours_of(&alice, "long").await, 5.0);
    devctl(&alice, "update long --time 9h --wait").run().await.exits(0).says(THE_MOST);
    assert_eq!(hours_of(&alice, "long").await, 5.0);
    flavors(product.client()).delete(&flavor, &DeleteParams::default()).await.expect("it is there");
}

#[tokio::test]
async fn it_runs_no_longer_than_the_operator_allows() {
    let settings = ["time_to_live=1h", "max_time_to_live=5h"].map(|one| format!("operator.lifecycle.{one}"));
    let product = Product::undisturbed_with(&settings.each_ref().map(String::as_str)).await;
    let alice = product.user("alice").await;
    let made = devctl(&alice, &format!("create long --flavor {FLAVOR} --time 9h --wait")).run().await;
    made.exits(0).says("`long` runs").says(THE_MOST);
    assert_eq!(hours_of(&alice, "long").await, 5.0);
    // What is granted needs no words.
    let granted = devctl(&alice, "update long --time 4h").run().await;
    granted.exits(0).says_exactly("`long` is changed.\n");
    assert_eq!(hours_of(&alice, "long").await, 4.0);
    let extended = devctl(&alice, "extend long --time 30m").run().await.exits(0).text();
    assert!(extended.contains("may run until") && !extended.contains(THE_MOST), "{extended}");
    let extended = devctl(&alice, "extend long").run().await.exits(0).text();
    assert!(extended.contains(THE_MOST), "{extended}");
    assert_eq!(hours_of(&alice, "long").await, 5.0);
    devctl(&alice, "update long --time 9h").run().await.exits(0).says(THE_MOST);
    make(&alice, "usual", "").await;
    assert_eq!(hours_of(&alice, "usual").await, 1.0);
}

const THE_MOST: &str = "That is the most it is allowed";

/// For how long it may run in all.
async fn hours_of(user: &User, name: &str) -> f64 {
    let status = devserver(user, name).await.status.expect("it runs");
    let (start, end) = status.start_time.zip(status.expiration_time).expect("its time is limited");
    end.0.duration_since(start.0).as_secs_f64() / 3600.0
}

#[tokio::test]
async fn one_sleeps_and_wakes_when_asked_to() {
    let alice = user("alice").await;
    make(&alice, "tired", "").await;
    let sleeps = async || devserver(&alice, "tired").await.spec.lifecycle.is_some_and(|lifecycle| lifecycle.suspended);
    devctl(&alice, "suspend tired").run().await.exits(0).says("devctl resume tired");
    assert!(sleeps().await);
    devctl(&alice, "suspend tired -o name").run().await.exits(0).prints("tired\n").says("is already suspended");
    let resumed = devctl(&alice, "resume tired --wait -o json").run().await.exits(0).says("`tired` runs").text();
    let resumed: serde_json::Value = serde_json::from_str(&resumed).expect("it is JSON");
    assert_eq!(resumed["status"]["phase"], "Running");
    assert!(!sleeps().await);
    devctl(&alice, "resume tired").run().await.exits(0).says("is not suspended");
}

#[tokio::test]
async fn its_log_is_printed_and_followed() {
    let alice = user("alice").await;
    make(&alice, "speaker", "--command sh -c 'echo one; echo two; until test -e $HOME/more; do sleep 0.1; done; echo three; exec sleep 1000'").await;
    eventually("the log", async || {
        let log = devctl(&alice, "logs speaker").run().await;
        log.exits(0).text().contains("one\ntwo\n").then_some(())
    })
    .await;
    devctl(&alice, "logs speaker --tail 1").run().await.exits(0).prints("two\n");
    let follow = devctl(&alice, "logs -f speaker").start();
    follow.prints("two\n").await;
    devctl(&alice, "exec speaker -- touch more").run().await.exits(0);
    follow.prints("three\n").await;
    follow.kill().await;
    devctl(&alice, "logs speaker --previous").run().await.exits(3).says("no container before this one");
}
