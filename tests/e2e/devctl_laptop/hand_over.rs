//! What devctl hands over to OpenSSH's programs. It is a client itself, so that no result tells which of them worked.

use std::os::unix::fs::PermissionsExt;

use super::Desk;
use crate::harness::user;

/// Takes OpenSSH's place: notes its name and its arguments, one a line, and ends as no program of a DevServer does.
const RECORDER: &str =
    "#!/bin/sh\nfor word in \"${0##*/}\" \"$@\"; do echo \"$word\"; done >>\"$HOME/asked\"\nexit 77\n";

impl Desk {
    /// The arguments with which `program` is run by devctl.
    async fn hands_over(&self, program: &str, arguments: &[&str]) -> Vec<String> {
        self.laptop.write("asked", "");
        let mut command = self.command(arguments);
        let path = std::env::var("PATH").expect("there is one");
        command.env("PATH", format!("{}:{path}", self.laptop.path("recorders").display()));
        Self::finish(command).await.exits(77);
        let asked = self.read("asked");
        let mut words = asked.lines().map(str::to_owned);
        assert_eq!(words.next().as_deref(), Some(program), "{asked}");
        words.collect()
    }
}

#[tokio::test]
async fn openssh_is_told_where_to_and_what() {
    let alice = user("alice").await;
    let desk = Desk::of(&alice).await;
    std::fs::create_dir(desk.laptop.path("recorders")).expect("it is our folder");
    for program in ["ssh", "scp"] {
        let file = format!("recorders/{program}");
        desk.laptop.write(&file, RECORDER);
        std::fs::set_permissions(desk.laptop.path(&file), std::fs::Permissions::from_mode(0o755)).expect("it is ours");
    }
    let port = alice.front().port().to_string();
    let name = alice.name();
    let (host, second) = (format!("{name}@127.0.0.1"), format!("{name}+second@127.0.0.1"));
    let port = port.as_str();

    assert_eq!(desk.hands_over("ssh", &["ssh"]).await, ["-p", port, &host]);
    let words = desk.hands_over("ssh", &["ssh", "-t", "second", "--", "echo  in; exit 3", "--x"]).await;
    assert_eq!(words, ["-p", port, "-t", &second, "echo  in; exit 3", "--x"]);
    let guest = format!("{name}+lab.bob@127.0.0.1");
    assert_eq!(desk.hands_over("ssh", &["ssh", "lab.bob", "true"]).await, ["-p", port, &guest, "true"]);

    let (there, file) = (format!("{second}:a b"), "-rf");
    let words = desk.hands_over("scp", &["cp", "-r", "-p", "--", file, "second:a b"]).await;
    assert_eq!(words, ["-P", port, "-r", "-p", "--", file, &there]);
    assert_eq!(desk.hands_over("scp", &["cp", "second:a b", "."]).await, ["-P", port, "--", &there, "."]);

    let alone = ["-N", "-o", "ExitOnForwardFailure=yes", "-o", "ControlPath=none"];
    let forwards = ["-L", "127.0.0.1:8080:localhost:80", "-L", "127.0.0.1:9:localhost:9"];
    let words = desk.hands_over("ssh", &["forward", "second", "8080:80", "9"]).await;
    assert_eq!(words, [&["-p", port][..], &alone, &forwards, &[second.as_str()]].concat());

    // The key that she chose at login is hers there, too.
    let key = desk.laptop.path("key").display().to_string();
    desk.devctl(&["login", "--identity", &key, &desk.bastion]).await.exits(0);
    assert_eq!(desk.hands_over("ssh", &["ssh"]).await, ["-p", port, "-i", &key, &host]);
    let here = desk.hands_over("scp", &["cp", "x", ":y"]).await;
    assert_eq!(here, ["-P", port, "-i", &key, "--", "x", &format!("{host}:y")]);
}
