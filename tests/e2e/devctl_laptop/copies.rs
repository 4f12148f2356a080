//! `devctl cp` on a laptop without OpenSSH: as scp has it, over devctl's own connection.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::{DEVCTL, Desk};
use crate::harness::{Finished, Flood, has_agents, skip_unless, user};

impl Desk {
    /// `devctl cp` where there is no other program.
    async fn copies(&self, words: &[&str]) -> Finished {
        let mut command = self.command(&[&["cp"], words].concat());
        command.env("PATH", "/nonexistent");
        Self::finish(command).await
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

#[tokio::test]
async fn a_file_is_the_same_at_the_other_end() {
    skip_unless!(has_agents(), "pods without the agent have no sftp");
    let alice = user("alice").await;
    alice.ssh("seq 2000000 >longer").run().await.exits(0);
    let desk = Desk::of(&alice).await;
    // No multiple of what is sent at once.
    let mut flood = Flood::bytes(11, 9_000_001);
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut flood, &mut bytes).expect("it is in memory");
    desk.laptop.write("two words", &bytes);
    let sum = format!("{}  longer\n", Flood::bytes(11, 9_000_001).sha256());
    desk.copies(&["two words", "dev:longer"]).await.exits(0).prints("").says_exactly("");
    alice.ssh("sha256sum longer").run().await.exits(0).prints(&sum);
    desk.laptop.write("back", vec![0; 10_000_000]);
    desk.copies(&["dev:longer", "back"]).await.exits(0).prints("").says_exactly("");
    assert!(desk.laptop.holds("back", &bytes));
    // Into a folder, by a name of the home, and into the default DevServer.
    fs::create_dir(desk.laptop.path("folder")).expect("it is ours");
    alice.ssh("mkdir there; cp longer empty; : >empty").run().await.exits(0);
    desk.copies(&["dev:~/longer", ":empty", "folder"]).await.exits(0).says_exactly("");
    assert!(desk.laptop.holds("folder/longer", &bytes) && desk.laptop.holds("folder/empty", b""));
    desk.copies(&["two words", "back", ":there"]).await.exits(0).says_exactly("");
    alice.ssh("cmp 'there/two words' there/back; ls there").run().await.exits(0).prints("back\ntwo words\n");

    let file = File::open(desk.laptop.path("two words")).expect("it is there");
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000)).expect("it is ours");
    file.set_permissions(Permissions::from_mode(0o751)).expect("it is ours");
    desk.copies(&["-p", "two words", "dev:kept"]).await.exits(0).says_exactly("");
    alice.ssh("stat -c '%a %Y' kept").run().await.prints("751 1000000000\n");
    desk.copies(&["-p", "dev:kept", "kept"]).await.exits(0).says_exactly("");
    assert_eq!(mode(&desk.laptop.path("kept")), 0o751);
    let times = fs::metadata(desk.laptop.path("kept")).expect("it is there").modified().expect("it has one");
    assert_eq!(times, SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000));
}

