//! One container: pull, start, wait, start again.

use super::{
    probe,
    process::{self, Process},
    sandbox::{Sandbox, StartError},
    status,
    statuses::Statuses,
};
use k8s_openapi::api::core::v1::Container;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};

const FIRST_BACKOFF: Duration = Duration::from_secs(10);
const LONGEST_BACKOFF: Duration = Duration::from_secs(300);
/// A container that ran this long starts with a clean slate.
const FORGIVEN_AFTER: Duration = Duration::from_secs(600);
/// How long a failed pull is called by its error before it is called a back-off.
const PULL_ERROR_SHOWN: Duration = Duration::from_secs(1);

/// Between two looks for what a container's environment refers to.
const CONFIG_PAUSE: Duration = Duration::from_secs(1);

/// Set to the time to be dead by, once the pod is to end.
pub(super) type Stop = watch::Receiver<Option<Instant>>;

pub(super) struct Supervisor {
    pub(super) sandbox: Arc<Sandbox>,
    pub(super) statuses: Arc<Statuses>,
    pub(super) index: usize,
    pub(super) stop: Stop,
}

impl Supervisor {
    /// Runs the container until it need not run any more.
    pub(super) async fn run(mut self) {
        let container = self.container().clone();
        let policy = self.restart_policy();
        let mut stop = self.stop.clone();
        let mut backoff = Backoff::default();
        loop {
            if self.pull(&container, &mut stop).await.is_none() {
                return;
            }
            let begun = Instant::now();
            let Some(code) = self.run_once(&container, &mut stop).await else { return };
            process::end_all(self.mark(&container), Duration::ZERO, false).await;
            let again = match policy.as_str() {
                "Never" => false,
                "OnFailure" => code != 0,
                _ => true,
            };
            if !again || self.stop.borrow().is_some() {
                return;
            }
            if begun.elapsed() > FORGIVEN_AFTER {
                backoff = Backoff::default();
            }
            if let Some(pause) = backoff.next() {
                let message = format!(
                    "back-off {}s restarting failed container={} pod={}",
                    pause.as_secs(),
                    container.name,
                    self.pod_name(),
                );
                self.set_state(status::waiting("CrashLoopBackOff", &message));
                if stopped_within(&mut stop, pause).await {
                    return;
                }
            }
            self.statuses.edit(self.index, |status| {
                let restarts = status["restartCount"].as_u64().unwrap_or(0);
                status["restartCount"] = json!(restarts + 1);
            });
        }
    }

    /// Waits until the image is there, for ever if it is none; nothing if the pod ends meanwhile.
    async fn pull(&self, container: &Container, stop: &mut Stop) -> Option<()> {
        let image = container.image.as_deref().unwrap_or_default();
        if !(image.ends_with(":missing") || image.starts_with("missing/")) {
            return (stop.borrow().is_none()).then_some(());
        }
        let full = match image.contains('/') {
            true => format!("docker.io/{image}"),
            false => format!("docker.io/library/{image}"),
        };
        let error = format!(
            "failed to pull and unpack image \"{full}\": failed to resolve reference \"{full}\": {full}: not found"
        );
        let mut backoff = Backoff::default();
        backoff.next();
        loop {
            self.set_state(status::waiting("ErrImagePull", &error));
            if stopped_within(stop, PULL_ERROR_SHOWN).await {
                return None;
            }
            let message = format!("Back-off pulling image \"{image}\": ErrImagePull: {error}");
            self.set_state(status::waiting("ImagePullBackOff", &message));
            if stopped_within(stop, backoff.next().unwrap_or(FIRST_BACKOFF)).await {
                return None;
            }
        }
    }

    /// The exit code; nothing if the pod ends before the container could start.
    async fn run_once(&mut self, container: &Container, stop: &mut Stop) -> Option<i32> {
        let started = loop {
            match self.start(container) {
                Err(StartError::Config(missing)) => {
                    self.set_state(status::waiting("CreateContainerConfigError", &missing));
                    if stopped_within(stop, CONFIG_PAUSE).await {
                        return None;
                    }
                }
                started => break started,
            }
        };
        Some(match started {
            Ok(mut process) => {
                let running = status::running();
                let started = running["running"]["startedAt"].clone();
                self.set_running(running, container.startup_probe.is_none());
                let probing = probe::start(&self.sandbox, &self.statuses, self.index);
                let code = self.wait(&mut process).await;
                drop(probing);
                let reason = if code == 0 { "Completed" } else { "Error" };
                self.set_state(status::terminated(code, &started, reason, ""));
                code
            }
            Err(error) => {
                let message = format!(
                    "failed to create containerd task: failed to create shim task: OCI runtime create failed: \
                     runc create failed: unable to start container process: error during container init: {error}"
                );
                let now = crate::minik8s::object::now();
                self.set_state(status::terminated(128, &now, "StartError", &message));
                128
            }
        })
    }

