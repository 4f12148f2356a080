//! `devctl --context …`: what an administrator does by her kubeconfig to a DevServer and to users.

use bastion::api::DevServer;
use serde_json::Value;

use super::Desk;
use super::cluster::Office;
use crate::harness::{FLAVOR, Product, eventually, has_agents, keygen, public};

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[tokio::test]
async fn a_devserver_lives_by_a_kubeconfig() {
    let product = Product::shared().await;
    let (alice, bob) = (product.user("alice").await, product.user("bob").await);
    let office = Office::of(&product, &alice);
    let asked = async |words: &str| office.devctl(&words.split(' ').collect::<Vec<_>>()).await;
    // What is advised asks the same cluster.
    let again = format!("`devctl --context ours --namespace {}", alice.namespace());
    asked("list").await.exits(0).prints("").says(&format!("{again} create NAME`"));
    let mut nowhere = office.desk.command(&["create", "x", "--context", "ours", "-n", "dev-nobody"]);
    nowhere.env_remove("KUBECONFIG");
    Desk::finish(nowhere).await.exits(3).says("there is no namespace dev-nobody").says("users list`");
    office.desk.laptop.write("setup.sh", "#!/bin/sh\necho set up >sign\n");
    let watch = office.terminal(&["list", "--watch"]);
    watch.shows("NAME").await;

    let create =
        format!("create train --flavor {FLAVOR} --env COLOUR=blue --time 4h --startup-script setup.sh -w -o json");
    let words = [&create.split(' ').collect::<Vec<_>>()[..], &["--command", "sh", "-c", "echo one; exec sleep 1000"]];
    let made = office.devctl(&words.concat()).await;
    let made = json(&made.exits(0).says(&format!("`train` runs; {again} ssh train`")).text());
    assert_eq!((&made["status"]["phase"], &made["spec"]["lifecycle"]["timeToLive"]), (&"Running".into(), &"4h".into()));
    watch.shows("train ").await;
    let top = office.terminal(&["top", "--watch"]);
    top.shows("train ").await;
    let mut log = office.terminal(&["logs", "--follow", "train"]);
    log.shows_row("one").await;
    let why = asked("why train").await.exits(0).text();
    assert!(why.contains(&format!("{again} ssh train`")), "{why}");
    asked("logs train --tail 1").await.exits(0).prints("one\n");
    asked("logs nope").await.exits(3).prints("").says("you have no DevServer `nope`");

    asked("update train --env COLOUR=red --wait").await.exits(0).says("it restarts").says("`train` runs");
    office.devctl(&["exec", "train", "--", "sh", "-c", "echo $COLOUR"]).await.exits(0).prints("red\n");
    let extended = asked("extend train --time 2h -o json").await;
    assert!(json(&extended.exits(0).text())["spec"]["lifecycle"]["extendedUntil"].is_string());
    asked("snooze train --time 2h").await.exits(0).says_exactly("").prints_line("`train` will not be suspended");

    let share = format!("share train {}", bob.name());
    let way = format!("ssh {}+train.{}@BASTION", bob.name(), alice.name());
    asked(&share).await.exits(0).says(&way);
    asked("share train").await.exits(0).prints_line(bob.name());
    asked(&format!("{share} --remove")).await.exits(0).says("may not enter `train` any more");
    if has_agents() {
        let mut shell = alice.shell_in("train").terminal(24, 100);
        shell.types("echo said:$((40+2))\r").await;
        shell.shows_row("said:42").await;
        assert_eq!(json(&asked("shells train -o json").await.exits(0).text())[0]["number"], 1);
        let onlooker = office.terminal(&["shells", "train", "1", "--read-only"]);
        onlooker.shows_row("said:42").await;
        onlooker.kill().await;
        shell.kill().await;
    }

    asked("suspend train").await.exits(0).says("is being suspended");
    watch.shows("Suspended").await;
    top.shows("Suspended").await;
    asked("resume train --wait -o name").await.exits(0).prints("train\n").says("`train` runs");
    asked("resume train").await.exits(0).says("is not suspended");
    asked("delete train --with-home --yes").await.exits(0).says("its home train-home are deleted");
    watch.shows("Terminating").await;
    for mut terminal in [watch, top] {
        terminal.types("\x03").await;
        terminal.exits(130).await;
    }
    // The pod that it followed ended when it was made anew.
    log.exits(0).await;
}

#[tokio::test]
async fn an_administrator_is_asked_on_her_own_terminal() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let office = Office::of(&product, &alice);
    let mut create = office.terminal(&["create"]);
    for (question, answer) in [
        ("Name:", "asked\r"),
        ("Flavor [the default]:", &format!("{FLAVOR}\r")),
        ("Image [the default]:", "\r"),
        ("For how long", "6h\r"),
    ] {
        create.shows(question).await;
        create.types(answer).await;
    }
    create.shows("`asked` runs").await;
    create.exits(0).await;
    let spec = alice.has::<DevServer>("asked").await.spec;
    assert_eq!((spec.flavor.as_deref(), spec.image), (Some(FLAVOR), None));
    let flavors = office.devctl(&["flavors", "-o", "name"]).await.exits(0).text();
    assert!(flavors.lines().any(|line| line == FLAVOR), "{flavors}");
    let mut delete = office.terminal(&["delete", "asked"]);
    delete.shows("Delete `asked`?").await;
    delete.types("y\r").await;
    delete.shows("`asked` is deleted").await;
    delete.exits(0).await;
}

#[tokio::test]
async fn users_come_and_go_by_a_kubeconfig() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let office = Office::of(&product, &alice);
    let asked = async |words: &str| office.devctl(&words.split(' ').collect::<Vec<_>>()).await;
    let carol = product.stranger("carol");
    let further = keygen(product.folder(), &format!("{}-further", carol.name()), "ed25519");
    office.desk.laptop.write("further.pub", public(&further));

    let mut add = office.command(&["users", "add", carol.name(), "--key", "-"]);
    add.stdin(std::fs::File::open(carol.key().with_extension("pub")).expect("ssh-keygen wrote it"));
    Desk::finish(add).await.exits(0).says("is added and may log in");
    carol.is_known_at(product.front()).await;
    let list = asked("users list").await.exits(0).text();
    assert!(list.lines().any(|line| line.starts_with(carol.name())), "{list}");
    let before = json(&asked(&format!("users keys {} -o json", carol.name())).await.exits(0).text());
    let mut keys = office.command(&["users", "keys", carol.name(), "--add", "-", "-o", "json"]);
    keys.stdin(std::fs::File::open(office.desk.laptop.path("further.pub")).expect("it was written"));
    let after = json(&Desk::finish(keys).await.exits(0).text());
    let count = |user: &Value| user["spec"]["publicKeys"].as_array().map(Vec::len);
    assert_eq!((count(&before), count(&after)), (Some(1), Some(2)));
    let remove = format!("users remove {}", carol.name());
    asked(&remove).await.exits(2).says("`--yes` says so");
    asked(&format!("{remove} --yes")).await.exits(0).says("is removed");
    eventually("she may not log in", async || {
        let refused = carol.ssh("devctl version").run().await;
        (!refused.succeeded()).then_some(())
    })
    .await;
}
