//! `DevServerUser`: a person, her keys and her limits.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{LimitRangeSpec, ResourceQuotaSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::{Home, TimeSpan};

/// A person who may log in. The object's name is the login name, and names the user's namespace `dev-NAME`.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "devserver.io",
    version = "v1",
    kind = "DevServerUser",
    doc = "A person who may log in. The object's name is the login name, and names the user's namespace `dev-NAME`.",
    plural = "devserverusers",
    shortname = "dsu",
    status = "DevServerUserStatus",
    derive = "Default",
    derive = "PartialEq",
    validation = Rule::new("self.metadata.name.size() <= 59 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')")
        .message("a user's name has 1 to 59 lower-case letters, digits and inner hyphens; other spellings go to spec.logins"),
    printcolumn = r#"{"name":"Phase","type":"string","jsonPath":".status.phase"}"#,
    printcolumn = r#"{"name":"Disabled","type":"boolean","jsonPath":".spec.disabled","priority":1}"#,
    printcolumn = r#"{"name":"Namespace","type":"string","jsonPath":".status.namespace"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct DevServerUserSpec {
    /// Public keys that may log in as this user, each a line as in OpenSSH's `authorized_keys`. Of the options there,
    /// `from`, `expiry-time`, `command`, `restrict`, `pty`, `permitopen`, `permitlisten`, `cert-authority`,
    /// `principals` and the `no-…` ones hold; a key with any other is refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 16384)))]
    pub public_keys: Vec<String>,
    /// Further login names of this user, such as `Alice.Smith`. No `+`: it stands before a DevServer's name. One that
    /// is another user's name is that user's; of several users who list it, it is that of the oldest object.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 128), regex(pattern = r"^[^\s+:/]+$")))]
    pub logins: Vec<String>,
    /// The user's accounts at code hosts, by the names that these have in `identity.registries`, such as
    /// `github: octocat`. Whatever public keys such an account has may log in as this user.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub accounts: BTreeMap<String, String>,
    /// Whether the user is kept out: no key logs in any more, and open connections end within seconds. DevServers,
    /// homes and what runs in them stay.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disabled: bool,
    /// What the user may do by SSH. A key's options, a certificate and section `ssh` of the settings can only take
    /// away from that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh: Option<SshPolicy>,
    /// What the user's default DevServer is made with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dev_server: Option<DevServerDefaults>,
    /// Limits of the user's namespace. Default: section `provisioning` of the settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quotas: Option<Quotas>,
    /// What the user's DevServers may be. One that is beyond says so in its status; a pod that runs goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<UserLimits>,
    /// Further roles for the user's service account, in the user's namespace alone. Each has to be one that the
    /// operator may `bind`: ClusterRole `bastion-operator` lists them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub role_refs: Vec<UserRoleRef>,
}

impl DevServerUser {
    /// Whether of two users who list the same login it is this one's: that of the older object, and of two of the same
    /// second that of the first name. A newcomer takes nobody's.
    pub fn precedes(&self, other: &Self) -> bool {
        let age = |user: &Self| {
            let ObjectMeta { creation_timestamp, name, .. } = &user.metadata;
            (creation_timestamp.as_ref().map(|created| created.0), name.clone())
        };
        age(self) < age(other)
    }
}

/// What a user's DevServers may be.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct UserLimits {
    /// How many the user may have, suspended ones included. Those with a pod count first, then the oldest.
    /// Default: the operator's `operator.max_devservers`. `0` is none at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", range(min = 0))]
    pub dev_servers: Option<u32>,
    /// Names of the flavors that the user may use. Default: all that are for everybody or for this user.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 253)))]
    pub flavors: Vec<String>,
    /// The longest that one may run, also where it asks for nothing or is extended. `0s`: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_time_to_live: Option<TimeSpan>,
}

/// A role that a user has in the user's own namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct UserRoleRef {
    /// Whether it is a Role of the user's namespace or a ClusterRole.
    pub kind: RoleKind,
    /// Its name.
    #[schemars(length(min = 1, max = 200), regex(pattern = r"^[^/%\s]+$"))]
    pub name: String,
}

/// The kinds of roles.
#[derive(schemars::JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoleKind {
    /// Of the user's namespace.
    Role,
    /// Of the cluster; it holds in the user's namespace alone.
    ClusterRole,
}

