//! Who gets which login and e-mail address: settled once for a run, over what all of its entries ask for, in an order
//! of rules and not of entries.
//!
//! 1. Who holds an identifier and whose entry offers it keeps it.
//! 2. A disabled entry asks for nothing that an enabled one asks for, and a deactivated holder gives way to an enabled
//!    entry.
//! 3. A login that exactly one entry asks for goes to that entry; one that several ask for goes to none of them in this run.
//! 4. The same for e-mail addresses. An e-mail address never stands against a login.
//! 5. Who asks for what another has waits for that one to release it; if it is not released, nobody gets it.

mod asked;
mod claimant;
mod outcome;
mod recheck;
mod release;

use std::collections::HashMap;

use asked::Keys;
pub use claimant::{Claimant, Outside, Want, Wants};
pub use outcome::{Outcome, Refusal, Settled};
pub use recheck::{PendingWrite, Rechecked, recheck};
use release::{drop_unreleased, note_ambiguous, note_releases, settle_own};

/// Settles who gets what. `outside` has those whom this run does not change, by identifier.
pub fn settle(claimants: &[Claimant], outside: &HashMap<String, Outside>) -> Vec<Outcome> {
    let mut claimants = claimants.to_vec();
    let mut archived = vec![false; claimants.len()];
    loop {
        let mut outcomes = settle_once(&claimants, outside);
        let gave_up = |(_, outcome): &(usize, &Outcome)| outcome.gives_up_login;
        let gave_up: Vec<usize> = outcomes
            .iter()
            .enumerate()
            .filter(gave_up)
            .map(|(index, _)| index)
            .collect();
        for &index in &gave_up {
            // Without a login nobody keeps an e-mail address either: it is there for others too.
            archived[index] = true;
            claimants[index].leaves = true;
        }
        if gave_up.is_empty() {
            for (outcome, archived) in outcomes.iter_mut().zip(&archived) {
                outcome.gives_up_login |= archived;
            }
            return outcomes;
        }
    }
}

fn settle_once(claimants: &[Claimant], outside: &HashMap<String, Outside>) -> Vec<Outcome> {
    let keys = Keys::of(claimants, outside);
    let mut outcomes: Vec<Outcome> = vec![Outcome::default(); claimants.len()];
    for (key, asked) in &keys.0 {
        asked.settle(key, claimants, &mut outcomes);
    }
    settle_own(&keys, claimants, &mut outcomes);
    drop_unreleased(&keys, claimants, &mut outcomes);
    // An e-mail address may have lost its login by now.
    settle_own(&keys, claimants, &mut outcomes);
    note_releases(&keys, claimants, &mut outcomes);
    note_ambiguous(&keys, claimants, &mut outcomes);
    outcomes
}

#[cfg(test)]
mod tests;
