//! What a pod's processes run in. There is no isolation: its volumes are folders, and where a path would be mounted,
//! the environment and arguments name the folder instead (so `HOME=/home/dev` becomes a home of the pod's own).
//! Secrets are read whenever a process starts, not once per container; `$(NAME)` in values is left as it is.
//! Nothing is mounted read-only. A volume in memory is a folder too, of no certain size: processes of the host have the
//! host's `/dev/shm`.

use super::process::{MARK, Process};
use crate::minik8s::store::{Key, Store};
use k8s_openapi::api::core::v1::{Container, EnvVar, Pod, Secret, Volume};
use parking_lot::Mutex;
use serde_json::Value;
use std::{
    collections::HashMap,
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
};

/// The host's variables that programs may need; nothing else of ours is theirs to see.
const KEPT: [&str; 3] = ["PATH", "LANG", "TZ"];
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub(super) struct Sandbox {
    pub(super) pod: Pod,
    pub(super) store: Arc<Store>,
    /// `CLUSTER/POD UID`, the head of its processes' marks.
    pub(super) mark: String,
    pub(super) ip: std::net::Ipv4Addr,
    /// The pod's own folder, gone with it.
    folder: PathBuf,
    volumes: HashMap<String, PathBuf>,
    pub(super) log: super::log::Logs,
    /// No process may start once the pod's are being killed.
    closed: Mutex<bool>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("exec: \"{0}\": executable file not found in $PATH")]
    NotFound(String),
    #[error("exec: \"{0}\": permission denied")]
    Denied(String),
    /// The container's environment refers to what is not there.
    #[error("{0}")]
    Config(String),
    #[error("the pod is ending")]
    Closed,
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// A program with everything it is started with.
pub(crate) struct Launch {
    program: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    folder: PathBuf,
}

impl Sandbox {
    pub(super) fn new(
        pod: Pod,
        store: Arc<Store>,
        cluster: &str,
        data: &Path,
        ip: std::net::Ipv4Addr,
    ) -> io::Result<Sandbox> {
        let metadata = &pod.metadata;
        let uid = metadata.uid.as_deref().unwrap_or_default();
        let folder = data.join("pods").join(uid);
        fs::create_dir_all(folder.join("root"))?;
        let namespace = metadata.namespace.as_deref().unwrap_or_default();
        let claims = data.join("volumes").join(namespace);
        let mut volumes = HashMap::new();
        let spec = pod.spec.as_ref();
        for volume in spec.and_then(|spec| spec.volumes.as_ref()).into_iter().flatten() {
            let path = match claim_of(volume) {
                Some(claim) => host_path(&store, namespace, claim).unwrap_or_else(|| claims.join(claim)),
                None => folder.join("volumes").join(&volume.name),
            };
            fs::create_dir_all(&path)?;
            volumes.insert(volume.name.clone(), path);
        }
        Ok(Sandbox {
            mark: format!("{cluster}/{uid}"),
            ip,
            folder,
            volumes,
            log: Default::default(),
            closed: Mutex::new(false),
            pod,
            store,
        })
    }

    pub(super) fn container(&self, name: &str) -> Option<&Container> {
        let containers = &self.pod.spec.as_ref()?.containers;
        containers.iter().find(|container| container.name == name)
    }

    /// Prepares a command to run in a container.
    pub(super) fn launch(&self, container: &Container, command: &[String]) -> Result<Launch, StartError> {
        let environment = self.environment(container)?;
        let folder = match &container.working_dir {
            Some(folder) => PathBuf::from(self.localize(container, folder)),
            None => self.folder.join("root"),
        };
        if folder.starts_with(&self.folder) || self.volumes.values().any(|path| folder.starts_with(path)) {
            fs::create_dir_all(&folder)?;
        }
        let (program, arguments) = command.split_first().ok_or_else(|| StartError::NotFound(String::new()))?;
        let path = environment.iter().find(|(name, _)| name == "PATH");
        let path = path.map_or(DEFAULT_PATH, |(_, path)| path.as_str());
        Ok(Launch {
            program: find_program(&self.localize(container, program), program, path, &folder)?,
            arguments: arguments.iter().map(|argument| self.localize(container, argument)).collect(),
            environment,
            folder,
        })
    }

    /// Starts a process unless the pod is ending.
    pub(super) fn start(
        &self,
        spawn: impl FnOnce() -> io::Result<tokio::process::Child>,
    ) -> Result<Process, StartError> {
        let closed = self.closed.lock();
        if *closed {
            return Err(StartError::Closed);
        }
        Ok(Process::spawn(spawn)?)
    }

    pub(super) fn close(&self) {
        *self.closed.lock() = true;
    }

