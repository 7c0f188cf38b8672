//! People who wait for each other's logins.

use super::*;

/// Everybody's login goes to the next person: more people than one transaction takes.
#[test]
fn a_circle_that_no_transaction_holds_is_refused_and_not_torn_apart() {
    let sync = UserSyncId::parse("staff").unwrap();
    let settings = settings();
    let ring = |count: usize| -> Vec<Waiting> {
        let user = |number: usize| UserId(Uuid::from_u128(number as u128 + 1));
        let claim = |number: usize| {
            let next = (number + 1) % count;
            let change = Change {
                kind: ChangeKind::Update,
                user: user(number),
                expected_revision: 1,
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
                changes: Vec::new(),
            };
            let needs = vec![(format!("login{next}"), user(next))];
            Waiting { change, needs }
        };
        (0..count).map(claim).collect()
    };
    for (count, groups, issues) in [(1000, 1, 0), (1001, 0, 1001)] {
        let waiting = ring(count);
        let released = waiting
            .iter()
            .flat_map(|claim| claim.needs.iter().cloned())
            .collect();
        let ordered = order_claims(waiting, &released);
        assert_eq!((ordered.groups.len(), ordered.issues.len()), (groups, issues));
    }
}
