//! The property that everything else rests on: whatever happened before, the same specs come to the same objects.
//! Random histories of changed and deleted specs, of others who meddle with what the operator made, of lost watches and
//! of operators that are killed, each against a cluster that only ever saw the specs they end with.
//!
//! `BASTION_TEST_SEEDS=100..200` tries more of them.

mod deeds;
mod dice;
mod model;
mod scene;
mod snapshot;
mod steps;
mod wire;

use std::collections::HashSet;
use std::time::Duration;

use futures::{StreamExt, stream};
use tokio::time::{Instant, sleep};

use self::dice::Dice;
use self::model::Model;
use self::scene::Scene;
use self::snapshot::{Snapshot, differences};
use self::steps::Step;

/// Tried each time, a few seconds each: some that were told apart from a fresh cluster once, and some others.
const SEEDS: [u64; 7] = [0, 1, 2, 6, 320, 505, 516];
const AT_ONCE: usize = 3;
/// Steps of a history.
const LENGTH: usize = 24;
/// Long enough for a busy machine and for a watch that backs off; nothing waits this long unless it is broken.
const PATIENCE: Duration = Duration::from_secs(60);
/// What nothing happened for so long is at rest.
const REST: Duration = Duration::from_millis(300);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_happened_the_same_specs_come_to_the_same_objects() {
    if let Ok(filter) = std::env::var("RUST_LOG") {
        let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
    }
    let failures: Vec<String> = stream::iter(seeds())
        .map(|seed| async move { converge(seed).await.err().map(|why| format!("seed {seed}: {why}")) })
        .buffer_unordered(AT_ONCE)
        .filter_map(std::future::ready)
        .collect()
        .await;
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

fn seeds() -> Vec<u64> {
    let Ok(wanted) = std::env::var("BASTION_TEST_SEEDS") else { return SEEDS.into() };
    let range = wanted.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    range.expect("BASTION_TEST_SEEDS is a range such as 100..200").collect()
}

async fn converge(seed: u64) -> Result<(), String> {
    let mut dice = Dice::of(seed);
    let history = steps::history(&mut dice, LENGTH);
    let end = Model::last(&mut dice);

    let mut scene = Scene::start().await;
    for step in &history {
        scene.take(step).await;
        sleep(Duration::from_millis(dice.below(40))).await;
    }
    scene.mend().await;
    scene.becomes(&end, &mut dice).await;

    let mut fresh = Scene::start().await;
    fresh.take(&Step::Start).await;
    fresh.becomes(&end, &mut dice).await;
    let expected = fresh.settled(&end).await;
    fresh.stop().await;

    let outcome = match expected {
        Ok(expected) => comes_to(&scene, &expected, &end).await,
        Err(why) => Err(format!("not even a fresh cluster settles: {why}")),
    };
    scene.stop().await;
    let told = || history.iter().map(|step| format!("  {step:?}")).collect::<Vec<_>>().join("\n");
    outcome.map_err(|why| format!("{why}\nafter\n{}\nto\n{end:?}", told()))
}

/// Waits until the cluster is as expected and at rest.
async fn comes_to(scene: &Scene, expected: &Snapshot, end: &Model) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    let mut restarted = HashSet::new();
    loop {
        let now = scene.snapshot(end).await;
        let wrong = differences(expected, &now);
        if wrong.is_empty() {
            sleep(REST).await;
            let later = scene.snapshot(end).await;
            if later.versions == now.versions {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("it does not come to rest: {}", later.changed_since(&now)));
            }
            continue;
        }
        // That a running pod is not ended for a changed flavor is meant so, and told.
        scene.restart_as_told(&mut restarted).await;
        if Instant::now() > deadline {
            return Err(format!("not as on a fresh cluster (-):\n{}", wrong.join("\n")));
        }
        sleep(Duration::from_millis(50)).await;
    }
}
