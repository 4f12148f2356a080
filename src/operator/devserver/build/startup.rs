//! What brings the startup script into the pod, and what waits for its end.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::{EnvVar, ExecAction, Probe};

use crate::agent::SCRIPT_VARIABLE;
use crate::api::names;

pub(super) fn script_variable(script: &str) -> EnvVar {
    let encoded = STANDARD.encode(script);
    EnvVar { name: SCRIPT_VARIABLE.to_owned(), value: Some(encoded), value_from: None }
}

/// Succeeds when the startup script is over. One look lasts as long as the script does, so that a kubelet has nothing
/// to tell until then; it fails once if the script failed, which makes an event of the script's last words.
pub(super) fn startup_probe() -> Probe {
    let look = [names::AGENT, "started"].map(str::to_owned).into();
    Probe {
        exec: Some(ExecAction { command: Some(look) }),
        period_seconds: Some(1),
        timeout_seconds: Some(STARTUP_PATIENCE),
        // Never so many: the agent has a limit of its own.
        failure_threshold: Some(60),
        ..Probe::default()
    }
}

/// A little more than the agent gives a script. In seconds.
const STARTUP_PATIENCE: i32 = 31 * 60;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::DevServerSpec;
    use crate::operator::devserver::build::pod::tests::started;
    use crate::operator::devserver::build::{build_pod, is_replaced_by};
    use crate::operator::devserver::resolve::resolve;
    use crate::operator::devserver::resolve::tests::{flavor, server};
    use crate::operator::tests::config;

    #[test]
    fn a_startup_script_comes_with_the_agent_and_is_waited_for() {
        let mut with_agent = config();
        with_agent.agent.image = "bastion:1".to_owned();
        let script = DevServerSpec { startup_script: Some("echo $(HOME) $$".to_owned()), ..DevServerSpec::default() };
        let build = |spec| build_pod(&resolve(&server(spec), &[flavor("small", true)], &with_agent).unwrap());
        let pod = build(script.clone());
        assert!(is_replaced_by(&started(build(DevServerSpec::default())), &pod));
        let spec = pod.spec.unwrap();
        let brings = &spec.init_containers.unwrap()[0].env.clone().unwrap()[0];
        let value = brings.value.clone().unwrap();
        assert_eq!(STANDARD.decode(value).unwrap(), b"echo $(HOME) $$");
        let probe = spec.containers[0].startup_probe.clone().unwrap().exec.unwrap();
        assert_eq!(probe.command.unwrap(), ["/.bastion/bastion-agent", "started"]);
        let without = resolve(&server(script), &[], &config()).unwrap_err();
        assert!(without.to_string().starts_with("startupScript needs the agent"), "{without}");
    }
}
