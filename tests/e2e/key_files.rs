//! Keys in a folder of files, and keys with strings attached.

use std::path::Path;

use bastion::api::DevServerUser;
use kube::Api;
use tempfile::TempDir;

use crate::harness::{Product, Replica, Ssh, User, eventually, public};

#[tokio::test]
async fn a_user_of_a_key_file_gets_an_object_at_her_first_login() {
    let product = Product::shared().await;
    let carol = product.stranger("carol");
    let users: Api<DevServerUser> = Api::all(product.client());

    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    let replica = replica_with_files(&product, folder.path()).await;
    carol.ssh_at(&replica, "echo in").run().await.exits(255).prints("");

    std::fs::copy(carol.key().with_extension("pub"), folder.path().join(format!("{}.pub", carol.name())))
        .expect("the folder is ours");
    eventually("the file is read", async || {
        (carol.ssh_at(&replica, "echo in").run().await.text() == "in\n").then_some(())
    })
    .await;
    users.get(carol.name()).await.expect("the object was made");

    std::fs::remove_file(folder.path().join(format!("{}.pub", carol.name()))).expect("it is there");
    eventually("the file is missed", async || {
        (carol.ssh_at(&replica, "echo in").run().await.text() != "in\n").then_some(())
    })
    .await;
}

async fn replica_with_files(product: &Product, folder: &Path) -> Replica {
    let files = format!("{{ kind = \"files\", directory = \"{}\" }}", folder.display());
    product.serve(&[&format!("identity.registries=[{{ kind = \"user-objects\" }}, {files}]")]).await
}

/// What a line of an `authorized_keys` file lets its key do.
struct Line {
    alice: User,
    folder: TempDir,
    replica: Replica,
}

impl Line {
    async fn of(product: &Product) -> Self {
        let alice = product.user("alice").await;
        let folder = tempfile::tempdir().expect("there is a folder for temporary files");
        let files = format!("{{ kind = \"files\", directory = \"{}\" }}", folder.path().display());
        let replica = product.serve(&[&format!("identity.registries=[{files}]")]).await;
        Self { alice, folder, replica }
    }

    /// Logs in with a key that has these options.
    fn with(&self, options: &str) -> Ssh {
        let line = format!("{options} {}", public(self.alice.key()));
        std::fs::write(self.folder.path().join(self.alice.name()), line).expect("the folder is ours");
        self.alice.shell_at(&self.replica)
    }
}

#[tokio::test]
async fn a_key_is_let_in_as_its_options_say() {
    let product = Product::shared().await;
    let line = Line::of(&product).await;
    let forced = line.with("command=\"echo \\\"forced, $SSH_ORIGINAL_COMMAND\\\"\"");
    forced.command("echo in").run().await.exits(0).prints("forced, echo in\n");
    let forced = line.with("command=\"echo ${SSH_ORIGINAL_COMMAND-a shell}\",no-pty");
    forced.run().await.exits(0).prints("a shell\n");
    let sftp = line.with("restrict,command=\"internal-sftp\"").argument("-s").command("sftp");
    sftp.run().await.exits(0).prints("");
    for options in ["restrict", "no-pty"] {
        let refused = line.with(options).argument("-tt").command("echo in").run().await;
        refused.exits(255).prints("").says("PTY allocation request failed");
        line.with(options).command("echo in").run().await.exits(0).prints("in\n");
    }
    line.with("restrict,pty").argument("-tt").command("test -t 0 && echo in").run().await.exits(0).prints("in\r\n");
    let welcome = ["from=\"127.0.0.0/8\"", "from=\"10.*,127.0.0.?\"", "expiry-time=\"20991231\"", "no-port-forwarding"];
    for options in welcome {
        line.with(options).command("echo in").run().await.exits(0).prints("in\n");
    }
    for options in ["from=\"10.0.0.0/8\"", "from=\"*,!127.0.0.1\"", "expiry-time=\"20200101\""] {
        line.with(options).command("echo in").run().await.exits(255).prints("");
    }
}

/// A restriction that is read over would be a right that nobody gave.
#[tokio::test]
async fn a_key_with_options_that_cannot_be_honoured_is_refused_and_the_log_says_so() {
    let product = Product::shared().await;
    let mut line = Line::of(&product).await;
    for option in ["environment=\"A=b\"", "tunnel=\"1\"", "from=\"10.0.0.0/99\""] {
        line.with(option).command("echo in").run().await.exits(255).prints("");
        let log = line.replica.server().log();
        let name = option.split('=').next().expect("it has one");
        let what = if name == "from" { "10.0.0.0/99" } else { name };
        assert!(log.lines().any(|line| line.contains("WARN") && line.contains(what)), "{what}: {log}");
    }
}

/// A typo in a list of keys was to be seen nowhere.
#[tokio::test]
async fn a_line_that_cannot_be_read_is_told_once_and_hides_no_other() {
    let product = Product::shared().await;
    let mut line = Line::of(&product).await;
    for _ in 0..2 {
        line.with("ssh-ed25519 AAAAtypo\n").command("echo in").run().await.exits(0).prints("in\n");
    }
    let log = line.replica.server().log();
    assert_eq!(log.matches("ignored a line of a user's keys").count(), 1, "{log}");
}

#[tokio::test]
async fn a_banner_is_shown_before_the_login() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let replica = product.serve(&["ssh.banner=Authorised use only."]).await;
    alice.ssh_at(&replica, "echo in").run().await.exits(0).prints("in\n").says("Authorised use only.");
}
