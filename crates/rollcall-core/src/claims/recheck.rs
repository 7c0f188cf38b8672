//! Who may still have which identifier when the changes of a plan are written.
//!
//! [`settle`](super::settle) gave each identifier of a plan to one claimant. Until the plan is applied others may take one:
//! another sync, the product, or a refresh at a login. So what the changes want is compared with who has it now. The
//! rules are those of the plan: who has an identifier keeps it, and who asks for what another has waits for its release.

use std::collections::{HashMap, HashSet};

use crate::id::UserId;
use crate::identifier::{Holder, normalize};
use crate::issue::Issue;
use crate::plan::{Change, ChangeKind, NotWritten};
use crate::user::{User, UserState, changes};

/// A change that is about to be written.
pub struct PendingWrite<'c> {
    /// The change.
    pub change: &'c Change,
    /// The user as it is; `None` if it is new.
    pub before: Option<User>,
    /// The user afterwards.
    pub after: User,
}

/// What is left of pending writes.
#[derive(Default)]
pub struct Rechecked<'c> {
    /// To be written.
    pub writes: Vec<PendingWrite<'c>>,
    /// Not to be written, and why.
    pub refused: Vec<(ChangeKind, Issue)>,
    /// What those that are written lack.
    pub issues: Vec<Issue>,
}

/// Takes identifiers away from writes that cannot have them, given who has which now. Such a user keeps the identifier that
/// it had, and everything else of its change applies: nobody keeps access because of a login. Only a user who would be
/// without a login is refused.
pub fn recheck<'c>(pending: Vec<PendingWrite<'c>>, holders: &HashMap<String, Holder>) -> Rechecked<'c> {
    let mut rechecked = Rechecked::default();
    let mut open = pending;
    loop {
        let claims: Vec<Claim> = open
            .iter()
            .map(|write| Claim {
                user: write.after.id,
                wants: write.after.identifiers(),
            })
            .collect();
        let refusals = refusals(&claims, holders);
        if refusals.iter().all(Option::is_none) {
            rechecked.writes = open;
            return rechecked;
        }
        let mut kept = Vec::with_capacity(open.len());
        for (write, taken) in open.into_iter().zip(refusals) {
            let Some(key) = taken else {
                kept.push(write);
                continue;
            };
            let kind = write.change.kind;
            let (issue, left) = without(&key, write);
            match left {
                Some(write) => {
                    rechecked.issues.push(issue);
                    kept.push(write);
                }
                None => rechecked.refused.push((kind, issue)),
            }
        }
        open = kept;
    }
}

/// A write without the identifier that somebody else has; `None` if nothing is left of it.
fn without<'c>(key: &str, mut write: PendingWrite<'c>) -> (Issue, Option<PendingWrite<'c>>) {
    let had_login = write
        .before
        .as_ref()
        .filter(|user| user.state != UserState::Archived);
    let is_login = normalize(&write.after.profile.login) == key;
    let issue = write.change.refused(match is_login {
        true => NotWritten::LoginTaken,
        false => NotWritten::EmailTaken,
    });
    let may_keep = |user: &&User| !is_login || normalize(&user.profile.login) != key;
    match had_login.filter(may_keep) {
        Some(user) if is_login => write.after.profile.login.clone_from(&user.profile.login),
        None if is_login => return (issue, None),
        _ => write.after.profile.email = None,
    }
    let is_same = write
        .before
        .as_ref()
        .is_some_and(|before| changes(Some(before), write.after.changeable()).is_empty());
    (issue, (!is_same).then_some(write))
}

/// What one change wants: all the identifiers that its user has afterwards. What the user has now and is not among them is
/// released.
struct Claim {
    user: UserId,
    wants: Vec<String>,
}

