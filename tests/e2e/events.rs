//! What `kubectl describe` shows of DevServers and teams: their events.

use bastion::api::{DevServer, DevServerTeam, Phase};
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::json;

use crate::harness::{Product, User, eventually, has_agents};

/// The events about object `name` of this kind, oldest first.
async fn events(api: &Api<Event>, kind: &str, name: &str) -> Vec<Event> {
    let all = api.list(&ListParams::default()).await.expect("the API server answers");
    let is_about_it = |event: &Event| {
        let about = event.regarding.clone().unwrap_or_default();
        (about.kind.as_deref(), about.name.as_deref()) == (Some(kind), Some(name))
    };
    let mut events: Vec<Event> = all.items.into_iter().filter(is_about_it).collect();
    events.sort_by(|one, other| one.event_time.cmp(&other.event_time));
    events
}

/// Waits for an event of this reason, and looks at how it is told.
async fn has(api: &Api<Event>, about: (&str, &str), reason: &str, type_: &str, words: &str) {
    let event = eventually(&format!("event {reason}"), async || {
        let events = events(api, about.0, about.1).await;
        events.into_iter().find(|event| event.reason.as_deref() == Some(reason))
    })
    .await;
    let note = event.note.unwrap_or_default();
    assert!(event.type_.as_deref() == Some(type_) && note.contains(words), "{:?} {note}", event.type_);
}

async fn runs(user: &User, name: &str) {
    eventually("it runs", async || (user.has::<DevServer>(name).await.status?.phase == Phase::Running).then_some(()))
        .await;
}

#[tokio::test]
async fn a_devserver_tells_what_became_of_it_and_each_of_it_once() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice.is_running().await;
    let mut spec = json!({});
    if has_agents() {
        spec["startupScript"] = json!("exit 3");
    }
    alice.add_devserver_with("train", spec).await;
    let api: Api<Event> = alice.api();
    let train = ("DevServer", "train");
    has(&api, train, "Ready", "Normal", "sessions can enter").await;
    if has_agents() {
        has(&api, train, "StartupScriptFailed", "Warning", "exit code 3").await;
    }

    // It runs on as it was.
    let servers = alice.api::<DevServer>();
    let flavor = Patch::Merge(json!({ "spec": { "flavor": "no-such-flavor" } }));
    servers.patch("train", &PatchParams::default(), &flavor).await.expect("it can be changed");
    has(&api, train, "FlavorNotFound", "Warning", "there is no flavor \"no-such-flavor\"").await;
    runs(&alice, "train").await;
    let told: Vec<Event> = events(&api, train.0, train.1).await;
    for reason in ["Ready", "FlavorNotFound"] {
        let of_it: Vec<&Event> = told.iter().filter(|event| event.reason.as_deref() == Some(reason)).collect();
        assert!(of_it.len() == 1 && of_it[0].series.is_none(), "{reason} more than once: {of_it:?}");
    }
}

#[tokio::test]
async fn an_end_and_what_cannot_be_had_are_warnings() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice.is_running().await;
    // The first one fails, the next one stays.
    let script = "test -e ended && exec sleep 98730; echo >ended; exit 3";
    alice.add_devserver_with("train", json!({ "command": ["sh", "-c", script] })).await;
    let api: Api<Event> = alice.api();
    has(&api, ("DevServer", "train"), "CommandEnded", "Warning", "exit code 3; `devctl logs train --previous`").await;

    let nowhere = json!({
        "apiVersion": "devserver.io/v1", "kind": "DevServer", "metadata": { "name": "none" },
        "spec": { "flavor": "no-such-flavor" },
    });
    let nowhere = serde_json::from_value(nowhere).expect("it is one");
    alice.api::<DevServer>().create(&PostParams::default(), &nowhere).await.expect("DevServers can be made");
    let words = "`devctl update none --flavor NAME` takes another of `devctl flavors`";
    has(&api, ("DevServer", "none"), "FlavorNotFound", "Warning", words).await;
}

#[tokio::test]
async fn a_team_without_its_volume_is_told_of_in_an_event() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let name = format!("events-{}", alice.name());
    let team = json!({
        "apiVersion": "devserver.io/v1", "kind": "DevServerTeam", "metadata": { "name": name },
        "spec": { "members": [alice.name()], "volume": { "persistentVolume": name } },
    });
    let teams: Api<DevServerTeam> = Api::all(product.client());
    let team = serde_json::from_value(team).expect("it is a team");
    teams.create(&PostParams::default(), &team).await.expect("teams can be made");
    let in_default: Api<Event> = Api::namespaced(product.client(), "default");
    has(&in_default, ("DevServerTeam", name.as_str()), "VolumeNotReady", "Warning", &name).await;
    teams.delete(&name, &DeleteParams::default()).await.expect("it is there");
}
