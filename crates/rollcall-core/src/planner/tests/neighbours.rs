//! People of two user syncs who have each other's logins.

use super::*;

fn allowing() -> UserSyncSettings {
    UserSyncSettings {
        login_changes: LoginChanges::Allow,
        ..settings()
    }
}

fn keeping() -> UserSyncSettings {
    UserSyncSettings {
        login_changes: LoginChanges::Reject,
        ..settings()
    }
}

/// Two syncs, each with the settings and entries that it has tonight.
struct Two {
    world: World,
    syncs: [(&'static str, UserSyncSettings, Vec<ReadEntry>); 2],
}

impl Two {
    fn new(first: (UserSyncSettings, Vec<ReadEntry>), second: (UserSyncSettings, Vec<ReadEntry>)) -> Self {
        Self {
            world: World::default(),
            syncs: [("first", first.0, first.1), ("second", second.0, second.1)],
        }
    }

    fn run(&mut self, number: usize) -> (Vec<ChangeKind>, Vec<Issue>) {
        let elsewhere = self
            .syncs
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != number);
        self.world.elsewhere = elsewhere
            .map(|(_, (name, settings, entries))| {
                (
                    UserSyncId::parse(name).unwrap(),
                    settings.clone(),
                    entries.clone(),
                )
            })
            .collect();
        let (name, settings, entries) = &self.syncs[number];
        self.world.run(name, settings, entries.clone())
    }

    fn both(&mut self) {
        assert_eq!(self.run(0).1, []);
        assert_eq!(self.run(1).1, []);
    }

    fn logins(&self) -> Vec<Option<&str>> {
        (1..=4).map(|number| self.world.login_of(number)).collect()
    }
}

#[test]
fn an_address_that_is_the_login_moves_with_it() {
    let mail = |number, mail| entry(number, mail, Some(mail));
    let mut two = Two::new(
        (allowing(), vec![mail(1, "a@x.org")]),
        (allowing(), vec![mail(2, "b@x.org")]),
    );
    two.both();
    two.syncs[0].2 = vec![mail(1, "b@x.org")];
    two.syncs[1].2 = vec![mail(2, "a@x.org")];
    assert_eq!(two.run(0), (vec![ChangeKind::Update; 2], vec![]));
    assert_eq!(two.world.user(2).profile.email.as_deref(), Some("a@x.org"));
    assert_eq!(two.run(1), (vec![], vec![]));
    assert_eq!(two.run(0), (vec![], vec![]));
}

/// What else their entries ask for is for the runs of their own syncs.
#[test]
fn a_move_of_another_sync_s_user_changes_nothing_but_the_login() {
    let mut two = Two::new(
        (allowing(), vec![entry(1, "ada", None)]),
        (allowing(), vec![entry(2, "ben", Some("b@x.org"))]),
    );
    two.both();
    two.syncs[0].2 = vec![entry(1, "ben", None)];
    two.syncs[1].2 = vec![with_role(entry(2, "ada", None), "admin")];
    assert_eq!(two.run(0).0, vec![ChangeKind::Update; 2]);
    let ben = two.world.user(2);
    assert_eq!(
        (ben.profile.login.as_str(), ben.profile.role.as_str()),
        ("ada", "user")
    );
    assert_eq!(ben.profile.email.as_deref(), Some("b@x.org"));
    assert_eq!(two.run(1).0, [ChangeKind::Update]);
    assert_eq!(two.world.user(2).profile.role, "admin");
}

#[test]
fn where_one_sync_keeps_logins_both_are_ambiguous() {
    let mut two = Two::new(
        (allowing(), vec![entry(1, "ada", None)]),
        (keeping(), vec![entry(2, "ben", None)]),
    );
    two.both();
    two.syncs[0].2 = vec![entry(1, "ben", None)];
    two.syncs[1].2 = vec![entry(2, "ada", None)];
    for _ in 0..2 {
        let kinds = kinds_of(&two.run(0).1);
        assert!(kinds.contains(&IssueKind::LoginAmbiguous), "{kinds:?}");
        let kinds = kinds_of(&two.run(1).1);
        assert!(kinds.contains(&IssueKind::LoginAmbiguous), "{kinds:?}");
    }
    assert_eq!(two.logins()[..2], [Some("ada"), Some("ben")]);
    assert!(two.world.user(1).login_ambiguous && two.world.user(2).login_ambiguous);
    // Once the sync lets its logins change, both are where they belong.
    two.syncs[1].1 = allowing();
    two.run(0);
    assert_eq!(two.logins()[..2], [Some("ben"), Some("ada")]);
    assert!(!two.world.user(1).login_ambiguous && !two.world.user(2).login_ambiguous);
}

/// A third person asks for what one of the two leaves: nobody can tell whose it is.
#[test]
fn a_login_that_a_third_asks_for_too_is_not_exchanged() {
    let mut two = Two::new(
        (allowing(), vec![entry(1, "ada", None)]),
        (allowing(), vec![entry(2, "ben", None)]),
    );
    two.both();
    two.syncs[0].2 = vec![entry(1, "ben", None), entry(3, "ben", None)];
    two.syncs[1].2 = vec![entry(2, "ada", None)];
    two.run(0);
    assert_eq!(two.logins()[..3], [Some("ada"), Some("ben"), None]);
    two.run(1);
    assert_eq!(two.world.login_of(3), None);
}

type Night = (BTreeMap<u8, (String, bool)>, BTreeMap<u8, (String, bool)>);

fn night() -> impl Strategy<Value = Night> {
    let entries = |numbers: std::ops::Range<u8>| {
        prop::collection::btree_map(
            numbers,
            (
                "[a-e]{3}".prop_map(|login| login[..1].repeat(3)),
                prop::bool::weighted(0.9),
            ),
            0..4,
        )
    };
    (entries(0..4), entries(4..8))
}

fn entries(of: &BTreeMap<u8, (String, bool)>) -> Vec<ReadEntry> {
    let all = of.iter().map(|(number, (login, enabled))| {
        let entry = entry(*number, login, None);
        if *enabled { entry } else { disabled(entry) }
    });
    all.collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]
    /// Whatever the nights bring: no identifier is held twice (the world looks after every transaction), no run moves
    /// somebody of the other sync whose entry offers the login or whose sync keeps it, all is quiet once the directory
    /// is, and a login that is kept without being offered, and asked for elsewhere, is ambiguous.
    #[test]
    fn nobody_loses_a_login_to_another_sync(
        nights in prop::collection::vec(night(), 1..5),
        allow in any::<[bool; 2]>(),
        order in any::<bool>(),
    ) {
        let settings = allow.map(|allow| UserSyncSettings {
            missing_users: MissingUsers::Deactivate,
            ..if allow { allowing() } else { keeping() }
        });
        let [first, second] = settings;
        let mut two = Two::new((first, vec![]), (second, vec![]));
        let turns = if order { [0, 1] } else { [1, 0] };
        for (first, second) in &nights {
            two.syncs[0].2 = entries(first);
            two.syncs[1].2 = entries(second);
            for turn in turns {
                let before = two.world.users.clone();
                two.run(turn);
                let other = 1 - turn;
                let (name, _, theirs) = &two.syncs[other];
                for (id, user) in &before {
                    let after = &two.world.users[id];
                    let origin = user.origin.as_ref().unwrap();
                    if origin.user_sync.as_str() != *name || after == user {
                        continue;
                    }
                    let own = theirs.iter().find(|(reading, _)| reading.external_id == origin.external_id);
                    let (own, _) = own.expect("somebody without an entry is left alone");
                    prop_assert!(own.is_enabled());
                    prop_assert!(!own.offers.login.values.contains(&user.profile.login));
                    prop_assert_eq!(after.state, user.state);
                    if after.profile.login != user.profile.login {
                        prop_assert!(allow[other]);
                        prop_assert!(own.offers.login.values.contains(&after.profile.login));
                    }
                }
            }
        }
        for _ in 0..3 {
            turns.iter().for_each(|turn| drop(two.run(*turn)));
        }
        let settled = two.world.clone();
        for turn in turns {
            prop_assert_eq!(two.run(turn).0, vec![], "{:#?}", settled.users);
        }
        let all: Vec<&EntryReading> = two.syncs.iter().flat_map(|(.., entries)| entries).map(|(reading, _)| reading).collect();
        for user in two.world.users.values().filter(|user| user.state == UserState::Active) {
            let id = &user.origin.as_ref().unwrap().external_id;
            let own = all.iter().find(|reading| reading.external_id == *id);
            let offers = own.is_some_and(|own| own.offers.login.values.contains(&user.profile.login));
            let asked = all.iter().any(|reading| {
                reading.external_id != *id && reading.is_enabled() && reading.offers.login.values.contains(&user.profile.login)
            });
            if user.login_ambiguous {
                prop_assert!(!offers && asked, "{user:#?}");
            }
            let keeps = !allow[usize::from(id.bytes()[0] >= 4)];
            if keeps && own.is_some() && !offers && asked {
                prop_assert!(user.login_ambiguous, "{user:#?}");
            }
        }
    }
}