    pub(super) fn remove(&self) {
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            tracing::debug!(error = &error as &dyn std::error::Error, "a pod's folder is left");
        }
    }

    fn environment(&self, container: &Container) -> Result<Vec<(String, String)>, StartError> {
        let mut environment: Vec<(String, String)> =
            KEPT.iter().filter_map(|&name| Some((name.to_owned(), std::env::var(name).ok()?))).collect();
        let root = self.folder.join("root").to_string_lossy().into_owned();
        let name = self.pod.metadata.name.clone().unwrap_or_default();
        environment.push(("HOME".to_owned(), root));
        environment.push(("HOSTNAME".to_owned(), name));
        for variable in container.env.iter().flatten() {
            let value = match self.secret_value(variable)? {
                Some(secret) => secret,
                None if variable.value_from.is_some() => continue,
                None => self.localize(container, variable.value.as_deref().unwrap_or_default()),
            };
            environment.retain(|(name, _)| *name != variable.name);
            environment.push((variable.name.clone(), value));
        }
        let mark = format!("{}/{}", self.mark, container.name);
        environment.push((MARK.to_owned(), mark));
        Ok(environment)
    }

    /// What the variable takes from a Secret, if it does. That it is missing is told in the kubelet's words.
    fn secret_value(&self, variable: &EnvVar) -> Result<Option<String>, StartError> {
        let Some(wanted) = variable.value_from.as_ref().and_then(|from| from.secret_key_ref.as_ref()) else {
            return Ok(None);
        };
        let namespace = self.pod.metadata.namespace.as_deref().unwrap_or_default();
        let stored = self.store.get(&Key::new("secrets", namespace, &wanted.name));
        let secret: Option<Secret> = stored.and_then(|stored| serde_json::from_value(Value::clone(&stored)).ok());
        let is_there = secret.is_some();
        match secret.and_then(|secret| secret.data?.remove(&wanted.key)) {
            Some(value) => Ok(Some(String::from_utf8_lossy(&value.0).into_owned())),
            None if wanted.optional == Some(true) => Ok(None),
            None if is_there => {
                let (key, name) = (&wanted.key, &wanted.name);
                Err(StartError::Config(format!("couldn't find key {key} in Secret {namespace}/{name}")))
            }
            None => Err(StartError::Config(format!("secret \"{}\" not found", wanted.name))),
        }
    }

    /// A path at or below one that would be mounted, as the folder that stands for it here.
    fn localize(&self, container: &Container, path: &str) -> String {
        let mounts = container.volume_mounts.iter().flatten();
        mounts
            .filter_map(|mount| {
                let below = Path::new(path).strip_prefix(&mount.mount_path).ok()?;
                let volume = self.volumes.get(&mount.name)?;
                let base = match &mount.sub_path {
                    Some(sub_path) => volume.join(sub_path),
                    None => volume.clone(),
                };
                let local = match below.as_os_str().is_empty() {
                    true => base,
                    false => base.join(below),
                };
                Some((mount.mount_path.len(), local.to_string_lossy().into_owned()))
            })
            .max()
            .map_or_else(|| path.to_owned(), |(_, local)| local)
    }
}

impl Launch {
    /// Leads a session of its own, so that it cannot reach the terminal `bastion dev` was started in.
    pub(super) fn command(&self) -> std::process::Command {
        let mut command = match setsid() {
            Some(setsid) => {
                let mut command = std::process::Command::new(setsid);
                command.arg(&self.program);
                command
            }
            None => {
                let mut command = std::process::Command::new(&self.program);
                std::os::unix::process::CommandExt::process_group(&mut command, 0);
                command
            }
        };
        command
            .args(&self.arguments)
            .env_clear()
            .envs(self.environment.iter().cloned())
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    /// Runs it, its output for whoever reads it.
    pub(super) fn spawn(&self) -> io::Result<tokio::process::Child> {
        let mut command = self.command();
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        tokio::process::Command::from(command).spawn()
    }

    pub(super) fn terminal_command(&self) -> pty_process::Command {
        pty_process::Command::new(&self.program)
            .args(&self.arguments)
            .env_clear()
            .envs(self.environment.iter().cloned())
            .current_dir(&self.folder)
    }
}

pub(super) fn claim_of(volume: &Volume) -> Option<&str> {
    Some(volume.persistent_volume_claim.as_ref()?.claim_name.as_str())
}

/// Where the claim's volume is, if somebody made a PersistentVolume that tells.
fn host_path(store: &Store, namespace: &str, claim: &str) -> Option<PathBuf> {
    let claim = store.get(&Key::new("persistentvolumeclaims", namespace, claim))?;
    let volume = store.get(&Key::new("persistentvolumes", "", claim["spec"]["volumeName"].as_str()?))?;
    volume["spec"]["hostPath"]["path"].as_str().map(PathBuf::from)
}

/// setsid(1), which becomes the program it is given; the standard library cannot do it without unsafe code.
fn setsid() -> Option<&'static str> {
    ["/usr/bin/setsid", "/bin/setsid"].into_iter().find(|path| Path::new(path).exists())
}

fn find_program(program: &str, asked: &str, path: &str, folder: &Path) -> Result<PathBuf, StartError> {
    let candidates: Vec<PathBuf> = match program.contains('/') {
        true => vec![folder.join(program)],
        false => std::env::split_paths(path).map(|folder| folder.join(program)).collect(),
    };
    let mut problem = StartError::NotFound(asked.to_owned());
    for candidate in candidates {
        match fs::metadata(&candidate) {
            Ok(found) if found.is_file() && found.permissions().mode() & 0o111 != 0 => {
                return Ok(candidate);
            }
            Ok(_) => problem = StartError::Denied(asked.to_owned()),
            Err(_) => {}
        }
    }
    Err(problem)
}
