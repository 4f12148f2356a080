//! A pod's status from its containers' states. Pure but for the clock.

use crate::minik8s::object::{self, condition, set_condition};
use serde_json::{Value, json};

pub(super) fn waiting(reason: &str, message: &str) -> Value {
    let mut waiting = json!({"reason": reason});
    if !message.is_empty() {
        waiting["message"] = json!(message);
    }
    json!({"waiting": waiting})
}

pub(super) fn running() -> Value {
    json!({"running": {"startedAt": object::now()}})
}

pub(super) fn terminated(code: i32, started: &Value, reason: &str, message: &str) -> Value {
    let mut terminated = json!({
        "exitCode": code,
        "reason": reason,
        "startedAt": started,
        "finishedAt": object::now(),
    });
    if !message.is_empty() {
        terminated["message"] = json!(message);
    }
    json!({"terminated": terminated})
}

/// How a container that has not run here yet starts out; `before` is its status from an earlier run of the cluster.
pub(super) fn first(name: &str, image: &str, before: &Value) -> Value {
    let ran = ["running", "terminated"].iter().any(|state| before["state"][state].is_object());
    let restarts = before["restartCount"].as_u64().unwrap_or(0) + u64::from(ran);
    let mut last = before["lastState"].clone();
    if ran {
        let started = &before["state"]["running"]["startedAt"];
        last = match before["state"]["terminated"].is_object() {
            true => before["state"].clone(),
            false => terminated(255, started, "Unknown", ""),
        };
    }
    json!({
        "name": name,
        "image": image,
        "imageID": "",
        "restartCount": restarts,
        "ready": false,
        "started": false,
        "state": waiting("ContainerCreating", ""),
        "lastState": if last.is_object() { last } else { json!({}) },
    })
}

/// The status of a pod whose containers are in these states. `over`: none will start again.
pub(super) fn of_pod(old: &Value, containers: &[Value], ip: &str, over: bool) -> Value {
    let ready = !containers.is_empty() && containers.iter().all(|status| status["ready"] == true);
    let started = containers
        .iter()
        .any(|status| !status["state"]["waiting"].is_object() || status["lastState"]["terminated"].is_object());
    let failed = containers.iter().any(|status| status["state"]["terminated"]["exitCode"].as_i64().unwrap_or(0) != 0);
    let phase = match (over, failed, started) {
        (true, true, _) => "Failed",
        (true, false, _) => "Succeeded",
        (false, _, true) => "Running",
        (false, _, false) => "Pending",
    };
    let unready = match over {
        true => ("PodCompleted", String::new()),
        false => {
            let names: Vec<&str> =
                containers.iter().filter(|status| status["ready"] != true).map(object::name_field).collect();
            let message = format!("containers with unready status: [{}]", names.join(" "));
            ("ContainersNotReady", message)
        }
    };
    let readiness = |kind: &str| match ready {
        true => condition(kind, true, "", ""),
        false => condition(kind, false, unready.0, &unready.1),
    };
    let mut status = old.clone();
    status["phase"] = json!(phase);
    status["podIP"] = json!(ip);
    status["podIPs"] = json!([{"ip": ip}]);
    status["hostIP"] = json!("127.0.0.1");
    status["qosClass"] = json!("BestEffort");
    status["containerStatuses"] = json!(containers);
    if status["startTime"].is_null() {
        status["startTime"] = object::now();
    }
    for condition in [
        condition("PodReadyToStartContainers", true, "", ""),
        condition("Initialized", true, "", ""),
        readiness("Ready"),
        readiness("ContainersReady"),
    ] {
        set_condition(&mut status, condition);
    }
    status
}
