//! Histories: what happens to a cluster before it is asked for what it is measured by.

use super::deeds::Deed;
use super::dice::Dice;
use super::model::Wish;

#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Somebody changes or deletes what is asked for.
    Wish(Wish),
    /// Somebody meddles with what the operator made of it.
    Deed(Deed),
    /// The operator begins.
    Start,
    /// It is told to stop, and does.
    Stop,
    /// It is killed, in the middle of whatever it does.
    Kill,
    /// Its watches end.
    Cut,
    /// It hears and reaches nothing.
    Down,
    /// It reaches the cluster again; what it has not heard of, the API server has forgotten.
    UpToNothing,
    /// It reaches the cluster again.
    Up,
}

pub(super) fn history(dice: &mut Dice, length: usize) -> Vec<Step> {
    let (mut runs, mut hears) = (true, true);
    let mut steps = vec![Step::Start];
    // Something to work with.
    steps.extend((0..8).map(|_| Step::Wish(Wish::any(dice))));
    while steps.len() < length {
        steps.push(match dice.below(12) {
            0 if runs => {
                runs = false;
                if dice.once_in(4) { Step::Stop } else { Step::Kill }
            }
            0 | 1 if !runs => {
                runs = true;
                Step::Start
            }
            2 if hears => Step::Cut,
            3 if hears => {
                hears = false;
                Step::Down
            }
            2..=4 if !hears => {
                hears = true;
                if dice.once_in(3) { Step::Up } else { Step::UpToNothing }
            }
            5..=8 => Step::Deed(Deed::any(dice)),
            _ => Step::Wish(Wish::any(dice)),
        });
    }
    steps
}
