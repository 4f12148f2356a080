//! What people may ask for, and what they ask for in the end. History must not matter to the latter, so it asks for
//! nothing that a running pod outlives by design, such as a flavor that is gone or a limit that is passed, and for
//! nothing that cannot run.

use serde_json::{Value, json};

use super::dice::Dice;
use crate::api::names;

pub(super) const USERS: [&str; 3] = ["alice", "bob", "carol"];
pub(super) const SERVERS: [&str; 2] = ["dev", "train"];
pub(super) const FLAVORS: [&str; 2] = ["large", "small"];
pub(super) const TEAMS: [&str; 2] = ["blue", "red"];
/// A claim that is there for all of a namespace.
pub(super) const DATA: &str = "data";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    User,
    Flavor,
    Team,
    Server,
}

/// A spec under its name. Only servers have a namespace.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub(super) kind: Kind,
    pub(super) namespace: String,
    pub(super) name: String,
    /// None: there shall be no such object.
    pub(super) spec: Option<Value>,
}

#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) wishes: Vec<Wish>,
}

impl Model {
    /// What is asked for in the end: a word about everything there may be.
    pub(super) fn last(dice: &mut Dice) -> Self {
        let mut wishes = Vec::new();
        for (kind, namespace, name) in everything() {
            let may_miss = matches!(kind, Kind::Team | Kind::Server);
            let spec = (!may_miss || !dice.once_in(4)).then(|| possible(spec(kind, &name, &namespace, dice)));
            wishes.push(Wish { kind, namespace, name, spec });
        }
        dice.shuffle(&mut wishes);
        Self { wishes }
    }

    /// The spec of `user`'s server `name`.
    pub(super) fn server(&self, namespace: &str, name: &str) -> Option<&Value> {
        let is_it = |wish: &&Wish| wish.kind == Kind::Server && wish.namespace == namespace && wish.name == name;
        self.wishes.iter().find(is_it)?.spec.as_ref()
    }
}

impl Wish {
    pub(super) fn any(dice: &mut Dice) -> Self {
        let (kind, namespace, name) = match dice.below(8) {
            0 => dice.one_of(&everything().into_iter().filter(|(kind, ..)| *kind == Kind::User).collect::<Vec<_>>()),
            1 => dice.one_of(&everything().into_iter().filter(|(kind, ..)| *kind == Kind::Flavor).collect::<Vec<_>>()),
            2 => dice.one_of(&everything().into_iter().filter(|(kind, ..)| *kind == Kind::Team).collect::<Vec<_>>()),
            _ => dice.one_of(&everything().into_iter().filter(|(kind, ..)| *kind == Kind::Server).collect::<Vec<_>>()),
        };
        let spec = (!dice.once_in(4)).then(|| spec(kind, &name, &namespace, dice));
        Self { kind, namespace, name, spec }
    }
}

fn everything() -> Vec<(Kind, String, String)> {
    let cluster = |kind: Kind, names: &[&str]| -> Vec<_> {
        names.iter().map(|name| (kind, String::new(), (*name).to_owned())).collect()
    };
    let mut all = cluster(Kind::User, &USERS);
    all.extend(cluster(Kind::Flavor, &FLAVORS));
    all.extend(cluster(Kind::Team, &TEAMS));
    for user in USERS {
        all.extend(SERVERS.map(|server| (Kind::Server, names::namespace(user), server.to_owned())));
    }
    all
}

/// `spec` without what keeps somebody out.
fn possible(mut spec: Value) -> Value {
    // These are words of one kind each; the embedded cluster's pods have no agent that could run a script.
    for field in ["allowedUsers", "startupScript"] {
        spec.as_object_mut().unwrap().remove(field);
    }
    if let Some(limits) = spec.get_mut("limits") {
        *limits = json!({ "maxTimeToLive": limits["maxTimeToLive"] });
    }
    spec
}

fn spec(kind: Kind, name: &str, namespace: &str, dice: &mut Dice) -> Value {
    match kind {
        Kind::User => user(dice),
        Kind::Flavor => flavor(name, dice),
        Kind::Team => team(name, dice),
        Kind::Server => server(name, namespace, dice),
    }
}

fn user(dice: &mut Dice) -> Value {
    let roles = [json!([]), json!([{ "kind": "Role", "name": "trainer" }])];
    json!({
        "disabled": dice.once_in(2),
        "quotas": quota(dice, "2"),
        "limits": {
            "devServers": dice.one_of(&[0, 1, 9]), "maxTimeToLive": dice.one_of(&["50h", "60h"]),
            "flavors": dice.one_of(&[json!([]), json!(["small"])]),
        },
        "roleRefs": dice.one_of(&roles),
    })
}