/// For each claim the identifier that it cannot have, or `None` if it can have all.
///
/// A refused claim releases nothing, so refusing one may refuse others. A swap of two users' logins succeeds or fails as a
/// whole.
fn refusals(claims: &[Claim], holders: &HashMap<String, Holder>) -> Vec<Option<String>> {
    let mut refused: Vec<Option<String>> = claims.iter().map(|_| None).collect();
    loop {
        let releasing: HashMap<UserId, &Claim> = claims
            .iter()
            .zip(&refused)
            .filter(|(_, refusal)| refusal.is_none())
            .map(|(claim, _)| (claim.user, claim))
            .collect();
        let is_free_for = |user: UserId, key: &String| match holders.get(key) {
            None => true,
            Some(Holder::Foreign) => false,
            Some(Holder::User(holder)) if *holder == user => true,
            Some(Holder::User(holder)) => releasing
                .get(holder)
                .is_some_and(|claim| !claim.wants.contains(key)),
        };
        let mut taken: HashSet<&String> = HashSet::new();
        let mut stable = true;
        for (claim, refusal) in claims.iter().zip(&mut refused) {
            if refusal.is_some() {
                continue;
            }
            let problem = claim
                .wants
                .iter()
                .find(|key| taken.contains(key) || !is_free_for(claim.user, key));
            match problem {
                None => taken.extend(&claim.wants),
                Some(key) => {
                    *refusal = Some(key.clone());
                    stable = false;
                }
            }
        }
        if stable {
            return refused;
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::id::Uuid;

    use super::*;

    fn user(number: u128) -> UserId {
        UserId(Uuid::from_u128(number))
    }

    fn settled(claims: &[(u128, &[&str])], held: &[(&str, u128)]) -> Vec<Option<String>> {
        let claims: Vec<Claim> = claims
            .iter()
            .map(|(number, wants)| Claim {
                user: user(*number),
                wants: wants.iter().map(ToString::to_string).collect(),
            })
            .collect();
        let holders = held
            .iter()
            .map(|(key, number)| {
                let holder = if *number == 0 {
                    Holder::Foreign
                } else {
                    Holder::User(user(*number))
                };
                (key.to_string(), holder)
            })
            .collect();
        refusals(&claims, &holders)
    }

    fn taken(key: &str) -> Option<String> {
        Some(key.to_owned())
    }

    #[test]
    fn two_users_may_swap_and_three_may_rotate() {
        assert_eq!(
            settled(&[(1, &["b"]), (2, &["a"])], &[("a", 1), ("b", 2)]),
            [None, None]
        );
        assert_eq!(
            settled(
                &[(1, &["b"]), (2, &["c"]), (3, &["a"])],
                &[("a", 1), ("b", 2), ("c", 3)]
            ),
            [None, None, None]
        );
    }

    #[test]
    fn a_refusal_refuses_whoever_counted_on_it() {
        // 3 cannot have d, so keeps c, so 2 cannot have c, so keeps b, so 1 cannot have b.
        let held = [("a", 1), ("b", 2), ("c", 3), ("d", 9)];
        assert_eq!(
            settled(&[(1, &["b"]), (2, &["c"]), (3, &["d"])], &held),
            [taken("b"), taken("c"), taken("d")]
        );
    }

    #[test]
    fn whoever_has_an_identifier_keeps_it() {
        assert_eq!(
            settled(&[(1, &["a"]), (2, &["a"])], &[("a", 2)]),
            [taken("a"), None]
        );
        assert_eq!(settled(&[(1, &["a"]), (2, &["a"])], &[]), [None, taken("a")]);
        assert_eq!(settled(&[(1, &["a"])], &[("a", 0)]), [taken("a")]);
        assert_eq!(settled(&[(1, &["a", "mail"])], &[("mail", 5)]), [taken("mail")]);
    }

    #[test]
    fn what_a_refused_claim_wanted_is_free_for_the_next() {
        assert_eq!(
            settled(&[(1, &["x", "a"]), (2, &["x"])], &[("a", 7)]),
            [taken("a"), None]
        );
    }
}