#[tokio::test]
async fn folders_go_with_all_that_is_in_them() {
    skip_unless!(has_agents(), "pods without the agent have no sftp");
    let alice = user("alice").await;
    alice.is_running().await;
    // Else it is told what is waited for.
    alice.has_another_running("second").await;
    let desk = Desk::of(&alice).await;
    let top = desk.laptop.path("top");
    fs::create_dir_all(top.join("two words/deep")).expect("it is ours");
    for (name, text) in [("empty", ""), ("two words/.hidden *", "x"), ("two words/deep/ä.txt", "a\0b")] {
        fs::write(top.join(name), text).expect("it is ours");
    }
    symlink("two words", top.join("link")).expect("it is ours");
    fs::set_permissions(top.join("two words/deep"), Permissions::from_mode(0o500)).expect("it is ours");
    desk.copies(&["-r", "-p", "top", "dev:"]).await.exits(0).prints("").says_exactly("");
    let list = "cd top; find . ! -type d | sort; find . -type l; stat -c %a 'two words/deep'";
    let files = "./empty\n./link/.hidden *\n./link/deep/ä.txt\n./two words/.hidden *\n./two words/deep/ä.txt\n";
    alice.ssh(list).run().await.exits(0).prints(&format!("{files}500\n"));
    // There is such a folder now, so it goes into that.
    desk.copies(&["-r", "top", "dev:top"]).await.exits(0).says_exactly("");
    alice.ssh("ls top/top").run().await.exits(0).prints("empty\nlink\ntwo words\n");

    // From one DevServer to another, and by a pattern that only the DevServer understands.
    desk.copies(&["-r", "dev:top/two*", "second:words"]).await.exits(0).says_exactly("");
    alice.shell_in("second").command("cat words/deep/*").run().await.exits(0).prints("a\0b");
    desk.copies(&["-r", "second:words/.", "back"]).await.exits(0).says_exactly("");
    assert!(desk.laptop.holds("back/deep/ä.txt", b"a\0b") && desk.laptop.holds("back/.hidden *", b"x"));
    desk.copies(&["-r", "dev:top", "dev:top/two words"]).await.exits(1).says("copied into itself");
    desk.copies(&["dev:top/empty", "dev:top/empty"]).await.exits(1).says("copied to itself");
}

#[tokio::test]
async fn what_cannot_be_copied_is_named_and_the_rest_is_copied() {
    skip_unless!(has_agents(), "pods without the agent have no sftp");
    let alice = user("alice").await;
    alice
        .ssh("mkdir folder; echo it >file; ln -s . folder/loop; echo in >folder/file; mkfifo folder/pipe")
        .run()
        .await
        .exits(0);
    let desk = Desk::of(&alice).await;
    fs::create_dir(desk.laptop.path("here")).expect("it is ours");
    // Nobody may read it, root neither.
    let denied = "dev:/proc/sys/vm/drop_caches";
    let copied = desk.copies(&["dev:nope", denied, "dev:folder", "dev:file", "here"]).await;
    copied
        .exits(1)
        .prints("")
        .says("dev:nope: No such file or directory")
        .says(&format!("{denied}: Permission denied"));
    copied.says("dev:folder: it is a folder, which `-r` copies");
    assert!(desk.laptop.holds("here/file", b"it\n"));
    let copied = desk.copies(&["-r", "dev:folder", "here"]).await;
    copied.exits(1).says("dev:folder/loop: it leads back").says("dev:folder/pipe: neither a file nor a folder");
    assert!(desk.laptop.holds("here/folder/file", b"in\n"));
    desk.copies(&["here/file", "dev:nope/file"]).await.exits(1).says("dev:nope/file: No such file or directory");
    desk.copies(&["nothing", "dev:"]).await.exits(1).says("nothing: No such file or directory");
    desk.copies(&["here/file", "key", "dev:nope"]).await.exits(1).says("dev:nope is not a folder");
    desk.copies(&["here/file", "copy"]).await.exits(2).says("none of these is in a DevServer");
    desk.copies(&["here/file", "nope:"]).await.says("you have no DevServer `nope`").fails();
    desk.copies(&["here/file", "No:"]).await.exits(255).says("devctl list");
}

#[tokio::test]
async fn ctrl_c_ends_a_copy() {
    skip_unless!(has_agents(), "pods without the agent have no sftp");
    let alice = user("alice").await;
    alice.is_running().await;
    let desk = Desk::of(&alice).await;
    // It has no blocks, and goes nowhere; but it takes its time.
    let endless = File::create(desk.laptop.path("endless")).expect("it is ours");
    endless.set_len(1 << 42).expect("files have holes");
    let script = format!("PATH=/nonexistent {DEVCTL} cp endless dev:/dev/null; echo \"status $?\"");
    let mut copy = desk.runs_at_a_terminal("sh", &["-c", &format!("trap : INT; {script}")]);
    copy.shows("0% ").await;
    copy.shows("MiB/s").await;
    copy.types("\x03").await;
    copy.shows_row("status 130").await;
    copy.exits(0).await;
}
