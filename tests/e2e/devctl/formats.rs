//! `--output`: programs read the same in JSON and in YAML, and names alone stand one a line.

use serde_json::Value;

use super::{Administrator, devctl, make};
use crate::harness::{FLAVOR, Master, Product, eventually, has_agents, public};

/// Values that YAML would take for something else than text, or for something else than they are.
const TRICKY: &str = "--env A=yes --env B=012 --env C=1e3 --env D=null --env E=2026-01-01 --env 'F=a: b # c' --env 'G= x ' \
                      --env H=- --env 'I=\"' --env J=1:30 --env K= --env L='[a]' --env 'M=%a' --env N=0x1f --env O=~";

#[tokio::test]
async fn what_is_looked_at_is_the_same_in_all_formats() {
    let product = Product::shared().await;
    let (alice, bob) = (product.user("alice").await, product.user("bob").await);
    let _administrator = Administrator::make(&product, &alice).await;
    devctl(&bob, "list").run().await.exits(0);
    bob.add_devserver("lab").await;
    make(&alice, "train", TRICKY).await;
    for (owner, name, guest) in [(&alice, "train", &bob), (&bob, "lab", &alice)] {
        devctl(owner, &format!("share {name} {}", guest.name())).run().await.exits(0);
    }
    eventually("the right is heard of", async || devctl(&alice, "users list").run().await.succeeded().then_some(()))
        .await;
    let master = Master::start(alice.shell()).await;
    let keys = format!("users keys {}", bob.name());
    // Other tests make flavors and users meanwhile.
    let shared = format!("lab.{}", bob.name());
    let ours = ["train", &shared, FLAVOR, alice.name(), bob.name()];
    let tables = ["list", "list --shared", "flavors", "top", "users list"];
    let mut verbs = vec!["describe train", "idle train", "why train", "share train", "whoami", &keys];
    let mut shell = alice.shell_in("train").terminal(24, 100);
    if has_agents() {
        shell.types("echo said:$((40+2))\r").await;
        shell.shows_row("said:42").await;
        verbs.push("shells train");
    }
    for verb in tables.into_iter().chain(verbs) {
        // What changes by itself may do so in between.
        eventually(&format!("the same of {verb}"), async || {
            let (json, yaml) = (told(&master, verb, "json").await, told(&master, verb, "yaml").await);
            let names = printed(&master, verb, "name").await;
            let listed: Vec<String> = names.lines().map(str::to_owned).collect();
            let (json, yaml) = (of(json, &ours), of(yaml, &ours));
            (json == yaml && self::names(&json) == of_names(listed, &ours)).then_some(())
        })
        .await;
    }
    for verb in tables {
        let (table, wide) = (printed(&master, verb, "table").await, printed(&master, verb, "wide").await);
        let mut wide = columns(&wide).into_iter();
        let is_there = |column: &String| wide.any(|other| other == *column);
        assert!(columns(&table).iter().all(is_there), "{verb}: {table}");
    }
    let train = told(&master, "describe train", "yaml").await;
    let values: Vec<&str> =
        train["spec"]["env"].as_array().unwrap().iter().filter_map(|one| one["value"].as_str()).collect();
    assert_eq!(values[..6], ["yes", "012", "1e3", "null", "2026-01-01", "a: b # c"], "{train}");

    // Each is a document of its own.
    let watch = master.ssh("devctl list --watch -o yaml").start();
    watch.prints("---\napiVersion: ").await;
    watch.kill().await;
}

#[tokio::test]
async fn what_is_changed_is_told_in_all_formats() {
    let product = Product::shared().await;
    let (alice, bob) = (product.user("alice").await, product.user("bob").await);
    devctl(&alice, "list").run().await.exits(0);
    let _administrator = Administrator::make(&product, &alice).await;
    eventually("the right is heard of", async || devctl(&alice, "users list").run().await.succeeded().then_some(()))
        .await;
    let master = Master::start(alice.shell()).await;
    for format in ["json", "yaml", "name"] {
        let server = format!("in-{format}");
        for verb in [
            &format!("create {server} --flavor {FLAVOR}"),
            &format!("update {server} --idle-after 2h"),
            &format!("extend {server}"),
            &format!("snooze {server}"),
            &format!("share {server} {}", bob.name()),
            &format!("resume {server}"),
            &format!("suspend {server}"),
            &format!("delete {server} --yes"),
        ] {
            tells_of(&master, verb, format, "DevServer", &server).await;
        }
        let user = format!("{format}-{}", alice.name());
        for verb in [
            &format!("users add {user}"),
            &format!("users keys {user} --add '{}'", public(bob.key()).trim()),
            &format!("users remove {user} --yes"),
        ] {
            tells_of(&master, verb, format, "DevServerUser", &user).await;
        }
    }
}

async fn tells_of(master: &Master, verb: &str, format: &str, kind: &str, name: &str) {
    if format == "name" {
        return assert_eq!(printed(master, verb, format).await, format!("{name}\n"), "{verb}");
    }
    let told = told(master, verb, format).await;
    assert_eq!((told["kind"].as_str(), names(&told)), (Some(kind), vec![name.to_owned()]), "{verb}: {told}");
}

async fn printed(master: &Master, verb: &str, format: &str) -> String {
    master.ssh(&format!("devctl {verb} -o {format}")).run().await.exits(0).text()
}

async fn told(master: &Master, verb: &str, format: &str) -> Value {
    let text = printed(master, verb, format).await;
    let read = match format {
        "json" => serde_json::from_str(&text).map_err(|error| error.to_string()),
        _ => serde_saphyr::from_str(&text).map_err(|error| error.to_string()),
    };
    read.unwrap_or_else(|error| panic!("{verb} -o {format}: {error}: {text}"))
}

/// What of it is of these names.
fn of(mut told: Value, ours: &[&str]) -> Value {
    if let Some(items) = told.get_mut("items").and_then(Value::as_array_mut) {
        items.retain(|item| ours.iter().any(|name| item["metadata"]["name"] == *name));
    }
    told
}

fn of_names(mut names: Vec<String>, ours: &[&str]) -> Vec<String> {
    // A number is a shell's.
    names.retain(|name| ours.contains(&name.as_str()) || name.parse::<u64>().is_ok());
    names
}

/// The names of what is told of.
fn names(told: &Value) -> Vec<String> {
    let lists = [told, &told["items"], &told["devServers"], &told["shared"]];
    if let Some(list) = lists.into_iter().find_map(Value::as_array) {
        return list.iter().flat_map(names).collect();
    }
    let places = [&told["metadata"]["name"], &told["name"], &told["user"], &told["number"]];
    let name = places.into_iter().find(|name| !name.is_null()).unwrap_or_else(|| panic!("it has no name: {told}"));
    vec![name.as_str().map_or_else(|| name.to_string(), str::to_owned)]
}

/// The titles of a table.
fn columns(table: &str) -> Vec<String> {
    let header = table.lines().next().expect("it has a header");
    header.split("  ").map(str::trim).filter(|title| !title.is_empty()).map(str::to_owned).collect()
}
