//! What the kernel tells of the container's memory, in the files of its control group of version 1 or 2.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::getppid;

/// A control group's folder.
pub(super) struct Cgroup(PathBuf);

/// In bytes. What is not told is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Memory {
    pub(super) limit: Option<u64>,
    /// The most that was in use at once; where the group is of version 2, kernels before 5.19 do not tell.
    pub(super) peak: Option<u64>,
}

/// Names the folder, where it is not where container runtimes show it.
const VARIABLE: &str = "BASTION_CGROUP";
const MOUNT: &str = "/sys/fs/cgroup";
/// A limit that is none, in version 1: all that a counter holds, in whole pages.
const UNLIMITED: u64 = 1 << 62;

impl Cgroup {
    /// The container's own; none where others are in it too: processes that share their numbers with the rest of the
    /// machine are no container.
    pub(super) fn own() -> Option<Self> {
        if let Some(folder) = std::env::var_os(VARIABLE) {
            return Some(Self(folder.into()));
        }
        let is_container = getppid().is_some_and(|parent| parent.is_init());
        let groups = is_container.then(|| fs::read_to_string("/proc/self/cgroup").ok())??;
        find(&groups, Path::new(MOUNT)).map(Self)
    }

    /// How many programs the kernel has ended because memory ran out.
    pub(super) fn kills(&self) -> Option<u64> {
        let text = self.read("memory.events").or_else(|| self.read("memory.oom_control"))?;
        text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
    }

    pub(super) fn memory(&self) -> Memory {
        let number = |name: &&str| self.read(name)?.trim().parse::<u64>().ok();
        let limit = ["memory.max", "memory.limit_in_bytes"].iter().find_map(number);
        let peak = ["memory.peak", "memory.max_usage_in_bytes"].iter().find_map(number);
        Memory { limit: limit.filter(|limit| *limit < UNLIMITED), peak }
    }

    fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.0.join(name)).ok()
    }
}

/// The folder of the group that counts memory, as `/proc/self/cgroup` and what is mounted tell. A container that does
/// not see the groups above its own has that right at the mount, whatever its path is called outside.
fn find(groups: &str, mount: &Path) -> Option<PathBuf> {
    let lines = || groups.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
    let of_memory = lines().find(|(names, _)| names.split(',').any(|name| name == "memory"));
    let (mount, path) = match of_memory {
        Some((_, path)) => (mount.join("memory"), path),
        None => (mount.to_owned(), lines().find(|(names, _)| names.is_empty())?.1),
    };
    let below = Some(path).filter(|path| !path.contains("..")).map(|path| mount.join(path.trim_start_matches('/')));
    let counts =
        |folder: &PathBuf| ["memory.events", "memory.oom_control"].iter().any(|name| folder.join(name).exists());
    below.into_iter().chain([mount]).find(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cgroup(files: &[(&str, &str)]) -> (Cgroup, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        (Cgroup(folder.path().to_owned()), folder)
    }

    #[test]
    fn both_versions_are_read_and_what_is_not_told_is_not_known() {
        type Case<'a> = (&'a [(&'a str, &'a str)], Option<u64>, Option<u64>, Option<u64>);
        let cases: [Case<'_>; 7] = [
            (
                &[
                    ("memory.events", "low 0\nhigh 0\nmax 120\noom 3\noom_kill 2\noom_group_kill 1\n"),
                    ("memory.max", "4294967296\n"),
                    ("memory.peak", "4290772992\n"),
                ],
                Some(2),
                Some(4_294_967_296),
                Some(4_290_772_992),
            ),
            (
                &[("memory.events", "oom 0\noom_kill 0\n"), ("memory.max", "max\n"), ("memory.current", "1048576\n")],
                Some(0),
                None,
                None,
            ),
            (
                &[
                    ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 7\n"),
                    ("memory.limit_in_bytes", "1073741824\n"),
                    ("memory.max_usage_in_bytes", "1073737728\n"),
                ],
                Some(7),
                Some(1_073_741_824),
                Some(1_073_737_728),
            ),
            (&[("memory.limit_in_bytes", "9223372036854771712\n")], None, None, None),
            (&[("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\n")], None, None, None),
            (&[("memory.events", "oom_kill many\noom_kill_disable 1\n"), ("memory.peak", "-1\n")], None, None, None),
            (&[], None, None, None),
        ];
        for (files, kills, limit, peak) in cases {
            let (cgroup, _folder) = cgroup(files);
            assert_eq!((cgroup.kills(), cgroup.memory()), (kills, Memory { limit, peak }), "{files:?}");
        }
    }

    #[test]
    fn the_group_is_found_wherever_it_is_mounted() {
        let (one, two) = ("memory/memory.oom_control", "memory.events");
        let cases = [
            ("5:cpu:/pod/c\n4:memory:/pod/c\n0::/\n", one, Some("memory")),
            ("4:cpu,memory:/pod/c\n0::/pod/c\n", "memory/pod/c/memory.oom_control", Some("memory/pod/c")),
            ("0::/\n", two, Some("")),
            ("0::/inner\n", "inner/memory.events", Some("inner")),
            ("0::/../elsewhere\n", two, Some("")),
            ("4:cpu:/\n", two, None),
            ("4:memory:/\n", two, None),
            ("nonsense", two, None),
        ];
        for (groups, file, place) in cases {
            let (_, folder) = cgroup(&[(file, "")]);
            let expected = place.map(|place| folder.path().join(place));
            assert_eq!(find(groups, folder.path()), expected, "{groups:?}");
        }
    }
}
