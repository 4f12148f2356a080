//! Making DevServers, looking at them, and deleting them.

use bastion::api::DevServer;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use serde_json::Value;

use super::{devctl, devserver, make};
use crate::harness::{FLAVOR, Product, eventually, is_real, skip_unless, user};

#[tokio::test]
async fn a_devserver_is_made_looked_at_and_deleted() {
    let alice = user("alice").await;
    devctl(&alice, "list").run().await.exits(0).prints("").says("You have no DevServers");

    let options = "--env GREETING='hello there' --idle-after 2h --time 8h";
    let made = devctl(&alice, &format!("create train --flavor {FLAVOR} --wait -o json {options}")).run().await;
    made.exits(0).says("`train` runs");
    let made: Value = serde_json::from_str(&made.text()).expect("it is JSON");
    assert_eq!(made["status"]["phase"], "Running", "as it is once it was waited for");
    let spec = devserver(&alice, "train").await.spec;
    assert_eq!(spec.flavor.as_deref(), Some(FLAVOR));
    let lifecycle = spec.lifecycle.expect("a time was given");
    assert_eq!(lifecycle.time_to_live.expect("it was given").0, "8h");
    let train = |command: &str| alice.shell_in("train").command(command);
    train("echo $GREETING").run().await.exits(0).prints("hello there\n");

    let list = devctl(&alice, "list").run().await.exits(0).text();
    let row: Vec<&str> = list.lines().nth(1).expect("a header, then it").split_whitespace().collect();
    assert_eq!(row[..4], ["train", FLAVOR, "(default)", "Running"], "{list}");
    assert!(devctl(&alice, "list -o wide").run().await.exits(0).text().contains("NODE"));
    devctl(&alice, "list -o name").run().await.exits(0).prints("train\n");
    let json: Value = serde_json::from_str(&devctl(&alice, "list --output=json").run().await.exits(0).text()).unwrap();
    assert_eq!((&json["kind"], &json["items"][0]["kind"]), (&"List".into(), &"DevServer".into()));
    assert_eq!(json["items"][0]["metadata"]["name"], "train");
    let yaml = devctl(&alice, "describe train -o yaml").run().await.exits(0).text();
    assert!(yaml.contains("kind: DevServer\n") && yaml.contains("GREETING"), "{yaml}");

    // Whoever logged in to it need not name it.
    let described = train("devctl describe").run().await.exits(0).text();
    for text in ["Name:", "train-home", "GREETING=hello there", "unused for 2h", "CONDITION"] {
        assert!(described.contains(text), "{text}: {described}");
    }
    devctl(&alice, "why train").run().await.exits(0).prints_line("`train` runs");
    devctl(&alice, "complete devservers").run().await.exits(0).prints("train\n");
    devctl(&alice, &format!("create train --flavor {FLAVOR}")).run().await.exits(1).says("already have a DevServer");

    let deleted = devctl(&alice, "delete train").run().await;
    deleted.exits(0).prints("").says("train-home is kept").says("--with-home");
    eventually("it is gone", async || {
        alice.api::<DevServer>().get_opt("train").await.expect("the API server answers").is_none().then_some(())
    })
    .await;
    alice.has::<PersistentVolumeClaim>("train-home").await;
    devctl(&alice, "describe train").run().await.exits(3).says("no DevServer `train`").says("devctl create train");
    devctl(&alice, "delete train").run().await.exits(3);
    // Without a terminal nobody said yes.
    devctl(&alice, "delete train --with-home").run().await.exits(2).says("all that is in the home").says("`--yes`");
    alice.has::<PersistentVolumeClaim>("train-home").await;
    let deleted = devctl(&alice, "delete train --with-home --yes").run().await;
    deleted.exits(0).says("its home train-home are deleted");
    eventually("the home is gone", async || {
        let claims = alice.api::<PersistentVolumeClaim>();
        claims.get_opt("train-home").await.expect("the API server answers").is_none().then_some(())
    })
    .await;
}