    fn start(&self, container: &Container) -> Result<Process, StartError> {
        let command = container.command.iter().flatten();
        let mut command: Vec<String> = command.chain(container.args.iter().flatten()).cloned().collect();
        if command.is_empty() {
            // An image would know; here there are only the host's programs.
            command = vec!["sleep".to_owned(), "infinity".to_owned()];
        }
        let launch = self.sandbox.launch(container, &command)?;
        let mut process = self.sandbox.start(|| launch.spawn())?;
        let name = &container.name;
        self.sandbox.log.begin(name);
        if let Some(stdout) = process.child().stdout.take() {
            self.follow(name, stdout);
        }
        if let Some(stderr) = process.child().stderr.take() {
            self.follow(name, stderr);
        }
        Ok(process)
    }

    fn follow(&self, name: &str, from: impl tokio::io::AsyncRead + Unpin + Send + 'static) {
        let (sandbox, name) = (self.sandbox.clone(), name.to_owned());
        // Ends with the last process that holds the stream; the sandbox's end kills them all.
        let run = sandbox.log.open(&name);
        tokio::spawn(async move { sandbox.log.follow(&name, run, from).await });
    }

    /// Waits for the process's end, and brings it about when the pod ends.
    async fn wait(&mut self, process: &mut Process) -> i32 {
        let deadline = tokio::select! {
            code = process.wait() => return code,
            deadline = deadline(&mut self.stop) => deadline,
        };
        process.signal(Signal::TERM);
        let mut deadline = deadline;
        loop {
            tokio::select! {
                code = process.wait() => return code,
                () = sleep_until(deadline) => {
                    process.signal(Signal::KILL);
                    return process.wait().await;
                }
                // A second, more impatient delete.
                _ = self.stop.changed() => deadline = self.stop.borrow().unwrap_or(deadline),
            }
        }
    }

    fn set_running(&self, state: Value, started: bool) {
        self.statuses.edit(self.index, |status| change_state(status, state, started));
    }

    fn set_state(&self, state: Value) {
        self.statuses.edit(self.index, |status| change_state(status, state, false));
    }

    fn container(&self) -> &Container {
        let spec = self.sandbox.pod.spec.as_ref();
        &spec.expect("a pod without containers is not admitted").containers[self.index]
    }

    fn restart_policy(&self) -> String {
        let spec = self.sandbox.pod.spec.as_ref();
        spec.and_then(|spec| spec.restart_policy.clone()).unwrap_or_default()
    }

    fn mark(&self, container: &Container) -> String {
        format!("{}/{}", self.sandbox.mark, container.name)
    }

    /// `NAME_NAMESPACE(UID)`, as the kubelet writes it.
    fn pod_name(&self) -> String {
        let metadata = &self.sandbox.pod.metadata;
        format!(
            "{}_{}({})",
            metadata.name.as_deref().unwrap_or_default(),
            metadata.namespace.as_deref().unwrap_or_default(),
            metadata.uid.as_deref().unwrap_or_default(),
        )
    }
}

/// How it ended is kept when it starts again, at once or after a pause.
fn change_state(status: &mut Value, state: Value, started: bool) {
    if status["state"]["terminated"].is_object() {
        status["lastState"] = status["state"].clone();
    }
    status["state"] = state;
    status["ready"] = json!(started);
    status["started"] = json!(started);
}

async fn deadline(stop: &mut Stop) -> Instant {
    let set = stop.wait_for(Option::is_some).await.map(|deadline| *deadline);
    match set {
        Ok(deadline) => deadline.expect("waited for just this"),
        // The pod's task is gone, and with it the whole cluster soon.
        Err(_) => std::future::pending().await,
    }
}

async fn stopped_within(stop: &mut Stop, pause: Duration) -> bool {
    tokio::select! {
        () = sleep(pause) => false,
        _ = deadline(stop) => true,
    }
}

/// The first restart is immediate, then ten seconds, doubling to five minutes.
#[derive(Default)]
struct Backoff(Option<Duration>);

impl Backoff {
    fn next(&mut self) -> Option<Duration> {
        let pause = self.0;
        self.0 = Some(match pause {
            None => FIRST_BACKOFF,
            Some(pause) => (pause * 2).min(LONGEST_BACKOFF),
        });
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_to_five_minutes() {
        let mut backoff = Backoff::default();
        let seconds: Vec<u64> = (0..8).map(|_| backoff.next().unwrap_or_default().as_secs()).collect();
        assert_eq!(seconds, [0, 10, 20, 40, 80, 160, 300, 300]);
    }

    /// A container that was started again at once was as if it had never ended.
    #[test]
    fn an_end_is_kept_whatever_follows() {
        for next in [status::running(), status::waiting("CrashLoopBackOff", "")] {
            let mut status = json!({ "state": status::terminated(3, &json!(null), "Error", ""), "lastState": {} });
            change_state(&mut status, next, true);
            assert_eq!(status["lastState"]["terminated"]["exitCode"], 3);
        }
    }
}
