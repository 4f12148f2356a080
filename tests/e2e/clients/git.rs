//! git, by the ssh that it calls.

use super::{alice, bytes};
use crate::harness::skip_unless;

#[tokio::test]
async fn git_clones_and_pushes() {
    let (_product, alice, laptop) = alice().await;
    let made = alice.ssh("git init --quiet --bare repository.git").run().await;
    skip_unless!(made.stderr().is_empty(), "the pod's image has no git");
    let git = async |arguments: &str| {
        let configuration = ["-c", "user.name=alice", "-c", "user.email=alice@example.org"];
        let arguments: Vec<&str> = configuration.into_iter().chain(arguments.split(' ')).collect();
        laptop.run("git", &arguments).await
    };
    git("clone --quiet pod:repository.git work").await.exits(0);
    laptop.write("work/file", bytes());
    git("-C work add file").await.exits(0);
    git("-C work commit --quiet -m first").await.exits(0);
    git("-C work push --quiet origin HEAD:main").await.exits(0);
    git("clone --quiet --branch main ssh://pod/~/repository.git again").await.exits(0);
    assert!(laptop.holds("again/file", &bytes()));
    git("-C again fetch pod:missing.git").await.fails().says("does not appear to be a git repository");
}
