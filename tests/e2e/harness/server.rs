//! One process of the built binary, its log, and its end.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::wait::eventually_within;

/// `bastion SUBCOMMAND …`. Dropped, it is told to stop and must do so in good order.
pub(crate) struct Server {
    name: String,
    child: Child,
    stdout: PathBuf,
    log: PathBuf,
}

impl Server {
    /// Starts `bastion` with `arguments`; `adjust` may set its environment.
    pub(crate) fn start(arguments: &[&str], adjust: impl FnOnce(&mut Command)) -> Self {
        Self::start_at(Path::new(env!("CARGO_BIN_EXE_bastion")), arguments, adjust)
    }

    /// A copy of the program that lies elsewhere.
    pub(crate) fn start_at(program: &Path, arguments: &[&str], adjust: impl FnOnce(&mut Command)) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{}-{}-{}", arguments[0], std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("e2e");
        std::fs::create_dir_all(&folder).expect("the target folder is ours");
        let (stdout, log) = (folder.join(format!("{name}.out")), folder.join(format!("{name}.log")));
        let create = |path: &Path| File::create(path).expect("the target folder is ours");
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(create(&stdout)).stderr(create(&log));
        command.env_remove("SSH_AUTH_SOCK");
        adjust(&mut command);
        let child = command.spawn().expect("the binary was built");
        Self { name, child, stdout, log }
    }

    /// What follows `ready: ` on its stdout.
    pub(crate) async fn ready(&mut self) -> String {
        eventually_within(Duration::from_secs(60), "the ready line", async || {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                panic!("{} ended with {status} instead of being ready:\n{}", self.name, self.log());
            }
            let out = std::fs::read_to_string(&self.stdout).ok()?;
            let (line, _) = out.split_once('\n')?;
            Some(line.strip_prefix("ready: ").expect("the first line on stdout starts so").to_owned())
        })
        .await
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub(crate) fn stdout(&self) -> String {
        std::fs::read_to_string(&self.stdout).unwrap_or_default()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("it is our child").is_none()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        // A process that has ended already is what the signal was for.
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }

    /// Resident memory, in MiB.
    pub(crate) fn resident_mib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux tells");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") / 1024
    }

    pub(crate) async fn ends_within(&mut self, limit: Duration) -> ExitStatus {
        let what = format!("the end of {}", self.name);
        let child = &mut self.child;
        eventually_within(limit, &what, async || child.try_wait().expect("it is our child")).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.signal(Signal::TERM);
        let deadline = Instant::now() + Duration::from_secs(30);
        let mut ended = false;
        while !ended && Instant::now() < deadline {
            ended = !matches!(self.child.try_wait(), Ok(None));
            std::thread::sleep(Duration::from_millis(20));
        }
        if !ended {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("the log of {} is {}", self.name, self.log.display());
            return;
        }
        assert!(ended, "{} did not stop within 30 s of SIGTERM; its log: {}", self.name, self.log.display());
        assert!(!self.log().contains("panicked at"), "{} panicked; its log: {}", self.name, self.log.display());
    }
}

/// Processes of this machine that have `argument` among theirs.
pub(crate) fn processes_with_argument(argument: &str) -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let has = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|word| word == argument.as_bytes())
    };
    pids.filter(has).collect()
}
