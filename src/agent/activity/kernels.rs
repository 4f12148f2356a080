//! Whether Jupyter's kernels work, asked of each of its servers that runs here.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;

use super::http;

/// All of them together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Kernels {
    pub(super) busy: u64,
    /// How long ago one of them last did anything.
    pub(super) active_ago: Option<Duration>,
}

/// Servers that are asked; what is left of dead ones may be many more.
const MAX_SERVERS: usize = 16;
/// The largest file about a server that is read, in bytes.
const MAX_FILE: u64 = 64 * 1024;

/// Asks the servers that `home`'s user started.
pub(super) async fn read(home: &Path) -> Kernels {
    let mut all = Kernels::default();
    for server in servers(&runtime_folder(home, &|name| std::env::var_os(name).map(PathBuf::from))) {
        if let Some(kernels) = server.ask(Timestamp::now()).await {
            all.busy += kernels.busy;
            all.active_ago = [all.active_ago, kernels.active_ago].into_iter().flatten().min();
        }
    }
    all
}

/// As Jupyter itself finds it.
fn runtime_folder(home: &Path, variable: &dyn Fn(&str) -> Option<PathBuf>) -> PathBuf {
    let data = || variable("JUPYTER_DATA_DIR").map(|data| data.join("runtime"));
    let default = || variable("XDG_DATA_HOME").unwrap_or_else(|| home.join(".local/share")).join("jupyter/runtime");
    variable("JUPYTER_RUNTIME_DIR").or_else(data).unwrap_or_else(default)
}

/// The newest first.
fn servers(folder: &Path) -> Vec<Server> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            (name.starts_with("jpserver-") || name.starts_with("nbserver-")) && name.ends_with(".json")
        })
        .filter_map(|entry| {
            let metadata = entry.metadata().ok().filter(|metadata| metadata.is_file() && metadata.len() <= MAX_FILE)?;
            Some((metadata.modified().ok()?, entry.path()))
        })
        .collect();
    files.sort();
    let newest = files.into_iter().rev().take(MAX_SERVERS);
    newest.filter_map(|(_, path)| serde_json::from_slice(&fs::read(path).ok()?).ok()).collect()
}

/// What a server wrote about itself.
#[derive(Debug, Deserialize)]
struct Server {
    port: u16,
    #[serde(default = "root")]
    base_url: String,
    #[serde(default)]
    token: String,
    /// By TLS: such a one is not asked, and one with a password alone does not answer. That is no use, rather than not
    /// known: a server that can never be asked would keep its pod for ever, GPUs and all, and what its kernels take of
    /// processors, disks and GPUs is seen anyway.
    #[serde(default)]
    secure: bool,
}

fn root() -> String {
    "/".to_owned()
}

/// Of /api/kernels, what counts.
#[derive(Debug, Deserialize)]
struct Kernel {
    #[serde(default)]
    execution_state: String,
    last_activity: Option<Timestamp>,
}

impl Server {
    async fn ask(&self, now: Timestamp) -> Option<Kernels> {
        if self.secure || self.port == 0 {
            return None;
        }
        let path = format!("/{}/api/kernels", self.base_url.trim_matches('/')).replace("//", "/");
        let token = (!self.token.is_empty()).then(|| format!("token {}", self.token));
        let answer = http::get(self.port, &path, token.as_deref()).await?;
        let kernels: Vec<Kernel> = serde_json::from_slice(&answer).ok()?;
        let busy = kernels.iter().filter(|kernel| kernel.execution_state == "busy").count();
        let active = kernels.iter().filter_map(|kernel| kernel.last_activity).max();
        // Its clock is ours; but who knows.
        let active_ago = active.map(|then| Duration::try_from(now.duration_since(then)).unwrap_or_default());
        Some(Kernels { busy: u64::try_from(busy).unwrap_or(u64::MAX), active_ago })
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn servers_are_found_where_jupyter_puts_them() {
        let home = Path::new("/home/dev");
        let find = |set: &[(&str, &str)]| {
            let set: Vec<_> = set.iter().map(|(name, value)| ((*name).to_owned(), PathBuf::from(value))).collect();
            runtime_folder(home, &|name| set.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone()))
        };
        assert_eq!(find(&[]), Path::new("/home/dev/.local/share/jupyter/runtime"));
        assert_eq!(find(&[("XDG_DATA_HOME", "/x")]), Path::new("/x/jupyter/runtime"));
        assert_eq!(find(&[("XDG_DATA_HOME", "/x"), ("JUPYTER_DATA_DIR", "/d")]), Path::new("/d/runtime"));
        assert_eq!(find(&[("JUPYTER_DATA_DIR", "/d"), ("JUPYTER_RUNTIME_DIR", "/r")]), Path::new("/r"));

        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("jpserver-1.json", r#"{"port": 8888, "base_url": "/user/", "token": "t", "secure": false, "pid": 1}"#),
            ("nbserver-2.json", r#"{"port": 8889}"#),
            ("jpserver-3.json", "half of {"),
            ("kernel-4.json", r#"{"port": 1}"#),
        ] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let mut ports: Vec<u16> = servers(folder.path()).iter().map(|server| server.port).collect();
        ports.sort_unstable();
        assert_eq!(ports, [8888, 8889]);
        assert!(servers(Path::new("/nowhere")).is_empty());
    }

    #[tokio::test]
    async fn busy_kernels_and_the_last_that_was_are_told() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = std::thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let read = client.read(&mut request).unwrap();
            let body = r#"[{"id": "1", "execution_state": "busy", "last_activity": "2027-01-15T07:59:00.5Z"},
                {"id": "2", "execution_state": "idle", "last_activity": "2027-01-15T07:00:00.000000Z"}]"#;
            write!(client, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
            String::from_utf8_lossy(&request[..read]).into_owned()
        });
        let server = Server { port, base_url: "/user/alice/".into(), token: "secret".into(), secure: false };
        let now = "2027-01-15T08:00:00.5Z".parse().unwrap();
        let kernels = server.ask(now).await;
        assert_eq!(kernels, Some(Kernels { busy: 1, active_ago: Some(Duration::from_mins(1)) }));
        let asked = asked.join().unwrap();
        assert!(asked.starts_with("GET /user/alice/api/kernels HTTP/1.0\r\n"), "{asked}");
        assert!(asked.contains("\r\nAuthorization: token secret\r\n"), "{asked}");
        assert_eq!(server.ask(now).await, None, "it is gone");
    }
}
