//! Clients that are about files: libssh2 by curl, lftp, rclone, sshfs.

use std::path::Path;

use super::{alice, bytes};
use crate::harness::{eventually, has_agents, is_installed, skip_unless};

const NO_AGENT: &str = "the pods have no agent";

#[tokio::test]
async fn lftp_transfers_files() {
    skip_unless!(has_agents(), NO_AGENT);
    skip_unless!(is_installed("lftp"), "lftp is not installed");
    let (_product, alice, laptop) = alice().await;
    laptop.write("folder/one", bytes());
    laptop.write("folder/a name with spaces", "two");
    let commands = "set sftp:auto-confirm no; set net:max-retries 1; open sftp://pod; mirror -R folder there; \
                    mv there/one there/other; mirror there back; rm -r there; put folder/one; quit";
    laptop.run("lftp", &["-c", commands]).await.exits(0);
    assert!(laptop.holds("back/other", &bytes()) && laptop.holds("back/a name with spaces", b"two"));
    alice.ssh("ls; wc -c <one").run().await.exits(0).prints("one\n3000001\n");
}

/// Go's SSH library in the use that people have for it.
#[tokio::test]
async fn rclone_transfers_files() {
    skip_unless!(has_agents(), NO_AGENT);
    skip_unless!(is_installed("rclone"), "rclone is not installed");
    let (_product, _alice, laptop) = alice().await;
    laptop.write("folder/one", bytes());
    laptop.write("folder/a name with spaces", "two");
    let configuration = format!(
        "[pod]\ntype = sftp\nhost = 127.0.0.1\nport = {}\nuser = {}\nkey_file = {}\nknown_hosts_file = {}\n",
        laptop.port(),
        laptop.login(),
        laptop.path("key").display(),
        laptop.path(".ssh/known_hosts").display()
    );
    laptop.write("rclone.conf", configuration);
    let rclone = async |words: &[&str]| {
        let arguments: Vec<&str> = ["--config", "rclone.conf"].iter().chain(words).copied().collect();
        laptop.run("rclone", &arguments).await
    };
    rclone(&["sync", "folder", "pod:there"]).await.exits(0);
    rclone(&["check", "folder", "pod:there"]).await.exits(0).says("2 matching files"); // By the pod's md5sum.
    rclone(&["sync", "pod:there", "back"]).await.exits(0);
    assert!(laptop.holds("back/one", &bytes()) && laptop.holds("back/a name with spaces", b"two"));
}

#[tokio::test]
async fn sshfs_is_a_folder() {
    skip_unless!(has_agents(), NO_AGENT);
    skip_unless!(is_installed("sshfs"), "sshfs is not installed");
    skip_unless!(std::fs::File::options().write(true).open("/dev/fuse").is_ok(), "/dev/fuse cannot be used here");
    let (_product, alice, laptop) = alice().await;
    laptop.write("there/.keep", "");
    std::fs::remove_file(laptop.path("there/.keep")).expect("it was written");
    let mut sshfs = laptop.start("sshfs", &["-f", "pod:", "there"]);
    alice.ssh("echo mounted >sign").run().await.exits(0);
    eventually("the mount", async || {
        let ended = sshfs.try_wait().expect("it is our child");
        assert!(ended.is_none(), "sshfs ended: {ended:?}");
        laptop.holds("there/sign", b"mounted\n").then_some(())
    })
    .await;
    let path = laptop.path("there");
    let work = tokio::task::spawn_blocking(move || work_in(&path));
    let worked = work.await.expect("it does not panic");
    laptop.run("fusermount3", &["-u", "there"]).await.exits(0);
    worked.expect("it is a folder like others");
    alice.ssh("stat -c '%a %s %Y' there; cat appended").run().await.prints("750 10 86400\none\ntwo\n");
}

/// What programs do in a folder.
fn work_in(folder: &Path) -> std::io::Result<()> {
    use std::fs::{self, File, Permissions};
    use std::io::{Error, Write};
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::time::{Duration, SystemTime};
    let file = folder.join("file");
    fs::write(&file, bytes())?;
    if fs::read(&file)? != bytes() {
        return Err(Error::other("other bytes"));
    }
    fs::rename(&file, folder.join("there"))?;
    symlink("there", folder.join("link"))?;
    let link = File::options().write(true).open(folder.join("link"))?;
    link.set_len(10)?;
    link.set_permissions(Permissions::from_mode(0o750))?;
    link.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(86_400))?;
    drop(link);
    for line in ["one", "two"] {
        writeln!(File::options().append(true).create(true).open(folder.join("appended"))?, "{line}")?;
    }
    fs::create_dir(folder.join("new"))?;
    match fs::read_dir(folder)?.count() {
        n if n >= 5 => fs::remove_dir(folder.join("new")),
        n => Err(Error::other(format!("{n} entries"))),
    }
}

/// Before version 1.11, which Debian 13 has, libssh2 knows no MAC that bastion offers by itself.
#[tokio::test]
async fn libssh2_transfers_files() {
    skip_unless!(has_agents(), NO_AGENT);
    let version = std::process::Command::new("curl").arg("--version").output().map(|output| output.stdout);
    let version = String::from_utf8_lossy(&version.unwrap_or_default()).into_owned();
    skip_unless!(version.contains("libssh2/") && version.contains(" sftp "), "there is no curl with libssh2");
    let (product, alice, _) = alice().await;
    let macs = "ssh.macs=[\"hmac-sha2-256-etm@openssh.com\", \"hmac-sha2-512-etm@openssh.com\", \"hmac-sha2-256\"]";
    let replica = product.serve(&[macs]).await;
    alice.is_known_at(&replica).await;
    let laptop = crate::harness::Laptop::new(&alice, &replica);
    laptop.write("up", bytes());
    let user = format!("{}:", laptop.login());
    let common = ["--no-progress-meter", "--key", "key", "--pubkey", "key.pub", "--user", &user];
    let curl = async |arguments: &[&str], path: &str| {
        let address = format!("sftp://127.0.0.1:{}/~/{path}", laptop.port());
        let arguments: Vec<&str> = common.iter().chain(arguments).copied().chain([address.as_str()]).collect();
        laptop.run("curl", &arguments).await
    };
    curl(&["--ftp-create-dirs", "--upload-file", "up"], "a/new/there").await.exits(0);
    curl(&["--output", "back"], "a/new/there").await.exits(0);
    assert!(laptop.holds("back", &bytes()));
    assert!(curl(&["--list-only"], "a/new/").await.text().lines().any(|name| name == "there"));
    curl(&[], "missing").await.exits(78);
    assert!(curl(&["--range", "256-511"], "a/new/there").await.text().len() > 128);
}
