//! `ssh alice@bastion 'exec cat >file' <file` writes the whole file, always. The shell is replaced by `cat`, whose
//! stdout is the file: to containerd the exec's stdout has ended, and it closes stdin (design of containerd, not ours).

use std::time::Duration;

use crate::harness::{Flood, Input, Product, User, heavy, is_real, skip_unless};

const SIZE: u64 = 200_000_000;
const TIMES: usize = 20;

#[tokio::test]
async fn uploads_are_whole() {
    let product = Product::shared().await;
    let alice = product.user("upload").await;
    uploads_are_whole_for(&alice).await;
}

#[tokio::test]
async fn uploads_are_whole_in_a_busybox_image() {
    skip_unless!(is_real(), "on the embedded cluster every image is this machine's programs");
    let product = Product::shared().await;
    let busy = product.user_with_image("busybox", "localhost/busybox:1").await;
    uploads_are_whole_for(&busy).await;
}

async fn uploads_are_whole_for(user: &User) {
    user.is_running().await;
    let _turn = heavy().await;
    let file = Flood::bytes(7, SIZE);
    let digest = file.sha256();
    for turn in 1..=TIMES {
        let upload = user.ssh("exec cat >f").input(Input::Flood(file.clone())).run().await;
        upload.exits(0).prints("").says_exactly("");
        let sum = user.ssh("sha256sum <f; rm f").limit(Duration::from_secs(60)).run().await;
        let sum = sum.exits(0).text();
        assert_eq!(sum.split_whitespace().next(), Some(digest.as_str()), "upload {turn} of {TIMES}");
    }
}
