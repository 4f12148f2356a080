//! Colours are for terminals, and for whoever wants them (https://no-color.org).

use super::{DEVCTL, Desk};
use crate::harness::user;

#[tokio::test]
async fn no_color_takes_the_colours_away() {
    let alice = user("alice").await;
    alice.is_running().await;
    let desk = Desk::of(&alice).await;
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
