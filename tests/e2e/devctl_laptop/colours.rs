//! Colours are for terminals, and for whoever wants them (https://no-color.org).

use super::{DEVCTL, Desk};
use crate::harness::Product;

#[tokio::test]
async fn no_color_takes_the_colours_away() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice.is_running().await;
    let desk = Desk::new(&alice, product.front());
    desk.logs_in().await;
    // What the bastion writes, and what devctl writes itself.
    for (verb, shown) in [("list", "Running"), ("doctor", "dev is running")] {
        for (variable, coloured) in [("NO_COLOR=", true), ("NO_COLOR=1", false), ("NO_COLOR=0", false)] {
            let mut terminal = desk.runs_at_a_terminal("env", &[variable, DEVCTL, verb]);
            terminal.shows(shown).await;
            terminal.exits(0).await;
            assert_eq!(terminal.has_colours(), coloured, "{verb} with {variable}");
        }
        let piped = desk.devctl(&[verb]).await;
        assert!(piped.text().contains(shown) && !piped.text().contains('\x1b'), "{}", piped.text());
    }
}
