//! Completion tells nothing of what is another's.

use super::Desk;
use crate::harness::{Product, eventually};

#[tokio::test]
async fn files_of_another_user_are_not_completed() {
    let product = Product::shared().await;
    let (alice, bob) = (product.user("alice").await, product.user("bob").await);
    alice.ssh("touch secrets-of-hers").run().await.exits(0);
    bob.ssh("touch secrets-of-his").run().await.exits(0);
    let desk = Desk::of(&alice).await;
    // Hers are, so that it is no wonder that his are not. An answer that comes too late for a finger on the key is not
    // shown.
    eventually("hers", async || (desk.completes("dev:sec").await.text() == "dev:secrets-of-hers").then_some(())).await;
    let (name, namespace) = (bob.name(), bob.namespace());
    for his in [format!("dev.{name}"), format!("{name}/dev"), format!("../{namespace}/dev"), format!("{name}+dev")] {
        desk.completes(&format!("{his}:sec")).await.exits(0).prints("").says_exactly("");
    }
}
