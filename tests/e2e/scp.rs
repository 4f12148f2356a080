//! `scp -O`: the first protocol of scp, by the agent where the image has no scp.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use crate::harness::{Product, Ssh, User, has_agents, skip_unless};

/// A user whose programs see no scp but the agent's: of all folders in PATH, the last.
async fn user_without_scp(product: &Product) -> User {
    let alice = product.user("alice").await;
    // As under sshd, bash reads this before a command.
    alice.ssh("echo 'PATH=${PATH##*:}' >.bashrc").run().await.exits(0);
    let found = alice.ssh("command -v scp").run().await;
    assert!(!["/usr/bin/scp\n", "/bin/scp\n", ""].contains(&found.exits(0).text().as_str()), "{}", found.text());
    alice
}

fn scp(ssh: Ssh, from: &str, to: &str) -> Ssh {
    ssh.argument("-O").copy(from, to)
}

/// What is in a folder: of each path the mode, when it was changed, and what is in it.
fn list(folder: &Path) -> BTreeMap<String, (u32, i64, Vec<u8>)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("it is a folder") {
        let path = entry.expect("it can be read").path();
        let metadata = fs::metadata(&path).expect("it is there");
        let name = path.file_name().expect("it has one").to_string_lossy().into_owned();
        if metadata.is_dir() {
            found.extend(list(&path).into_iter().map(|(below, facts)| (format!("{name}/{below}"), facts)));
        }
        let bytes = fs::read(&path).unwrap_or_default();
        found.insert(name, (metadata.mode(), metadata.mtime(), bytes));
    }
    found
}

/// Folders in folders, names with blanks, files that are empty, large, hidden, executable, or links.
fn tree() -> TempDir {
    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    let top = folder.path().join("top");
    fs::create_dir_all(top.join("two words/deep")).expect("it can be made");
    let large: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    let files: [(&str, &[u8], u32); 4] =
        [("empty", b"", 0o644), ("large", &large, 0o400), ("two words/.run *", b"x", 0o755), ("ä.txt", b"a\0b", 0o600)];
    for (name, bytes, mode) in files {
        fs::write(top.join(name), bytes).expect("it can be written");
        fs::set_permissions(top.join(name), Permissions::from_mode(mode)).expect("it is ours");
    }
    symlink("large", top.join("link")).expect("it can be made");
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    for name in ["large", "two words/deep", "two words", ""] {
        fs::File::open(top.join(name)).and_then(|file| file.set_modified(long_ago)).expect("it is ours");
    }
    folder
}

fn path(folder: &TempDir, name: &str) -> String {
    folder.path().join(name).to_str().expect("a plain name").to_owned()
}

#[tokio::test]
async fn folders_go_there_and_come_back_as_they_were() {
    skip_unless!(has_agents(), "the pods have no agent");
    let product = Product::shared().await;
    let alice = user_without_scp(&product).await;
    let (tree, back) = (tree(), tempfile::tempdir().expect("there is a folder for temporary files"));
    let rp = || alice.shell().argument("-r").argument("-p");
    scp(rp(), &path(&tree, "top"), ":there").run().await.exits(0).says_exactly("");
    scp(rp().argument("-v"), ":there", &path(&back, "top")).run().await.exits(0);
    assert_eq!(list(back.path()), list(tree.path()));

    // Once more, into what is there by now; then what a shell makes of a path.
    scp(rp(), &path(&tree, "top"), ":there").run().await.exits(0);
    scp(alice.shell(), ":~/there/*/{empty,*.txt}", &path(&back, "")).run().await.exits(0);
    assert_eq!(fs::read(back.path().join("ä.txt")).expect("it came"), b"a\0b");
    assert_eq!(fs::read(back.path().join("empty")).expect("it came"), b"");
}

#[tokio::test]
async fn a_jump_leads_to_the_same() {
    skip_unless!(has_agents(), "the pods have no agent");
    let product = Product::shared().await;
    let alice = user_without_scp(&product).await;
    let (tree, back) = (tree(), tempfile::tempdir().expect("there is a folder for temporary files"));
    let known_hosts = product.folder().join(format!("{}-known", alice.name()));
    let jump = || alice.shell().jump("dev", alice.key(), &known_hosts);
    scp(jump(), &path(&tree, "top/large"), ":").run().await.exits(0);
    scp(jump(), ":large", &path(&back, "large")).run().await.exits(0);
    assert_eq!(fs::read(back.path().join("large")).ok(), fs::read(tree.path().join("top/large")).ok());
}

#[tokio::test]
async fn what_cannot_be_copied_is_told() {
    skip_unless!(has_agents(), "the pods have no agent");
    let product = Product::shared().await;
    let alice = user_without_scp(&product).await;
    let (tree, back) = (tree(), tempfile::tempdir().expect("there is a folder for temporary files"));
    scp(alice.shell(), &path(&tree, "top/empty"), ":no/such/folder")
        .run()
        .await
        .fails()
        .says("scp: no/such/folder: No such");
    scp(alice.shell(), &path(&tree, "top/empty"), ":/dev/full").run().await.exits(0);
    scp(alice.shell(), &path(&tree, "top/large"), ":/dev/full").run().await.fails().says("/dev/full: No space left");
    scp(alice.shell(), ":missing", &path(&back, "")).run().await.fails().says("scp: missing: No such file");
    scp(alice.shell(), ":.", &path(&back, "")).run().await.fails().says("scp: .: not a regular file");
    // One that is missing keeps nobody from the others.
    scp(alice.shell(), &path(&tree, "top/empty"), ":one").run().await.exits(0);
    scp(alice.shell(), ":{missing,one}", &path(&back, "")).run().await.fails().says("scp: missing: No such file");
    assert!(back.path().join("one").exists());
    alice.ssh("scp one elsewhere:").run().await.exits(1).says("openssh-client");
}
