//! A DevServer runs for its time, sleeps, and is woken by whoever comes.

use std::time::{Duration, Instant};

use bastion::api::{DevServer, DevServerStatus, Phase, Suspension, SuspensionReason};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::api::events::v1::Event;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::harness::{Input, Product, User, eventually, with_agents};
use crate::sharing::{is_let_in, login};

/// Changes `spec.lifecycle` of her `dev`.
pub(crate) async fn lives(alice: &User, lifecycle: Value) {
    let patch = Patch::Merge(json!({"spec": {"lifecycle": lifecycle}}));
    let patched = alice.api::<DevServer>().patch("dev", &PatchParams::default(), &patch).await;
    patched.expect("it can be changed");
}

pub(crate) async fn status(alice: &User) -> DevServerStatus {
    alice.has::<DevServer>("dev").await.status.unwrap_or_default()
}

/// Waits until it sleeps and its pod is gone.
pub(crate) async fn sleeps(alice: &User, reason: SuspensionReason) -> Suspension {
    let suspension = eventually("it sleeps", async || {
        let status = status(alice).await;
        status.suspension.filter(|suspension| status.phase == Phase::Suspended && suspension.reason == reason)
    })
    .await;
    eventually("its pod is gone", async || {
        alice.api::<Pod>().get_opt("dev").await.expect("the API server answers").is_none().then_some(())
    })
    .await;
    suspension
}

/// What is planned for it, as soon as something is; or was, if the plan lasted for less than it takes to look.
async fn is_warned(alice: &User, reason: SuspensionReason) -> Suspension {
    eventually("a suspension is planned", async || {
        let status = status(alice).await;
        let may_be_told = matches!(status.phase, Phase::Running | Phase::Suspended);
        status.suspension.filter(|planned| may_be_told && planned.reason == reason)
    })
    .await
}

async fn has_event(alice: &User, reason: &str) {
    let events = alice.api::<Event>();
    eventually(&format!("event {reason}"), async || {
        let all = events.list(&ListParams::default()).await.expect("the API server answers");
        let about = |event: &Event| event.regarding.as_ref()?.kind.clone();
        let is_it =
            |event: &Event| event.reason.as_deref() == Some(reason) && about(event).as_deref() == Some("DevServer");
        all.iter().any(is_it).then_some(())
    })
    .await;
}

fn seconds_from_now(seconds: i64) -> String {
    let time = Timestamp::now() + SignedDuration::from_secs(seconds);
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A time to live that is over in so many seconds.
async fn ends_in(alice: &User, seconds: i64) -> String {
    let start = status(alice).await.start_time.expect("it was made some time").0;
    format!("{}s", Timestamp::now().duration_since(start).as_secs() + seconds)
}

#[tokio::test]
async fn when_its_time_is_over_it_sleeps_and_a_login_wakes_it_with_its_home() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice.ssh("echo kept >note").run().await.exits(0);
    let first = status(&alice).await;
    let (start, end) = (first.start_time.expect("it began").0, first.expiration_time.expect("it ends").0);
    assert_eq!(end.duration_since(start).as_secs(), 7 * 24 * 3600);
    assert_eq!(first.suspension, None);

    lives(&alice, json!({"timeToLive": "1s"})).await;
    is_warned(&alice, SuspensionReason::Expired).await;
    let sleep = sleeps(&alice, SuspensionReason::Expired).await;
    assert!(sleep.message.contains("its time was over at"), "{}", sleep.message);
    has_event(&alice, "SuspensionPlanned").await;
    has_event(&alice, "Suspended").await;
    let asleep = status(&alice).await;
    assert_eq!((asleep.start_time, asleep.pod_name), (None, None));
    assert!(alice.has::<DevServer>("dev").await.spec.lifecycle.is_some_and(|lifecycle| lifecycle.suspended));
    alice.has::<PersistentVolumeClaim>("dev-home").await;

    // A changed spec does not wake it.
    let patch = json!({"spec": {"env": [{"name": "GREETING", "value": "hello"}], "lifecycle": {"timeToLive": "1h"}}});
    let servers = alice.api::<DevServer>();
    let changed = servers.patch("dev", &PatchParams::default(), &Patch::Merge(patch)).await.expect("it can be changed");
    eventually("the operator has seen it", async || {
        (status(&alice).await.observed_generation == changed.metadata.generation).then_some(())
    })
    .await;
    assert_eq!(status(&alice).await.phase, Phase::Suspended);
    assert!(alice.api::<Pod>().get_opt("dev").await.expect("the API server answers").is_none());

    let woken = Timestamp::now() - SignedDuration::from_secs(2);
    alice.ssh("cat note; echo $GREETING").run().await.exits(0).prints("kept\nhello\n");
    let status = status(&alice).await;
    assert!(status.start_time.expect("it began anew").0 >= woken);
    assert_eq!(status.suspension, None);
    has_event(&alice, "Woken").await;
}

