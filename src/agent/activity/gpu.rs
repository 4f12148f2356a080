//! Whether GPUs work, as NVML has it. A static program cannot load NVIDIA's library, so one beside it does,
//! `bastion-nvml` (src/nvml): wherever the pod has that library and a C library that is not too old. Else `nvidia-smi`
//! is asked: the container runtime puts it where it puts the library.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::Command;
use tokio::time::timeout;

use crate::agent::place::{self, NVML};
use crate::agent::usage::Gpu;

const TOOL: &str = "nvidia-smi";
/// Where it is put, whatever `PATH` says.
const PLACE: &str = "/usr/bin/nvidia-smi";
/// What `bastion-nvml` need not be told.
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
        let said = first_said(&tools(place::companion(NVML)), ask).await;
        if said == Err(Silent::Hung) {
            self.hung = Some(Instant::now());
        }
        said.ok()
    }
}

/// In the order in which they are asked: NVML before what asks it in turn.
fn tools(nvml: Option<PathBuf>) -> Vec<PathBuf> {
    nvml.into_iter().chain([TOOL, PLACE].map(PathBuf::from)).collect()
}

/// What hangs does so in the driver, as the next one would.
async fn first_said(tools: &[PathBuf], ask: impl AsyncFn(&Path) -> Result<String, Silent>) -> Result<String, Silent> {
    for tool in tools {
        match ask(tool).await {
            Err(Silent::Failed) => {}
            told => return told,
        }
    }
    Err(Silent::Failed)
}

/// Why a tool says nothing.
#[derive(Debug, PartialEq, Eq)]
enum Silent {
    /// It may as well not be there, or be none that can run here.
    Failed,
    Hung,
}

async fn ask(tool: &Path) -> Result<String, Silent> {
    let mut command = Command::new(tool);
    command.args(QUERY).stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    match timeout(PATIENCE, command.output()).await {
        Ok(Ok(output)) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        Ok(_) => Err(Silent::Failed),
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
    use std::cell::{Cell, RefCell};

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
        for silent in ["/bin/false", "/no/such/tool", "/proc/self/environ"] {
            assert_eq!(ask(Path::new(silent)).await, Err(Silent::Failed), "{silent}");
        }
        assert!(ask(Path::new("/bin/echo")).await.unwrap().starts_with("--query-gpu"));
    }

    /// Which of three tools are asked where they answer so, and what is said then.
    async fn asked(answers: [Result<&str, Silent>; 3]) -> (usize, Result<String, Silent>) {
        let tools = ["0", "1", "2"].map(PathBuf::from);
        let (answers, asked) = (RefCell::new(answers.into_iter()), Cell::new(0));
        let said = first_said(&tools, async |tool| {
            assert_eq!(*tool, tools[asked.replace(asked.get() + 1)]);
            answers.borrow_mut().next().unwrap().map(str::to_owned)
        })
        .await;
        (asked.get(), said)
    }

    #[tokio::test]
    async fn one_tool_after_another_is_asked_until_one_tells_or_hangs() {
        use Silent::{Failed, Hung};
        assert_eq!(asked([Ok("1"), Ok("2"), Ok("3")]).await, (1, Ok("1".to_owned())));
        assert_eq!(asked([Err(Failed), Ok("2"), Ok("3")]).await, (2, Ok("2".to_owned())));
        assert_eq!(asked([Err(Failed), Err(Failed), Ok("3")]).await, (3, Ok("3".to_owned())));
        assert_eq!(asked([Err(Failed), Err(Failed), Err(Failed)]).await, (3, Err(Failed)));
        assert_eq!(asked([Err(Hung), Ok("2"), Ok("3")]).await, (1, Err(Hung)));
        // It says that it does not know.
        assert_eq!(asked([Ok("[N/A]"), Ok("2"), Ok("3")]).await, (1, Ok("[N/A]".to_owned())));
    }

    #[test]
    fn nvml_is_asked_first_where_the_agent_came_with_it() {
        let others = [TOOL, PLACE].map(PathBuf::from);
        assert_eq!(tools(None), others);
        let all = tools(Some("/.bastion/bastion-nvml".into()));
        assert_eq!((all[0].as_path(), &all[1..]), (Path::new("/.bastion/bastion-nvml"), &others[..]));
    }
}
