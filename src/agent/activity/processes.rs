//! What the pod's processes have taken of processors and disks, by what /proc tells of them.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;

use rustix::process::{getpid, getppid};

/// What all of them took since the beginning, and hold now. What a process took goes over to its parent when that
/// buries it, so that the sum only falls where one is buried by nobody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    /// Hundredths of a second.
    pub(super) cpu: u64,
    /// Bytes read from disks and written to them.
    pub(super) disk: u64,
    /// Bytes of memory that they hold now; what several share is counted for each.
    pub(super) memory: u64,
}

/// Of /proc's entries that are read without letting others in between.
const BATCH: usize = 32;

/// What is asked of the pod's processes, but for the agent's own work.
pub(super) async fn taken() -> Taken {
    let (mut all, mut read) = (HashMap::new(), 0);
    for pid in numbers() {
        if let Some(process) = Process::read(pid) {
            all.insert(pid, process);
        }
        read += 1;
        if read % BATCH == 0 {
            tokio::task::yield_now().await;
        }
    }
    let mut taken = Taken::default();
    for (index, (pid, process)) in members(&all, root(&all)).into_iter().enumerate() {
        taken.cpu += process.of_children + if process.is_agent { 0 } else { process.own };
        taken.disk += disk(pid).unwrap_or(0);
        if !process.is_agent {
            taken.memory += memory(pid).unwrap_or(0);
        }
        if index % BATCH == 0 {
            tokio::task::yield_now().await;
        }
    }
    taken
}

/// What children of the agent's server took that it has buried, in hundredths of a second.
pub(super) fn buried() -> u64 {
    Process::read(getpid().as_raw_pid()).map_or(0, |own| own.of_children)
}

fn numbers() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The pod's first process: the one that started this, if it is an agent too.
fn root(all: &HashMap<i32, Process>) -> i32 {
    let parent = getppid().map(|parent| parent.as_raw_pid());
    let is_agent = |pid: &i32| all.get(pid).is_some_and(|process| process.is_agent);
    parent.filter(is_agent).unwrap_or_else(|| getpid().as_raw_pid())
}

/// Everybody in a PID namespace of the pod's own, those that were put there from outside included; else `root`, which
/// adopts the orphans, and its descendants.
fn members(all: &HashMap<i32, Process>, root: i32) -> Vec<(i32, &Process)> {
    let mut found = HashSet::from([root]);
    loop {
        let before = found.len();
        let more =
            all.iter().filter(|(pid, process)| root == 1 || found.contains(&process.parent) || found.contains(pid));
        let more: Vec<i32> = more.map(|(pid, _)| *pid).collect();
        found.extend(more);
        if found.len() == before {
            break;
        }
    }
    all.iter().filter(|(pid, _)| found.contains(pid)).map(|(pid, process)| (*pid, process)).collect()
}

/// Another user's processes are silent about it.
fn disk(pid: i32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
    Some(field("read_bytes:")? + field("write_bytes:")?)
}

/// proc_pid_status(5) has it in kibibytes; a thread of the kernel has none.
fn memory(pid: i32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let amount = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(amount.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
}

#[derive(Debug, PartialEq, Eq)]
struct Process {
    parent: i32,
    is_agent: bool,
    /// In hundredths of a second: the kernel tells times to programs so, whatever its own clock (USER_HZ).
    own: u64,
    of_children: u64,
}

impl Process {
    fn read(pid: i32) -> Option<Self> {
        let stat: io::Result<Vec<u8>> = fs::read(format!("/proc/{pid}/stat"));
        Self::parse(&String::from_utf8_lossy(&stat.ok()?))
    }

    /// proc_pid_stat(5). The name stands in parentheses and may hold anything, also parentheses.
    fn parse(stat: &str) -> Option<Self> {
        let (head, rest) = stat.rsplit_once(") ")?;
        let (_, name) = head.split_once('(')?;
        let fields: Vec<&str> = rest.split(' ').collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            is_agent: name == super::super::PROGRAM,
            own: field(14)? + field(15)?,
            of_children: field(16)? + field(17)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(parent: i32) -> Process {
        Process { parent, is_agent: false, own: 1, of_children: 0 }
    }

    #[test]
    fn names_may_be_anything() {
        let stat = "42 (a) b (c) S 7 42 42 0 -1 4194304 100 0 0 0 11 22 33 44 20 0 1 0 100 1 1";
        let read = Process::parse(stat).unwrap();
        assert_eq!(read, Process { parent: 7, is_agent: false, own: 33, of_children: 77 });
        assert!(Process::parse("42 (bastion-agent) S 1 0 0 0 0 0 0 0 0 0 1 2 3 4 ").unwrap().is_agent);
        assert_eq!(Process::parse("42 (short) S 7"), None);
    }

    #[test]
    fn memory_is_what_is_resident() {
        let own = memory(getpid().as_raw_pid()).unwrap();
        assert!((1 << 20..1 << 40).contains(&own), "{own}");
        assert_eq!(memory(-1), None);
    }

    #[test]
    fn a_namespace_of_its_own_is_all_the_pods_and_elsewhere_the_tree_is() {
        let all =
            HashMap::from([(1, process(0)), (10, process(1)), (11, process(10)), (12, process(11)), (99, process(0))]);
        let found = |root| {
            let mut found: Vec<i32> = members(&all, root).into_iter().map(|(pid, _)| pid).collect();
            found.sort_unstable();
            found
        };
        assert_eq!(found(1), [1, 10, 11, 12, 99]);
        assert_eq!(found(10), [10, 11, 12]);
    }

    #[tokio::test]
    async fn work_of_children_is_seen_while_they_run_and_after() {
        let before = taken().await;
        let mut child = std::process::Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        let busy = loop {
            let now = taken().await;
            if now.cpu > before.cpu + 20 {
                break now;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        };
        child.kill().unwrap();
        child.wait().unwrap();
        // Other tests' processes come and go meanwhile.
        assert!(taken().await.cpu + 10 >= busy.cpu, "what it took went over to its parent");
    }
}
