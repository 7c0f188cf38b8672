//! People who wait for each other's logins.

use super::*;

use super::super::order::{Ordered, order_claims};
use crate::revision::Revision;

/// Everybody's login goes to the next person: more people than one transaction takes.
#[test]
fn a_circle_that_no_transaction_holds_is_told_apart_and_not_torn() {
    let sync = UserSyncId::parse("staff").unwrap();
    let settings = settings();
    let ring = |count: usize| -> Vec<Ordered> {
        let user = |number: usize| UserId(Uuid::from_u128(number as u128 + 1));
        let claim = |number: usize| {
            let next = (number + 1) % count;
            let change = Change {
                kind: ChangeKind::Update,
                user: user(number),
                expected_revision: Revision::FIRST,
                state_before: None,
                origin: Origin {
                    user_sync: sync.clone(),
                    directory: settings.directory.clone(),
                    external_id: external_id(1),
                    dn: format!("cn={number}"),
                    linked: false,
                },
                profile: Profile {
                    login: format!("login{next}"),
                    ..Profile::default()
                },
                state: UserState::Active,
                state_reason: None,
                login_ambiguous: false,
                login_asked_by: None,
                changes: Vec::new(),
            };
            Ordered {
                change,
                after: vec![user(next)],
                before: None,
            }
        };
        (0..count).map(claim).collect()
    };
    for (count, groups, too_large) in [(1000, 1, 0), (1001, 0, 1001)] {
        let (ordered, left) = order_claims(ring(count));
        assert_eq!((ordered.len(), left.len()), (groups, too_large));
    }
}