/// Whom this sync takes over takes part as everybody of it does, in whatever order the entries come.
#[test]
fn somebody_taken_over_releases_or_keeps_a_login_as_everybody_else_does() {
    for (settings, turned) in [keeping(), allowing()]
        .into_iter()
        .zip([false, true])
        .chain([keeping(), allowing()].into_iter().zip([true, false]))
    {
        let deactivating = UserSyncSettings {
            missing_users: MissingUsers::Deactivate,
            ..allowing()
        };
        let mut two = Two::new(
            (deactivating, vec![entry(1, "ada", None)]),
            (settings.clone(), vec![]),
        );
        two.run(0);
        two.syncs[0].2.clear();
        two.run(0);
        let mut entries = vec![entry(1, "countess", None), entry(2, "ada", None)];
        if turned {
            entries.reverse();
        }
        two.syncs[1].2 = entries;
        let mut kinds = kinds_of(&two.run(1).1);
        kinds.sort_by_key(|kind| format!("{kind:?}"));
        let keeps = settings.login_changes == LoginChanges::Reject;
        let expected = match keeps {
            true => vec![
                IssueKind::LoginAmbiguous,
                IssueKind::LoginAmbiguous,
                IssueKind::LoginChangeRejected,
            ],
            false => vec![],
        };
        assert_eq!(kinds, expected, "turned: {turned}");
        assert_eq!(two.world.user(1).login_ambiguous, keeps);
        let logins = match keeps {
            true => [Some("ada"), None],
            false => [Some("countess"), Some("ada")],
        };
        assert_eq!(two.logins()[..2], logins);
    }
}
