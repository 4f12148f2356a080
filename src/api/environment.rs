//! Variables of the environment, in Kubernetes' own shape.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// A variable of the environment of every program in the pod.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.value) != has(self.valueFrom)").message("a variable has either a value or a valueFrom"))]
pub struct EnvVar {
    /// Its name: letters, digits, `_`, `-` and `.`, no digit first. `HOME`, `USER`, `LOGNAME` and `SHELL` are the
    /// session's own and refused; the home's path is `home.mountPath`.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z][-._a-zA-Z0-9]*$"))]
    #[x_kube(validation = Rule::new("!(self in ['HOME', 'USER', 'LOGNAME', 'SHELL'])")
        .message("HOME, USER, LOGNAME and SHELL are the session's own; the home's path is home.mountPath"))]
    pub name: String,
    /// Its value. `$(NAME)` stands for a variable further up in the list, `$$(NAME)` for the text `$(NAME)`.
    /// Anyone who may read the DevServer can read it: put passwords in a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32768))]
    pub value: Option<String>,
    /// Where its value is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_from: Option<EnvVarSource>,
}

/// Where the value of a variable is.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct EnvVarSource {
    /// A Secret in the DevServer's own namespace. It is read when the container starts: a Secret that changes later
    /// restarts nothing.
    pub secret_key_ref: SecretKeyRef,
}

/// One value of a Secret.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key in its data.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
    /// Whether the pod starts without the variable when the Secret or the key is missing. Default: it waits for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
}