#[tokio::test]
async fn it_is_suspended_on_request_and_resumed_or_deleted() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let mut terminal = alice.shell().terminal(24, 200);
    terminal.types("echo kept >note; echo $((40+2))\r").await;
    terminal.shows_row("42").await;

    lives(&alice, json!({"suspended": true})).await;
    terminal.shows("bastion: the pod of your DevServer `dev` is gone: suspended since ").await;
    terminal.shows("somebody asked for it; its home is kept, and a login resumes it").await;
    terminal.ends().await;
    sleeps(&alice, SuspensionReason::Requested).await;

    lives(&alice, json!({"suspended": false})).await;
    eventually("it runs", async || (status(&alice).await.phase == Phase::Running).then_some(())).await;
    alice.ssh("cat note").run().await.exits(0).prints("kept\n");

    lives(&alice, json!({"suspended": true})).await;
    sleeps(&alice, SuspensionReason::Requested).await;
    let servers = alice.api::<DevServer>();
    servers.delete("dev", &DeleteParams::default()).await.expect("one that sleeps can be deleted");
    eventually("it is gone", async || {
        servers.get_opt("dev").await.expect("the API server answers").is_none().then_some(())
    })
    .await;
    alice.has::<PersistentVolumeClaim>("dev-home").await;
}

#[tokio::test]
async fn a_login_while_it_falls_asleep_succeeds() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice.is_running().await;
    for pause in [0, 0, 30, 100, 300] {
        lives(&alice, json!({"suspended": true})).await;
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let two = [alice.ssh("echo in").start(), alice.ssh("echo in").start()];
        for login in two {
            login.finish().await.exits(0).prints("in\n");
        }
        let forward = alice.shell().argument("-W").argument("127.0.0.1:1").run().await;
        assert!(!forward.stderr().contains("bastion: "), "{}", forward.stderr());
    }
    assert_eq!(status(&alice).await.phase, Phase::Running);
}

#[tokio::test]
async fn a_login_tells_what_it_waits_for() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice.is_running().await;
    lives(&alice, json!({"suspended": true})).await;
    sleeps(&alice, SuspensionReason::Requested).await;
    let mut terminal = alice.shell().terminal(24, 100);
    terminal.shows("bastion: ").await;
    terminal.types("echo awake:$((40+2))\r").await;
    terminal.shows_row("awake:42").await;
    terminal.types("exit\r").await;
    terminal.exits(0).await;
}

#[tokio::test]
async fn open_terminals_are_warned_over_whatever_they_show() {
    let Some((product, [alice, bob, carol])) = with_agents(["alice", "bob", "carol"]).await else { return };
    let mut full_screen = alice.shell().terminal(24, 80);
    full_screen.types("seq 500 | less\r").await;
    full_screen.shows_row(":").await;
    full_screen.types("G").await;
    full_screen.shows("(END)").await;
    let mut plain = alice.shell().option("SetEnv=BASTION_PERSIST=0").terminal(24, 80);
    plain.types("echo $((40+2))\r").await;
    plain.shows_row("42").await;
    // At another replica, and behind a jump.
    let replica = product.serve(&[]).await;
    alice.is_known_at(&replica).await;
    let known_hosts = product.folder().join(format!("{}-known", alice.name()));
    let behind = alice.shell().jump("dev", alice.key(), &known_hosts);
    let mut elsewhere =
        [alice.shell_at(&replica), behind].map(|shell| shell.option("SetEnv=BASTION_PERSIST=0").terminal(24, 80));
    for terminal in &mut elsewhere {
        terminal.types("echo $((40+2))\r").await;
        terminal.shows_row("42").await;
    }
    let mut command = alice.ssh("echo up; read -r line; echo \"$line\"").input(Input::Held).start();
    command.prints("up\n").await;
    for (guest, how) in [(&bob, ""), (&carol, " --read-only")] {
        alice.ssh(&format!("devctl share dev {}{how}", guest.name())).run().await.exits(0);
        is_let_in(guest, &login(guest, "dev", &alice)).await;
    }
    let mut works = bob.shell().login(&login(&bob, "dev", &alice)).option("SetEnv=BASTION_PERSIST=0").terminal(24, 200);
    works.types("echo $((40+2))\r").await;
    works.shows_row("42").await;
    let looks = carol.ssh("shells 1").login(&login(&carol, "dev", &alice)).terminal(24, 200);
    looks.shows("(END)").await;

    let time_to_live = ends_in(&alice, 90).await;
    lives(&alice, json!({"timeToLive": time_to_live})).await;
    is_warned(&alice, SuspensionReason::Expired).await;
    let warning = "bastion: your DevServer `dev` will be suspended in ";
    full_screen.shows(warning).await;
    // It is longer than a row.
    let advice = format!("`ssh {}@BASTION devctl extend dev --time 4h`", alice.name());
    full_screen.shows_rows(&advice, |rows| rows.concat().contains(&advice)).await;
    full_screen.shows("(END)").await;
    assert!(full_screen.is_full_screen());
    for terminal in [&plain].into_iter().chain(&elsewhere) {
        terminal.shows(warning).await;
    }
    // Theirs is another one: they would do to their own what its owner is told to do.
    for other in [&works, &looks] {
        other.shows(&format!("bastion: `dev.{}` will be suspended in ", alice.name())).await;
        other.shows("; its owner can put that off").await;
        let rows = other.rows().concat();
        assert!(!rows.contains("devctl") && !rows.contains("your DevServer"), "{rows}");
    }

    // Once somebody has typed it is as it was.
    let clean = |rows: &[String]| rows[0].trim() == "478" && rows[22].trim() == "500" && rows[23].contains("(END)");
    eventually("the screen is drawn anew", async || {
        full_screen.types("G").await;
        clean(&full_screen.rows()).then_some(())
    })
    .await;

    // A login finds it told too.
    let late = alice.shell().option("SetEnv=BASTION_PERSIST=0").terminal(24, 80);
    late.shows(warning).await;
    late.kill().await;

    lives(&alice, json!({"extendedUntil": seconds_from_now(4000)})).await;
    eventually("nothing is planned", async || status(&alice).await.suspension.is_none().then_some(())).await;
    command.types("well\n").await;
    let command = command.finish().await;
    assert!(!command.stderr().contains("suspended"), "{}", command.stderr());
    command.exits(0).prints("up\nwell\n");
}