/// What a user may do by SSH. A change ends the user's connections; it holds from the next login on.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SshPolicy {
    /// Whether the user may forward ports and sockets (`ssh -L -D -R -W`), and jump to DevServers (`-J`).
    #[serde(default = "yes")]
    pub port_forwarding: bool,
    /// Whether that includes sockets in the file system, either way.
    #[serde(default = "yes")]
    pub stream_local_forwarding: bool,
    /// Where the user may connect to (`-L -D -W -J`), as in OpenSSH's `PermitOpen`: `host:port` each, IPv6 addresses in
    /// brackets, a port being a number or `*`; or one word, `any` or `none`. A host is compared with what the client
    /// asks for, letter by letter and without a look-up, or is `*`. A jump to a DevServer asks for `NAME:22`, by
    /// whichever of its names, and what is forwarded within it is judged again; a port of another DevServer is
    /// `NAME:port`. Sockets in the file system are `*:*` alone. At most 256. Default: `any`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), inner(length(max = 1024), regex(pattern = PLACE_TO_OPEN)))]
    #[x_kube(validation = Rule::new("self.size() == 1 || self.all(word, !(word in ['any', 'none']))")
        .message("any and none stand alone"))]
    pub permit_open: Option<Vec<String>>,
    /// Where the user may have pods listen (`-R`), as in OpenSSH's `PermitListen`: `port` or `host:port` each, or one
    /// word, `any` or `none`. `*` and `?` in a host stand for any others. A port that the pod is to choose (`-R 0:…`)
    /// is `*` alone, and the host is `localhost` where ssh is told none. This says nothing of sockets in the file
    /// system. At most 256. Default: `any`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), inner(length(max = 1024), regex(pattern = PLACE_TO_LISTEN)))]
    #[x_kube(validation = Rule::new("self.size() == 1 || self.all(word, !(word in ['any', 'none']))")
        .message("any and none stand alone"))]
    pub permit_listen: Option<Vec<String>>,
    /// Whether programs in the user's pods may use the ssh-agent of the user's laptop (`ssh -A`).
    #[serde(default = "yes")]
    pub agent_forwarding: bool,
    /// Whether programs in the user's pods may use the display of the user's laptop (`ssh -X`).
    #[serde(default = "yes")]
    pub x11_forwarding: bool,
    /// Whether the user's shells outlive their connections.
    #[serde(default = "yes")]
    pub persistent_shells: bool,
}

impl Default for SshPolicy {
    fn default() -> Self {
        Self {
            port_forwarding: true,
            stream_local_forwarding: true,
            permit_open: None,
            permit_listen: None,
            agent_forwarding: true,
            x11_forwarding: true,
            persistent_shells: true,
        }
    }
}

/// What `identity` understands of these, and nothing else.
const PLACE_TO_OPEN: &str = r"^(any|none|(\[[^\]]*\]|([^\[:/][^:/]*)?)[:/](\*|0*([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])))$";
const PLACE_TO_LISTEN: &str = r"^(any|none|((\[[^\]]*\]|([^\[:/][^:/]*)?):)?(\*|0*([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])))$";

fn yes() -> bool {
    true
}

/// What a user's default DevServer is made with.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct DevServerDefaults {
    /// Name of a DevServerFlavor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub flavor: Option<String>,
    /// Container image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = r"^\S+$"))]
    pub image: Option<String>,
    /// The volume that holds the home folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<Home>,
}

/// Limits of a user's namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Quotas {
    /// Replaces the default ResourceQuota's spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_quota: Option<ResourceQuotaSpec>,
    /// Replaces the default LimitRange's spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_range: Option<LimitRangeSpec>,
}

/// What the operator observed.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct DevServerUserStatus {
    /// Where the user's provisioning is.
    #[serde(default)]
    pub phase: UserPhase,
    /// What it waits for or what went wrong, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The user's namespace, once it is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The spec's generation that this status tells about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`: the namespace and all that is in it are as the spec says. Where there are any, `RolesBound`: so are
    /// `roleRefs`; `KeysReadable`: all lines of `publicKeys` are used; `LoginsUnique`: no other user has one of
    /// `logins`; `AccountsKnown`: all `accounts` can be asked for keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_owned()]))]
    pub conditions: Vec<Condition>,
}

/// Where a user's provisioning is.
#[derive(schemars::JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UserPhase {
    /// Not all is made yet.
    #[default]
    Pending,
    /// The namespace and all that is in it are made.
    Ready,
    /// Something keeps it from being made. The message says what.
    Failed,
}
