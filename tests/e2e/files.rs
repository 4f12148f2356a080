//! Files go both ways by the programs that people use for it.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::harness::with_agents;

/// Runs the agent's server under OpenSSH's client, with these commands, on files of this machine.
async fn sftp(folder: &Path, commands: &str) -> (bool, String) {
    let server = format!("{} sftp", env!("CARGO_BIN_EXE_bastion-agent"));
    let mut client = Command::new("sftp")
        .args(["-q", "-b", "-", "-D", &server])
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("sftp is installed");
    let mut stdin = client.stdin.take().expect("it is piped");
    stdin.write_all(commands.as_bytes()).await.expect("sftp reads");
    drop(stdin);
    let output = client.wait_with_output().await.expect("sftp ends");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), text)
}

#[tokio::test]
async fn sftp_does_what_openssh_does() {
    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    let path = |name: &str| folder.path().join(name);
    let bytes: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    fs::write(path("source"), &bytes).expect("it can be written");
    let (good, said) = sftp(
        folder.path(),
        "mkdir a\nput source a/one\nget a/one back\nput -p source a/two\nrename a/one a/three\nln a/three a/hard\n\
         symlink three a/soft\nchmod 600 a/two\ncp a/two a/copy\nls -la a\ndf a\npwd\n",
    )
    .await;
    assert!(good, "{said}");
    assert!(fs::read(path("back")).is_ok_and(|back| back == bytes));
    assert!(fs::read(path("a/copy")).is_ok_and(|copy| copy == bytes));
    assert_eq!(fs::metadata(path("a/two")).map(|two| two.permissions().mode() & 0o777).ok(), Some(0o600));
    assert_eq!(fs::metadata(path("a/three")).map(|three| three.nlink()).ok(), Some(2));
    assert_eq!(fs::read_link(path("a/soft")).ok().as_deref(), Some(Path::new("three")));
    assert!(said.contains("-rw-------"), "{said}");

    let refused = [("rename a/two a/nowhere/x", "No such file"), ("rmdir a", "Failure"), ("get missing", "not found")];
    for (command, reason) in refused {
        let (good, said) = sftp(folder.path(), command).await;
        assert!(!good && said.contains(reason), "{command}: {said}");
    }
}

/// Regression: new folders could be written by all: clients ask for 0777 and count on the umask.
#[tokio::test]
async fn a_new_folder_has_what_the_umask_leaves() {
    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    let (good, said) = sftp(folder.path(), "mkdir a\n").await;
    assert!(good, "{said}");
    let made = |name: &str| fs::metadata(folder.path().join(name)).map(|made| made.permissions().mode() & 0o777).ok();
    // What the umask leaves of 0777 here.
    fs::create_dir(folder.path().join("b")).expect("it can be made");
    assert_eq!(made("a"), made("b"));
}

#[tokio::test]
async fn an_interrupted_upload_is_resumed() {
    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    let bytes: Vec<u8> = (0..500_000_u32).flat_map(u32::to_le_bytes).collect();
    fs::write(folder.path().join("source"), &bytes).expect("it can be written");
    fs::write(folder.path().join("half"), &bytes[..777_777]).expect("it can be written");
    let (good, said) = sftp(folder.path(), "reput source half\n").await;
    assert!(good, "{said}");
    assert!(fs::read(folder.path().join("half")).is_ok_and(|whole| whole == bytes));
}

#[tokio::test]
async fn a_large_folder_and_a_large_file_are_no_trouble() {
    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    let many = folder.path().join("many");
    fs::create_dir(&many).expect("it can be made");
    for n in 0..100_000 {
        fs::File::create(many.join(n.to_string())).expect("it can be made");
    }
    let (good, said) = sftp(folder.path(), "ls -1 many\n").await;
    assert!(good);
    assert_eq!(said.lines().filter(|line| line.starts_with("many/")).count(), 100_000);

    let size = 5 << 30;
    fs::File::create(folder.path().join("large")).and_then(|large| large.set_len(size)).expect("holes are free");
    let (good, said) = sftp(folder.path(), "ls -l large\n").await;
    assert!(good && said.contains(&size.to_string()), "{said}");
}

#[tokio::test]
async fn sftp_and_scp_work_through_the_front_door() {
    let Some((product, [alice])) = with_agents(["alice"]).await else { return };
    let text = "to be kept\n";
    let file = product.folder().join(format!("{}-file", alice.name()));
    fs::write(&file, text).expect("it can be written");
    let scp = alice.shell().copy(file.to_str().expect("a plain name"), ":kept").run().await;
    scp.exits(0);
    alice.ssh("cat kept").run().await.exits(0).prints(text);
    alice.shell().argument("-s").command("sftp").run().await.exits(0).prints("");
}