#[tokio::test]
async fn one_that_nobody_uses_sleeps_and_one_that_is_used_does_not() {
    let Some((product, [alice])) = with_agents(["alice"]).await else { return };
    let replica = product.serve(&["workspace.activity_interval=1s"]).await;
    alice.is_known_at(&replica).await;
    let mut terminal = alice.shell_at(&replica).terminal(24, 200);
    terminal.types("echo $((40+2))\r").await;
    terminal.shows_row("42").await;
    lives(&alice, json!({"idle": {"after": "24s"}})).await;

    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(40) {
        terminal.types("true\r").await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(status(&alice).await.phase, Phase::Running, "it is used");
    }
    // A sign of use in the last seconds counts too.
    is_warned(&alice, SuspensionReason::Idle).await;
    terminal.shows("bastion: your DevServer `dev` will be suspended in ").await;
    terminal.types("clear; echo used:$((40+2))\r").await;
    eventually("nothing is planned", async || status(&alice).await.suspension.is_none().then_some(())).await;

    sleeps(&alice, SuspensionReason::Idle).await;
    terminal.shows("nobody has used it").await;
    terminal.ends().await;
    alice.ssh_at(&replica, "echo in").run().await.exits(0).prints("in\n");
}

#[tokio::test]
async fn a_session_that_begins_in_the_last_moment_goes_on() {
    let Some((product, [alice])) = with_agents(["alice"]).await else { return };
    let replica = product.serve(&["workspace.activity_interval=1s"]).await;
    alice.is_known_at(&replica).await;
    alice.ssh_at(&replica, "true").run().await.exits(0);
    for before in [2_000, 200, 50, 0, -50, -200] {
        lives(&alice, json!({"idle": {"after": "6s"}, "snoozedUntil": null})).await;
        let planned = is_warned(&alice, SuspensionReason::Idle).await;
        let wait = planned.time.0.duration_since(Timestamp::now()) - SignedDuration::from_millis(before);
        tokio::time::sleep(Duration::try_from(wait).unwrap_or_default()).await;
        alice.ssh_at(&replica, "sleep 2; echo in").run().await.exits(0).prints("in\n");
    }
}

#[tokio::test]
async fn what_is_snoozed_or_never_idle_stays_awake() {
    let Some((product, [alice, bob])) = with_agents(["alice", "bob"]).await else { return };
    let replica = product.serve(&["workspace.activity_interval=1s"]).await;
    for user in [&alice, &bob] {
        user.is_known_at(&replica).await;
        user.ssh_at(&replica, "true").run().await.exits(0);
    }
    let until = Timestamp::now() + SignedDuration::from_secs(15);
    lives(&bob, json!({"idle": {"after": "4s", "action": "None"}})).await;
    lives(&alice, json!({"idle": {"after": "4s"}, "snoozedUntil": seconds_from_now(16)})).await;
    let sleep = sleeps(&alice, SuspensionReason::Idle).await;
    assert!(sleep.time.0 >= until, "{} is before {until}", sleep.time.0);
    let bobs = status(&bob).await;
    assert_eq!((bobs.phase, bobs.suspension), (Phase::Running, None));
}