/// Its volume is a PersistentVolume of its name.
fn team(name: &str, dice: &mut Dice) -> Value {
    let mut spec = json!({ "members": dice.some_of(&USERS), "quotas": quota(dice, "1") });
    if dice.once_in(2) {
        spec["volume"] = json!({ "persistentVolume": name, "readOnly": dice.once_in(2) });
    }
    if dice.once_in(3) {
        spec["volume"]["persistentVolume"] = json!(name);
        spec["volume"]["mountPath"] = json!("/shared");
    }
    spec
}

fn quota(dice: &mut Dice, digit: &str) -> Value {
    match dice.once_in(2) {
        true => Value::Null,
        false => json!({ "resourceQuota": { "hard": { "pods": format!("{digit}{}", dice.below(3)) } } }),
    }
}

/// The small one is the default.
fn flavor(name: &str, dice: &mut Dice) -> Value {
    let mut spec = json!({
        "default": name == "small",
        "resources": { "limits": { "cpu": dice.one_of(&["1", "2"]) } },
    });
    if dice.once_in(3) {
        spec["volumes"] = json!([{ "claim": DATA, "mountPath": "/shared", "readOnly": dice.once_in(2) }]);
    }
    if dice.once_in(3) {
        spec["allowedUsers"] = json!(dice.some_of(&USERS));
    }
    if dice.once_in(3) {
        spec["timeLimit"] = json!(dice.one_of(&["20h", "30h"]));
    }
    if dice.once_in(3) {
        spec["tolerations"] = json!([{ "key": dice.one_of(&["gpu", "spot"]), "operator": "Exists" }]);
    }
    spec
}

/// What cannot change afterwards is a matter of the name.
fn home(namespace: &str) -> Value {
    match namespace {
        "dev-alice" => json!({ "existingClaim": DATA }),
        "dev-bob" => json!({ "ephemeral": true }),
        _ => json!({ "size": "2Gi", "mountPath": "/home/train" }),
    }
}

fn server(name: &str, namespace: &str, dice: &mut Dice) -> Value {
    let mut spec = json!({
        "flavor": dice.one_of(&[None, Some("small"), Some("large")]),
        "image": dice.one_of(&[None, Some("one"), Some("two")]),
        "home": (name == "train").then(|| home(namespace)),
        "lifecycle": { "suspended": dice.once_in(3) },
    });
    if dice.once_in(3) {
        spec["lifecycle"]["timeToLive"] = json!(dice.one_of(&["4h", "40h"]));
        spec["lifecycle"]["idle"] = json!({ "action": dice.one_of(&["None", "Suspend"]), "after": "3h" });
    }
    if dice.once_in(3) {
        let field = dice.one_of(&["extendedUntil", "snoozedUntil"]);
        spec["lifecycle"][field] = json!(dice.one_of(&["2020-01-01T00:00:00Z", "2120-01-01T00:00:00Z"]));
    }
    if dice.once_in(3) {
        spec["command"] = json!(["sleep", dice.one_of(&["7000", "8000"])]);
    }
    if dice.once_in(4) {
        spec["startupScript"] = json!("true");
    }
    if dice.once_in(3) {
        spec["shm"] = json!(dice.one_of(&["0", "1Gi"]));
    }
    if dice.once_in(3) {
        spec["user"] = json!({ "gid": dice.one_of(&[1000, 2000]), "sudo": dice.once_in(2) });
    }
    if dice.once_in(3) {
        spec["mountTeamVolumes"] = json!(dice.once_in(2));
    }
    if dice.once_in(3) {
        spec["automountServiceAccountToken"] = json!(true);
    }
    if dice.once_in(3) {
        spec["env"] = json!([{ "name": "WISH", "value": dice.one_of(&["a", "b"]) }]);
    }
    if dice.once_in(3) {
        spec["volumes"] = json!([{ "claim": DATA, "mountPath": "/data", "readOnly": dice.once_in(2) }]);
    }
    let others: Vec<&str> = USERS.into_iter().filter(|user| names::namespace(user) != namespace).collect();
    let share = |dice: &mut Dice, user| json!({ "user": user, "readOnly": dice.once_in(3) });
    spec["share"] = dice.some_of(&others).into_iter().map(|user| share(dice, user)).collect();
    // Who works in it could act as its owner.
    if spec["share"].as_array().is_some_and(|guests| guests.iter().any(|guest| guest["readOnly"] == false)) {
        spec["automountServiceAccountToken"] = json!(false);
    }
    spec
}