#[tokio::test]
async fn one_that_cannot_start_is_waited_for_and_explained() {
    let alice = user("alice").await;
    let words = format!("create stuck --flavor {FLAVOR} --volume nothing:/data:ro --wait --timeout 1s");
    devctl(&alice, &words).run().await.exits(5).says("`stuck` is not ready yet").says("devctl why stuck");
    let why = eventually("the claim is missed", async || {
        let why = devctl(&alice, "why stuck").run().await.exits(0).text();
        why.contains("there is no claim nothing").then_some(why)
    })
    .await;
    assert!(why.contains("--remove-volume"), "{why}");

    let mut terminal = devctl(&alice, "resume stuck --wait").terminal(24, 120);
    terminal.shows("there is no claim nothing").await;
    terminal.types("\x03").await;
    terminal.shows("`stuck` is still starting").await;
    terminal.exits(130).await;
    devserver(&alice, "stuck").await;

    devctl(&alice, "update stuck --remove-volume /data --wait").run().await.exits(0).says("`stuck` runs");
    assert!(devserver(&alice, "stuck").await.spec.volumes.is_empty());
}

#[tokio::test]
async fn what_the_schema_forbids_is_told_by_option() {
    skip_unless!(is_real(), "the embedded cluster does not check the rules of a schema");
    let alice = user("alice").await;
    let refused = devctl(&alice, "create x --image 'two words' --home-size=-1Gi").run().await;
    refused.exits(4).prints("").says("--image:").says("--home-size:");
    devctl(&alice, "describe x").run().await.exits(3);
}

#[tokio::test]
async fn a_terminal_is_asked_for_what_was_not_said() {
    let alice = user("alice").await;
    let mut terminal = devctl(&alice, "create").terminal(40, 120);
    terminal.shows("Name:").await;
    terminal.types("No Name\r").await;
    terminal.shows("lower-case letters").await;
    terminal.types("askedd\x7f\r").await;
    terminal.shows("MEMORY").await;
    terminal.shows("Flavor [the default]:").await;
    terminal.types(&format!("{FLAVOR}\r")).await;
    terminal.shows("Image [the default]:").await;
    terminal.types("\r").await;
    terminal.shows("For how long").await;
    terminal.types("0h\r").await;
    terminal.shows("a time is written like").await;
    terminal.types("6h\r").await;
    terminal.shows("`asked` runs").await;
    terminal.exits(0).await;
    let spec = devserver(&alice, "asked").await.spec;
    assert_eq!((spec.flavor.as_deref(), spec.image), (Some(FLAVOR), None));
    assert_eq!(spec.lifecycle.and_then(|lifecycle| lifecycle.time_to_live).expect("it was said").0, "6h");

    let mut terminal = devctl(&alice, "delete asked").terminal(24, 100);
    terminal.shows("Delete `asked`?").await;
    terminal.types("n\r").await;
    terminal.shows("nothing was changed").await;
    terminal.exits(1).await;
    devserver(&alice, "asked").await;
    devctl(&alice, "create").run().await.exits(2).says("devctl create NAME");
}

#[tokio::test]
async fn a_list_that_is_watched_tells_what_changes_until_its_reader_goes() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice.is_running().await;
    let watches = ["list", "top"].map(|verb| devctl(&alice, &format!("{verb} --watch")).start());
    for watch in &watches {
        watch.prints("NAME").await;
        watch.prints("dev ").await;
    }
    make(&alice, "second", "").await;
    for watch in watches {
        watch.prints("second ").await;
        watch.kill().await;
    }

    let replica = product.serve(&[]).await;
    alice.is_known_at(&replica).await;
    let watch = alice.ssh_at(&replica, "devctl list --watch").start();
    watch.prints("second ").await;
    watch.kill().await;
    eventually("the end of the session", async || {
        let (_, metrics) = replica.get("/metrics").await.expect("it answers");
        metrics.lines().any(|line| line.ends_with("open_sessions 0")).then_some(())
    })
    .await;

    for verb in ["list", "top"] {
        let mut terminal = devctl(&alice, &format!("{verb} -w")).terminal(24, 100);
        terminal.shows("second ").await;
        terminal.types("\x03").await;
        terminal.exits(130).await;
    }

    // The last that the cluster tells of it is that it ran.
    let watches = ["list", "top"].map(|verb| devctl(&alice, &format!("{verb} --watch")).start());
    for watch in &watches {
        watch.prints("second ").await;
    }
    devctl(&alice, "delete second --yes").run().await.exits(0);
    for watch in watches {
        watch.prints("Terminating").await;
        watch.kill().await;
    }
}
