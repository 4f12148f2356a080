//! `bastion-agent install FOLDER`: what the pod's init container runs.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use super::place::{COMMANDS, NVML, PROGRAM};
use super::scp::SCP;

/// Copies this program into `folder`, with what reads GPUs, if that lies beside it, and the commands that it is
/// besides.
pub fn install(folder: &Path) -> io::Result<()> {
    copy_programs(&std::env::current_exe()?, folder)?;
    super::startup::install(folder)?;
    let commands = folder.join(COMMANDS);
    fs::create_dir_all(&commands)?;
    match symlink(Path::new("..").join(PROGRAM), commands.join(SCP)) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

fn copy_programs(program: &Path, folder: &Path) -> io::Result<()> {
    let nvml = program.with_file_name(NVML);
    if nvml.exists() {
        copy(&nvml, folder, NVML)?;
    }
    copy(program, folder, PROGRAM)
}

fn copy(program: &Path, folder: &Path, name: &str) -> io::Result<()> {
    // Under another name first: a container that starts meanwhile must not find half of it.
    let unfinished = folder.join(format!(".{name}"));
    fs::copy(program, &unfinished)?;
    fs::set_permissions(&unfinished, fs::Permissions::from_mode(0o755))?;
    fs::rename(unfinished, folder.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_reads_gpus_is_installed_where_it_lies_beside_the_agent() {
        let (image, pod) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (agent, nvml) = (image.path().join("bastion-agent"), image.path().join(NVML));
        fs::write(&agent, "agent").unwrap();
        copy_programs(&agent, pod.path()).unwrap();
        assert_eq!(files(pod.path()), [(PROGRAM.to_owned(), "agent".to_owned(), 0o755)]);

        fs::write(&nvml, "nvml").unwrap();
        copy_programs(&agent, pod.path()).unwrap();
        let both = [(PROGRAM, "agent"), (NVML, "nvml")].map(|(name, text)| (name.to_owned(), text.to_owned(), 0o755));
        assert_eq!(files(pod.path()), both);
    }

    /// Their names, contents and modes.
    fn files(folder: &Path) -> Vec<(String, String, u32)> {
        let file = |entry: fs::DirEntry| {
            let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
            (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap(), mode)
        };
        let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| file(entry.unwrap())).collect();
        files.sort();
        files
    }
}
