//! `DevServer`: one development server of one user, in her namespace.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::flavor::READABLE;
use super::{Activity, EnvVar, IdleRule, LastEnd, Lifecycle, Share, StartStep, Suspension, Volume};

/// Bytes of a startup script; of characters, which the schema counts, there may be as many.
pub const MAX_STARTUP_SCRIPT: usize = 64 << 10;

/// A development server: a pod with a home that outlives it. Its owner enters it with `ssh USER+NAME@bastion`.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "devserver.io",
    version = "v1",
    kind = "DevServer",
    doc = "A development server: a pod with a home that outlives it.",
    plural = "devservers",
    shortname = "dsv",
    namespaced,
    status = "DevServerStatus",
    derive = "Default",
    derive = "PartialEq",
    validation = Rule::new("self.metadata.name.size() <= 58 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')")
        .message("a name has 1 to 58 lower-case letters, digits and inner hyphens"),
    printcolumn = r#"{"name":"Flavor","type":"string","jsonPath":".spec.flavor"}"#,
    printcolumn = r#"{"name":"Image","type":"string","jsonPath":".spec.image"}"#,
    printcolumn = r#"{"name":"Phase","type":"string","jsonPath":".status.phase"}"#,
    printcolumn = r#"{"name":"Message","type":"string","jsonPath":".status.message","priority":1}"#,
    printcolumn = r#"{"name":"In Use","type":"string","jsonPath":".status.activity.awake","priority":1}"#,
    printcolumn = r#"{"name":"Last Use","type":"date","jsonPath":".status.activity.lastUseTime","priority":1}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[x_kube(validation = Rule::new(
    "(has(self.home) && has(self.home.storageClass) ? self.home.storageClass : '') == (has(oldSelf.home) && has(oldSelf.home.storageClass) ? oldSelf.home.storageClass : '')"
).message("home.storageClass cannot change, nor be set later: a volume cannot move to another class; make another DevServer"))]
#[x_kube(validation = Rule::new(
    "has(self.volumes) && has(self.home) && has(self.home.mountPath) ? self.volumes.all(volume, volume.mountPath != self.home.mountPath) : true"
).message("a volume cannot be at the home's own path"))]
#[x_kube(validation = Rule::new(
    "(has(self.home) && has(self.home.ephemeral) && self.home.ephemeral) == (has(oldSelf.home) && has(oldSelf.home.ephemeral) && oldSelf.home.ephemeral)"
).message("home.ephemeral cannot change: make another DevServer"))]
#[x_kube(validation = Rule::new(
    "(has(self.home) && has(self.home.existingClaim) ? self.home.existingClaim : '') == (has(oldSelf.home) && has(oldSelf.home.existingClaim) ? oldSelf.home.existingClaim : '')"
).message("home.existingClaim cannot change: a home does not move to another volume; make another DevServer"))]
#[x_kube(validation = Rule::new(
    "!(has(self.automountServiceAccountToken) && self.automountServiceAccountToken && has(self.share) && self.share.exists(guest, !has(guest.readOnly) || !guest.readOnly))"
).message("automountServiceAccountToken is for DevServers that nobody else works in (share): a guest could act as the owner"))]
#[serde(rename_all = "camelCase")]
pub struct DevServerSpec {
    /// Name of the DevServerFlavor that sizes the pod. Default: the flavor that is marked as default.
    /// Changing it restarts the pod; the home stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub flavor: Option<String>,
    /// Container image, any that runs Linux programs. Default: the operator's `operator.image`.
    /// Changing it restarts the pod; the home stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = r"^\S+$"))]
    pub image: Option<String>,
    /// The volume that holds the home folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<Home>,
    /// A program that runs beside the sessions, as argv, after the startup script; when it ends the container restarts.
    /// Default: none. Where the pod has no agent it is the pod's first process; the default is then a shell that
    /// waits, so an image without one needs a program here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), inner(length(max = 65536)))]
    #[x_kube(validation = Rule::new("self.size() > 0 && self[0] != ''").message("the first word of the command names a program"))]
    pub command: Option<Vec<String>>,
    /// Variables for every program in the pod, the sessions' included, beside those of the image. At most 256, each
    /// name once. Changing them restarts the pod; the home stays.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".to_owned()]))]
    pub env: Vec<EnvVar>,
    /// Size of `/dev/shm`, where the workers of a data loader and the like share memory. What is in it counts as memory
    /// that the container uses. Default: half of the memory limit, be it the flavor's or the namespace's. `0`: the
    /// container runtime's own, commonly 64Mi. Changing it restarts the pod; the home stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new(READABLE)
        .message("the size of shm is 0 or a positive quantity such as 8Gi"))]
    pub shm: Option<Quantity>,
    /// Claims of the namespace to mount beside the home, at most 16, each path once. Those of the flavor are mounted
    /// too, but where both name one path. Changing them restarts the pod; the home stays.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["mountPath".to_owned()]))]
    pub volumes: Vec<Volume>,
    /// Whether the volumes of the owner's teams are mounted; guests (`share`) reach them, too. One that `volumes` names
    /// is mounted in any case. Default: yes. Changing it restarts the pod; the home stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mount_team_volumes: Option<bool>,
    /// Whom the programs of the pod run as. Default: whom the image says. Changing it restarts the pod; the home stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<RunAs>,
    /// A script that runs in the container each time it starts, as its user and in the home, before sessions can enter:
    /// what its first line names runs it (`#!/usr/bin/env bash`), else `/bin/sh`. Its output is kept in
    /// `~/.bastion/startup.log`, or `/tmp/bastion-startup.log` where the home takes none. One that fails, or takes
    /// longer than 30 minutes, keeps nobody out: sessions can enter then, and the status and the next login show the
    /// end of its output. The pod's `command` starts after it. Needs the agent (`operator.agent`). Who may see the
    /// DevServer can read it: passwords belong in a Secret. At most 64 KiB. Changing it restarts the pod; the home
    /// stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = MAX_STARTUP_SCRIPT))]
    pub startup_script: Option<String>,
    /// Whether the pod has the token of its owner's service account, where Kubernetes' clients look for it. Whatever
    /// runs there can then do by the API what the owner can do by `devctl`: ClusterRole `dev-user` and the `roleRefs`
    /// of the owner's DevServerUser, in the owner's namespace alone. So it is for DevServers that nobody else may work
    /// in (`share`). Default: no. Changing it restarts the pod; the home stays.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub automount_service_account_token: bool,
    /// When it runs and when it is suspended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<Lifecycle>,
    /// Who else may enter it, at most 32, each once. Removing somebody ends their sessions within seconds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["user".to_owned()]))]
    pub share: Vec<Share>,
}

