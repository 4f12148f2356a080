//! What the schemas refuse, and in which words.

use bastion::api::{DevServer, DevServerFlavor, DevServerTeam, DevServerUser};
use kube::api::{ApiResource, DynamicObject, PostParams};
use kube::{Api, Resource};
use serde_json::{Value, json};

use crate::harness::{Product, is_real, skip_unless};

/// A spec that is refused, and why.
type Refusal = (Value, &'static str);

const PATTERN: &str = "in body should match";
const TWICE: &str = "Duplicate value";
const DEVSERVER_NAME: &str = "a name has 1 to 58 lower-case letters, digits and inner hyphens";
const USER_NAME: &str = "a user's name has 1 to 59 lower-case letters, digits and inner hyphens";
const TEAM_NAME: &str = "a team with a volume has a name of 1 to 63 lower-case letters, digits and inner hyphens";

/// Objects of one kind, none of which is made.
struct Kind {
    kind: ApiResource,
    objects: Api<DynamicObject>,
}

impl Kind {
    fn of<K: Resource<DynamicType = ()>>(product: &Product, namespace: Option<&str>) -> Self {
        let kind = ApiResource::erase::<K>(&());
        let objects = match namespace {
            Some(namespace) => Api::namespaced_with(product.client(), namespace, &kind),
            None => Api::all_with(product.client(), &kind),
        };
        Self { kind, objects }
    }

    async fn create(&self, name: &str, spec: &Value) -> Result<(), String> {
        let mut object = DynamicObject::new(name, &self.kind);
        object.data = json!({ "spec": spec });
        let dry_run = PostParams { dry_run: true, ..PostParams::default() };
        self.objects.create(&dry_run, &object).await.map(drop).map_err(|error| error.to_string())
    }

    async fn takes(&self, name: &str, spec: Value) {
        self.create(name, &spec).await.unwrap_or_else(|why| panic!("{} {name} {spec}: {why}", self.kind.kind));
    }

    async fn refuses(&self, name: &str, spec: Value, words: &str) {
        let what = format!("{} {name} {spec}", self.kind.kind);
        match self.create(name, &spec).await {
            Ok(()) => panic!("{what} is taken; it should be refused: {words}"),
            Err(why) => assert!(why.contains(words), "{what}: {why}; expected: {words}"),
        }
    }

    async fn refuses_each(&self, refusals: Vec<Refusal>) {
        for (spec, words) in refusals {
            self.refuses("a", spec, words).await;
        }
    }
}

#[tokio::test]
async fn what_a_devserver_cannot_be_says_so() {
    skip_unless!(is_real(), "the embedded cluster looks at no rules of a schema");
    let product = Product::shared().await;
    let servers = Kind::of::<DevServer>(&product, Some("default"));
    servers.takes(&"a".repeat(58), json!({ "home": { "size": 1073741824 }, "shm": 0 })).await;
    for name in ["a".repeat(59), "a.b".to_owned()] {
        servers.refuses(&name, json!({}), DEVSERVER_NAME).await;
    }
    servers.refuses_each(homes()).await;
    servers.refuses_each(volumes()).await;
    servers.refuses_each(environments()).await;
    servers.refuses_each(the_rest()).await;
}

fn homes() -> Vec<Refusal> {
    let size = "a size is a positive quantity such as 10Gi";
    let refusals = [
        (json!({ "size": "0" }), size),
        (json!({ "size": 0 }), size),
        (json!({ "size": "-1Gi" }), size),
        (json!({ "size": "large" }), size),
        (json!({ "existingClaim": "mine", "size": "1Gi" }), "home.existingClaim has its own size and storageClass"),
        (
            json!({ "existingClaim": "mine", "storageClass": "x" }),
            "home.existingClaim has its own size and storageClass",
        ),
        (
            json!({ "ephemeral": true, "size": "1Gi" }),
            "home.ephemeral goes with no existingClaim, size or storageClass",
        ),
        (json!({ "existingClaim": "dev-bob/dev-home" }), PATTERN),
        (json!({ "existingClaim": "../dev-home" }), PATTERN),
        (json!({ "mountPath": "home" }), PATTERN),
        (json!({ "mountPath": "/a/../b" }), "the path of a home has no . or .. in it"),
        (json!({ "mountPath": "/proc/x" }), "/proc, /sys, /dev and /.bastion are the system's"),
    ];
    refusals.into_iter().map(|(home, words)| (json!({ "home": home }), words)).collect()
}

fn volumes() -> Vec<Refusal> {
    let at = |path: &str| json!([{ "claim": "data", "mountPath": path }]);
    let of = |claim: &str| json!([{ "claim": claim, "mountPath": "/data" }]);
    let many: Vec<Value> = (0..17).map(|n| json!({ "claim": "data", "mountPath": format!("/{n}") })).collect();
    let refusals = [
        (json!([{ "claim": "a", "mountPath": "/data" }, { "claim": "b", "mountPath": "/data" }]), TWICE),
        (at("data"), PATTERN),
        (at("/a/../b"), "the path of a volume has no . or .. in it"),
        (at("/proc"), "/proc, /sys, /dev and /.bastion are the system's; the size of /dev/shm is shm"),
        (of("dev-bob/dev-home"), PATTERN),
        (of("../x"), PATTERN),
        (json!(many), "must have at most 16 items"),
    ];
    let mut refusals: Vec<_> =
        refusals.into_iter().map(|(volumes, words)| (json!({ "volumes": volumes }), words)).collect();
    let same = json!({ "home": { "mountPath": "/h" }, "volumes": at("/h") });
    refusals.push((same, "a volume cannot be at the home's own path"));
    refusals
}

fn environments() -> Vec<Refusal> {
    let secret = |key: &str| json!({ "secretKeyRef": { "name": "tokens", "key": key } });
    let either = "a variable has either a value or a valueFrom";
    let own = "HOME, USER, LOGNAME and SHELL are the session's own; the home's path is home.mountPath";
    let refusals = [
        (json!([{ "name": "A", "value": "1" }, { "name": "A", "value": "2" }]), TWICE),
        (json!([{ "name": "A", "value": "1", "valueFrom": secret("a") }]), either),
        (json!([{ "name": "A" }]), either),
        (json!([{ "name": "A", "valueFrom": secret("a/b") }]), PATTERN),
        (json!([{ "name": "HOME", "value": "/x" }]), own),
        (json!([{ "name": "1A", "value": "" }]), PATTERN),
    ];
    refusals.into_iter().map(|(env, words)| (json!({ "env": env }), words)).collect()
}

fn the_rest() -> Vec<Refusal> {
    let shm = "the size of shm is 0 or a positive quantity such as 8Gi";
    let program = "the first word of the command names a program";
    let token = "automountServiceAccountToken is for DevServers that nobody else works in";
    let guests: Vec<Value> = (0..33).map(|n| json!({ "user": format!("guest-{n}") })).collect();
    vec![
        (json!({ "image": "two words" }), PATTERN),
        (json!({ "flavor": "" }), "at least 1 chars"),
        (json!({ "command": [""] }), program),
        (json!({ "command": [] }), "at least 1 items"),
        (json!({ "shm": "-1Gi" }), shm),
        (json!({ "shm": -1 }), shm),
        (json!({ "shm": "some" }), shm),
        (json!({ "user": { "uid": -1 } }), "should be greater than or equal to 0"),
        (json!({ "user": { "gid": 2147483648_u32 } }), "should be less than or equal to 2147483647"),
        (json!({ "startupScript": "x".repeat((64 << 10) + 1) }), "may not be more than 65536"),
        (json!({ "lifecycle": { "timeToLive": "soon" } }), PATTERN),
        (json!({ "lifecycle": { "idle": { "after": "1 h" } } }), PATTERN),
        (json!({ "lifecycle": { "extendedUntil": "9999-12-31T00:00:00Z" } }), PATTERN),
        (json!({ "lifecycle": { "snoozedUntil": "2030-01-01T00:00:00+99:99" } }), PATTERN),
        (json!({ "share": [{ "user": "bob" }, { "user": "bob", "readOnly": true }] }), TWICE),
        (json!({ "share": [{ "user": "Bob" }] }), PATTERN),
        (json!({ "share": guests }), "must have at most 32 items"),
        (json!({ "automountServiceAccountToken": true, "share": [{ "user": "bob" }] }), token),
    ]
}

#[tokio::test]
async fn what_a_user_cannot_be_says_so() {
    skip_unless!(is_real(), "the embedded cluster looks at no rules of a schema");
    let product = Product::shared().await;
    let users = Kind::of::<DevServerUser>(&product, None);
    users.takes(&"a".repeat(59), json!({ "limits": { "devServers": 0 }, "ssh": { "permitOpen": ["none"] } })).await;
    for name in ["a".repeat(60), "a.b".to_owned()] {
        users.refuses(&name, json!({}), USER_NAME).await;
    }
    users
        .refuses_each(vec![
            (json!({ "publicKeys": [""] }), "at least 1 chars"),
            (json!({ "logins": ["alice+dev"] }), PATTERN),
            (json!({ "devServer": { "image": "two words" } }), PATTERN),
            (json!({ "devServer": { "home": { "size": "-1" } } }), "a size is a positive quantity such as 10Gi"),
            (json!({ "limits": { "devServers": -1 } }), "should be greater than or equal to 0"),
            (json!({ "limits": { "devServers": 4294967295_u32 } }), "devServers"),
            (json!({ "limits": { "maxTimeToLive": "long" } }), PATTERN),
            (json!({ "roleRefs": [{ "kind": "User", "name": "admin" }] }), "Unsupported value"),
            (json!({ "roleRefs": [{ "kind": "Role", "name": "a/b" }] }), PATTERN),
            (json!({ "ssh": { "permitOpen": ["any", "x:1"] } }), "any and none stand alone"),
            (json!({ "ssh": { "permitListen": ["none", "1"] } }), "any and none stand alone"),
            (json!({ "ssh": { "permitOpen": ["x"] } }), PATTERN),
            (json!({ "ssh": { "permitListen": ["65536"] } }), PATTERN),
        ])
        .await;
}

#[tokio::test]
async fn what_a_team_cannot_be_says_so() {
    skip_unless!(is_real(), "the embedded cluster looks at no rules of a schema");
    let product = Product::shared().await;
    let teams = Kind::of::<DevServerTeam>(&product, None);
    let at = |path: &str| json!({ "volume": { "persistentVolume": "data", "mountPath": path } });
    teams.takes(&"a".repeat(63), at("/data")).await;
    teams.takes("a.b", json!({})).await;
    for name in ["a".repeat(64), "a.b".to_owned()] {
        teams.refuses(&name, at("/data"), TEAM_NAME).await;
    }
    teams
        .refuses_each(vec![
            (json!({ "members": [""] }), "at least 1 chars"),
            (json!({ "volume": { "persistentVolume": "a/b" } }), PATTERN),
            (at("data"), PATTERN),
            (at("/a/.."), "the path of a volume has no . or .. in it"),
            (at("/dev/x"), "/proc, /sys, /dev and /.bastion are the system's"),
        ])
        .await;
}

#[tokio::test]
async fn what_a_flavor_cannot_be_says_so() {
    skip_unless!(is_real(), "the embedded cluster looks at no rules of a schema");
    let product = Product::shared().await;
    let flavors = Kind::of::<DevServerFlavor>(&product, None);
    let gpu = "nvidia.com/gpu";
    let requests = json!({ "cpu": "500m", "memory": "1Gi", gpu: "1" });
    let limits = json!({ "cpu": 4, "memory": "1024Mi", gpu: "1" });
    flavors.takes("a", json!({ "resources": { "requests": requests, "limits": limits } })).await;
    flavors.takes("a", json!({ "resources": {} })).await;
    let amount = "an amount is a quantity such as 4, 500m or 8Gi";
    let whole = "devices such as nvidia.com/gpu are counted in whole numbers";
    let limited = "devices such as nvidia.com/gpu belong in limits; what requests say of them has to be the same";
    let above = "no request can be above its limit";
    let resources = [
        (json!({ "limits": { gpu: "banana" } }), amount),
        (json!({ "limits": { "cpu": "-1" } }), amount),
        (json!({ "limits": { "cpu": -1 } }), amount),
        (json!({ "requests": { "memory": "8 Gi" } }), amount),
        (json!({ "limits": { gpu: "500m" } }), whole),
        (json!({ "limits": { gpu: "0.5" } }), whole),
        (json!({ "requests": { gpu: "1" } }), limited),
        (json!({ "requests": { gpu: "1" }, "limits": { "cpu": "1" } }), limited),
        (json!({ "requests": { gpu: "1" }, "limits": { gpu: "2" } }), limited),
        (json!({ "requests": { "memory": "2Gi" }, "limits": { "memory": "1Gi" } }), above),
        (json!({ "requests": { "cpu": 2 }, "limits": { "cpu": "1500m" } }), above),
        (json!({ "requests": { "cpu": "1500m" }, "limits": { "cpu": 1 } }), above),
    ];
    let refusals = resources.into_iter().map(|(resources, words)| (json!({ "resources": resources }), words));
    flavors.refuses_each(refusals.collect()).await;
    let data = |path: &str| json!({ "claim": "data", "mountPath": path });
    flavors
        .refuses_each(vec![
            (json!({ "resources": {}, "runtimeClassName": "A" }), PATTERN),
            (json!({ "resources": {}, "timeLimit": "long" }), PATTERN),
            (json!({ "resources": {}, "allowedUsers": [""] }), "at least 1 chars"),
            (json!({ "resources": {}, "volumes": [data("/a"), data("/a")] }), TWICE),
            (json!({ "resources": {}, "volumes": [data("/sys")] }), "are the system's"),
        ])
        .await;
}
