//! Which of several changes may have the identifiers that they want. Pure.

use std::collections::{HashMap, HashSet};

use rollcall_core::id::UserId;
use rollcall_core::planner::Holder;

/// What one change wants: all the identifiers that its user has afterwards. What the user has now and is not
/// among them is released.
pub(crate) struct Claim {
    pub(crate) user: UserId,
    pub(crate) wants: Vec<String>,
}

/// For each claim the identifier that it cannot have, or `None` if it can have all.
///
/// A refused claim releases nothing, so refusing one may refuse others; a swap of two users' logins succeeds
/// or fails as a whole.
pub(crate) fn settle(claims: &[Claim], holders: &HashMap<String, Holder>) -> Vec<Option<String>> {
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
    use rollcall_core::id::Uuid;

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
        settle(&claims, &holders)
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
