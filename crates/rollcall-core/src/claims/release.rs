//! Who releases which identifier: rule 5, and what holders give up by it.

use super::asked::{Keys, enabled_of, sorted};
use super::claimant::{Claimant, Field, Want};
use super::outcome::{Outcome, Refusal, Settled};

/// Settles wishes for identifiers that the person has in the other field. An e-mail address that is the same as the
/// login comes with the login. What the person holds in the other field is granted, unless an enabled entry gets it
/// from a deactivated holder.
pub(super) fn settle_own(keys: &Keys, claimants: &[Claimant], outcomes: &mut [Outcome]) {
    for index in 0..claimants.len() {
        let claimant = &claimants[index];
        let own = |key: &String| {
            let grants = keys
                .0
                .get(key.as_str())
                .map(|asked| asked.grants(outcomes))
                .unwrap_or_default();
            let given_to = |(asker, _): &(usize, Field)| claimants[*asker].stays(&outcomes[*asker]);
            match grants.into_iter().find(given_to) {
                Some((asker, _)) => Settled::Refused(Refusal::Rival(asker)),
                None => Settled::Granted,
            }
        };
        let login = match &claimant.wants.login {
            Want::Other(key) if claimant.has(key) => own(key),
            Want::Other(_) | Want::Held | Want::Nothing => outcomes[index].login,
        };
        let email = match &claimant.wants.email {
            Want::Other(key) if claimant.has(key) => own(key),
            Want::Other(key) if claimant.moves_login_to(key) => login,
            Want::Other(_) | Want::Held | Want::Nothing => outcomes[index].email,
        };
        outcomes[index].login = login;
        outcomes[index].email = email;
    }
}

/// Rule 5: grants fall whose identifier its holder does not release, until nothing changes.
pub(super) fn drop_unreleased(keys: &Keys, claimants: &[Claimant], outcomes: &mut [Outcome]) {
    loop {
        let mut dropped = Vec::new();
        for (key, asked) in &keys.0 {
            let Some((holder, field)) = asked.holder else {
                continue;
            };
            if releases(claimants, outcomes, holder, field) {
                continue;
            }
            for (asker, field) in asked.grants(outcomes) {
                // A deactivated holder gives way: it needs no wish of its own.
                let gives_way = claimants[asker].enabled && !claimants[holder].enabled;
                if !gives_way {
                    dropped.push((*key, asker, field, holder));
                }
            }
        }
        if dropped.is_empty() {
            return;
        }
        for (key, asker, field, holder) in dropped {
            let settled = Settled::Refused(Refusal::NotReleased(holder));
            match field {
                Field::Login => outcomes[asker].login = settled,
                Field::Email => outcomes[asker].email = settled,
            }
            outcomes[asker].needs.retain(|(needed, _)| needed != key);
        }
    }
}

/// True if the holder lets go of what it holds by its own wishes.
fn releases(claimants: &[Claimant], outcomes: &[Outcome], holder: usize, field: Field) -> bool {
    let claimant = &claimants[holder];
    if claimant.leaves {
        return true;
    }
    match field {
        // What the entry does not offer becomes empty, whether or not there is another one.
        Field::Email => !claimant.offers(Field::Email),
        // Nobody is left without a login.
        Field::Login => outcomes[holder].login == Settled::Granted,
    }
}

/// What deactivated holders give up.
pub(super) fn note_releases(keys: &Keys, claimants: &[Claimant], outcomes: &mut [Outcome]) {
    for asked in keys.0.values() {
        let Some((holder, field)) = asked.holder else {
            continue;
        };
        let stays = |(asker, _): &(usize, Field)| claimants[*asker].stays(&outcomes[*asker]);
        let Some((asker, _)) = asked.grants(outcomes).into_iter().find(stays) else {
            continue;
        };
        if releases(claimants, outcomes, holder, field) {
            continue;
        }
        match field {
            Field::Login => outcomes[holder].gives_up_login = true,
            // A holder whose entry asks for another address, or for none, loses nothing.
            Field::Email if claimants[holder].wants.email != Want::Held => {}
            Field::Email => outcomes[holder].gives_up_email = Some(asker),
        }
    }
}

pub(super) fn note_ambiguous(keys: &Keys, claimants: &[Claimant], outcomes: &mut [Outcome]) {
    for asked in keys.0.values() {
        let Some((holder, Field::Login)) = asked.holder else {
            continue;
        };
        let keeps = !claimants[holder].offers(Field::Login)
            && !releases(claimants, outcomes, holder, Field::Login)
            && claimants[holder].enabled;
        let mut logins = sorted(&asked.logins, &asked.rejected_logins);
        let rival = logins.find(enabled_of(claimants));
        if let (true, Some(rival)) = (keeps, rival) {
            outcomes[holder].ambiguous_with = Some(rival);
        }
    }
}
