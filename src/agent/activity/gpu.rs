//! Whether GPUs work. NVIDIA's library cannot be loaded into a static program, but its tool is where the library is:
//! the container runtime puts both into the pod.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::Command;
use tokio::time::timeout;

use crate::agent::usage::Gpu;

const TOOL: &str = "nvidia-smi";
/// Where it is put, whatever `PATH` says.
const PLACE: &str = "/usr/bin/nvidia-smi";
const QUERY: [&str; 2] = ["--query-gpu=utilization.gpu,memory.used", "--format=csv,noheader,nounits"];
/// A GPU that fell off its bus makes it hang.
const PATIENCE: Duration = Duration::from_secs(10);

/// After that, how long it is left alone: what hangs in the kernel cannot be killed, and another would hang beside it.
const PAUSE: Duration = Duration::from_mins(30);

#[derive(Default)]
pub(super) struct Reader {
    hung: Option<Instant>,
}

impl Reader {
    pub(super) async fn read(&mut self) -> Gpu {
        match self.ask().await.as_deref().and_then(parse) {
            Some(busiest) => Gpu::Busy(busiest),
            None if is_there() => Gpu::Unknown,
            None => Gpu::None,
        }
    }

    async fn ask(&mut self) -> Option<String> {
        if self.hung.is_some_and(|hung| hung.elapsed() < PAUSE) {
            return None;
        }
        match ask(TOOL).await {
            Ok(said) => Some(said),
            Err(Silent::Absent) => ask(PLACE).await.ok(),
            Err(Silent::Failed) => None,
            Err(Silent::Hung) => {
                self.hung = Some(Instant::now());
                None
            }
        }
    }
}

/// Why the tool says nothing.
#[derive(Debug, PartialEq, Eq)]
enum Silent {
    Absent,
    Failed,
    Hung,
}

async fn ask(tool: &str) -> Result<String, Silent> {
    let mut command = Command::new(tool);
    command.args(QUERY).stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    match timeout(PATIENCE, command.output()).await {
        Ok(Ok(output)) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        Ok(Ok(_)) => Err(Silent::Failed),
        Ok(Err(_)) => Err(Silent::Absent),
        Err(_) => Err(Silent::Hung),
    }
}

/// The utilisation of the busiest GPU. A part of one (MIG) has none, and says `[N/A]`.
fn parse(text: &str) -> Option<u32> {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let percents: Option<Vec<u32>> = lines.map(|line| line.split(',').next()?.trim().parse().ok()).collect();
    percents?.into_iter().max()
}

/// Whether the pod has a GPU, seen or unseen by the tool.
fn is_there() -> bool {
    let named = std::env::var("NVIDIA_VISIBLE_DEVICES").unwrap_or_default();
    is_named(&named) || has_device(Path::new("/dev"))
}

/// What device plugins set names a GPU; `all` is what images with CUDA say wherever they run.
fn is_named(devices: &str) -> bool {
    !matches!(devices.trim(), "" | "all" | "none" | "void")
}

/// NVIDIA's, or the one that all of AMD's share.
fn has_device(folder: &Path) -> bool {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).any(|name| {
        let number = name.strip_prefix("nvidia").unwrap_or_default();
        name == "kfd" || (!number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_counts_and_what_is_not_told_is_not_guessed() {
        assert_eq!(parse("0, 1024\n97, 40960\n3, 0\n"), Some(97));
        for unknown in ["", "\n", "[N/A], 1024\n", "97, 1\n[N/A], 1\n", "No devices were found\n", "-1, 2"] {
            assert_eq!(parse(unknown), None, "{unknown:?}");
        }
    }

    #[test]
    fn devices_tell_that_there_is_a_gpu() {
        let folder = tempfile::tempdir().unwrap();
        for harmless in ["nvidiactl", "nvidia-uvm", "nvidia", "null"] {
            std::fs::write(folder.path().join(harmless), "").unwrap();
        }
        assert!(!has_device(folder.path()));
        std::fs::write(folder.path().join("nvidia3"), "").unwrap();
        assert!(has_device(folder.path()) && !has_device(Path::new("/nowhere")));
        assert!(is_named("GPU-8a56a4bc") && is_named("0,1") && !is_named("all") && !is_named("void") && !is_named(""));
    }

    #[tokio::test]
    async fn a_tool_that_fails_or_is_not_there_says_nothing() {
        assert_eq!(ask("/bin/false").await, Err(Silent::Failed));
        assert_eq!(ask("/no/such/tool").await, Err(Silent::Absent));
        assert!(ask("/bin/echo").await.unwrap().starts_with("--query-gpu"));
    }
}
