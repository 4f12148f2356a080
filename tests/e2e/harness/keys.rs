//! Keys, and the agent that holds them.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::wait::eventually;

/// A new private key in `folder`; its public half lies beside it.
pub(crate) fn keygen(folder: &Path, name: &str, kind: &str) -> PathBuf {
    let path = folder.join(name);
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-t", kind, "-N", "", "-C", name, "-f"]).arg(&path).stdin(Stdio::null());
    assert!(command.status().expect("OpenSSH is installed").success(), "ssh-keygen failed");
    path
}

/// The public half of the key in `file`.
pub(crate) fn public(file: &Path) -> String {
    std::fs::read_to_string(file.with_extension("pub")).expect("ssh-keygen wrote it")
}

/// Has the authority `ca` sign a certificate of `key`, which `ssh` offers with it. `arguments` are ssh-keygen's.
pub(crate) fn certify(ca: &Path, key: &Path, arguments: &[&str]) {
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-I", "a certificate", "-s"]).arg(ca).args(arguments).arg(key.with_extension("pub"));
    assert!(command.status().expect("OpenSSH is installed").success(), "ssh-keygen failed");
}

/// Writes a key revocation list to `list`: `lines` as ssh-keygen(1) has them, about certificates of `ca`.
pub(crate) fn revoke(list: &Path, ca: &Path, lines: &str) {
    let lines_file = list.with_extension("lines");
    std::fs::write(&lines_file, lines).expect("the folder is ours");
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-k", "-f"]).arg(list).arg("-s").arg(ca.with_extension("pub")).arg(lines_file);
    assert!(command.status().expect("OpenSSH is installed").success(), "ssh-keygen failed");
}

/// An `ssh-agent` of the test's own. Dropped, it ends.
pub(crate) struct Agent {
    socket: PathBuf,
    child: Child,
    _folder: TempDir,
}

impl Agent {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().expect("there is a folder for temporary files");
        let socket = folder.path().join("agent");
        let mut command = Command::new("ssh-agent");
        command.arg("-D").arg("-a").arg(&socket).stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn().expect("OpenSSH is installed");
        eventually("the agent's socket", async || socket.exists().then_some(())).await;
        Self { socket, child, _folder: folder }
    }

    /// Lets it hold the key in `file`.
    pub(crate) fn add(&self, file: &Path) {
        let mut command = Command::new("ssh-add");
        command.arg("-q").arg(file).env("SSH_AUTH_SOCK", &self.socket).stdin(Stdio::null());
        assert!(command.status().expect("OpenSSH is installed").success(), "ssh-add failed");
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