/// Whom the programs of a pod run as.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RunAs {
    /// The user's number. Default: the image's own user; where the cluster lets nobody be root (Pod Security
    /// `restricted`), the operator's `operator.restricted_uid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2147483647))]
    pub uid: Option<i64>,
    /// The group's number; it may write in the home. Default: the image's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2147483647))]
    pub gid: Option<i64>,
    /// Whether programs may gain rights that their user lacks, as sudo does where the image has it. Default: yes, and
    /// no where the cluster lets nobody be root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sudo: Option<bool>,
}

/// The volume that holds a home folder. It is kept when the DevServer is deleted.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[x_kube(validation = Rule::new("!(has(self.existingClaim) && (has(self.size) || has(self.storageClass)))")
    .message("home.existingClaim has its own size and storageClass"))]
#[x_kube(validation = Rule::new(
    "!(has(self.ephemeral) && self.ephemeral) || !(has(self.existingClaim) || has(self.size) || has(self.storageClass))"
).message("home.ephemeral goes with no existingClaim, size or storageClass"))]
#[serde(rename_all = "camelCase")]
pub struct Home {
    /// Size of the claim. Default: the operator's `operator.home_size`, for a claim that is made. It can grow where the
    /// storage class allows it, and cannot shrink.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("type(self) == int ? self > 0 : isQuantity(self) && quantity(self).isGreaterThan(quantity('0'))")
        .message("a size is a positive quantity such as 10Gi"))]
    #[x_kube(validation = Rule::new(NO_SMALLER)
        .message("home.size cannot shrink: a volume only grows; without a size the home keeps the one that it has"))]
    pub size: Option<Quantity>,
    /// Storage class of the claim; it cannot change afterwards, nor be set later. Default: the cluster's default class.
    /// A home that an earlier DevServer of this name left keeps the class it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub storage_class: Option<String>,
    /// Name of a claim of the namespace that is the home, instead of one made for it. Nothing here makes, grows or
    /// deletes it. It cannot change afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub existing_claim: Option<String>,
    /// Whether the home goes with the pod: no claim, and an empty home after each restart of the pod. It cannot change
    /// afterwards. Default: no.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ephemeral: bool,
    /// Absolute path of the home in the pod, and its `HOME`. Default: the operator's `operator.home_mount_path`,
    /// `/home/dev` if nobody changed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512), regex(pattern = r"^(/[^/:]+)+$"))]
    #[x_kube(validation = Rule::new("!self.split('/').exists(part, part == '.' || part == '..')")
        .message("the path of a home has no . or .. in it"))]
    #[x_kube(validation = Rule::new("!self.matches('^/(proc|sys|dev|[.]bastion)(/|$)')")
        .message("/proc, /sys, /dev and /.bastion are the system's"))]
    pub mount_path: Option<String>,
}

