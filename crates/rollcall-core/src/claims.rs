//! Who gets which login and e-mail address. It is settled once for a run, over what all of its entries ask for, in an
//! order of rules and not of entries.
//!
//! 1. Who holds an identifier and whose entry offers it keeps it.
//! 2. A disabled entry asks for nothing that an enabled one asks for, and a deactivated holder gives way to an enabled
//!    entry.
//! 3. A login that exactly one entry asks for goes to that entry; one that several ask for goes to none of them in this
//!    run.
//! 4. The same for e-mail addresses. An e-mail address never stands against a login.
//! 5. An identifier that another person holds is given only if this holder releases it. If not, the holder keeps it.

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

/// Settles which claimant gets which identifier. `outside` has, by identifier, the holders whom this run does not
/// change.
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
            // A user without a login keeps no e-mail address either: somebody else may ask for it.
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
    // By now the login of a user may be gone that was the e-mail address too.
    settle_own(&keys, claimants, &mut outcomes);
    note_releases(&keys, claimants, &mut outcomes);
    note_ambiguous(&keys, claimants, &mut outcomes);
    outcomes
}

#[cfg(test)]
mod orders;
#[cfg(test)]
mod tests;