/// A new size against the one before, each a number or a quantity in any writing. What was written before sizes were
/// looked at may be neither.
const NO_SMALLER: &str = "type(oldSelf) != int && !isQuantity(oldSelf) || \
    !(type(self) == int ? quantity('0').add(self) : quantity(self))\
    .isLessThan(type(oldSelf) == int ? quantity('0').add(oldSelf) : quantity(oldSelf))";

/// What the operator observed.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct DevServerStatus {
    /// Where the DevServer is in its life.
    #[serde(default)]
    pub phase: Phase,
    /// What it waits for or what went wrong, in a sentence for its owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The pod that sessions enter; set while the phase is Running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_name: Option<String>,
    /// The UID of that pod: one that replaces it has the same name.
    #[serde(rename = "podUID", default, skip_serializing_if = "Option::is_none")]
    pub pod_uid: Option<String>,
    /// Whether bastion-agent runs in that pod. Without it sessions are plain execs: no sftp, no forwards, no shells
    /// that outlive their connections, no startup script, and the DevServer is never found idle.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub agent: bool,
    /// How its pod is used, as the pod's agent measures it. The SSH server writes it: once a minute at most, but for
    /// the use that puts off a suspension, and every few minutes while it looks at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activity: Option<Activity>,
    /// When it was last made or resumed; its time to live counts from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// When its time to live is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiration_time: Option<Time>,
    /// What happens when nobody uses it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<IdleRule>,
    /// That it is suspended, or when and why it will be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspension: Option<Suspension>,
    /// How its pod last ended unasked. The next login is told, once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_end: Option<LastEnd>,
    /// Up to when logins were told what happened: of the last end, and of a startup script that failed. The SSH server
    /// writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told_time: Option<Time>,
    /// When its pod reached what, on the way to readiness.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".to_owned()]))]
    pub steps: Vec<StartStep>,
    /// The spec's generation that this status tells about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`: sessions can enter. `StartupScript`: the startup script succeeded, where there is one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_owned()]))]
    pub conditions: Vec<Condition>,
}

impl DevServerStatus {
    /// How its pod last ended, where the message does not say so itself.
    pub fn untold_end(&self) -> Option<&LastEnd> {
        let is_told = |end: &LastEnd| self.message.as_ref().is_some_and(|message| message.contains(&end.message));
        self.last_end.as_ref().filter(|end| !is_told(end))
    }
}

/// Where a DevServer is in its life.
#[derive(schemars::JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Waits for something: a node, a volume, a quota. The message says for what.
    #[default]
    Pending,
    /// On a node: its image is pulled, its container starts.
    Starting,
    /// Sessions can enter.
    Running,
    /// Cannot run until its owner changes something. The message says what.
    Failed,
    /// It has no pod, and its home is kept if it is not ephemeral. A login resumes it.
    Suspended,
    /// Being deleted.
    Terminating,
}
