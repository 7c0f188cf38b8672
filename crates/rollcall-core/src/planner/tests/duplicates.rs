//! Entries with one id, and people whom somebody else has by now.

use super::*;

fn known(world: &World) -> KnownUsers {
    let users = world.users.values();
    users
        .map(|user| {
            let origin = user.origin.as_ref().unwrap();
            KnownUser {
                user: user.id,
                external_id: origin.external_id.clone(),
                fingerprint: fingerprint(user),
                state: user.state,
                left: false,
            }
        })
        .collect()
}

#[test]
fn an_id_under_another_dn_is_told_apart_from_an_entry_found_twice() {
    let mut world = World::default();
    world.run("all", &settings(), vec![entry(1, "ada", None)]);
    let (sync, settings) = (UserSyncId::parse("all").unwrap(), settings());
    let mut planner = Planner::new(&sync, &settings, known(&world));
    for number in [1, 2] {
        let id = external_id(number);
        let first = planner.meet(&id, "cn=here");
        assert_eq!(matches!(first, Meeting::First(Some(_))), number == 1, "{first:?}");
        assert_eq!(planner.meet(&id, "cn=here"), Meeting::Again);
        assert_eq!(planner.meet(&id, "cn=there"), Meeting::Elsewhere);
        assert_eq!(planner.meet(&id, "cn=here"), Meeting::Again);
    }
    assert_eq!(planner.absent(), []);
}

#[test]
fn what_is_withdrawn_is_as_if_it_had_never_been_decided() {
    let mut world = World::default();
    let entries = [(1, "ada"), (2, "bob"), (3, "eve")];
    let entries = entries.map(|(number, login)| entry(number, login, None));
    world.run("all", &settings(), entries.to_vec());
    let (sync, settings) = (UserSyncId::parse("all").unwrap(), settings());
    let mut planner = Planner::new(&sync, &settings, known(&world));
    let facts = BatchFacts::new(
        &settings.directory,
        world.users.values().cloned(),
        world.holders(),
    );
    // 1 frees "ada", which 2 waits for; 3 waits for "bob"; 4 is new.
    let wanted = vec![
        entry(1, "amy", None),
        entry(2, "ada", None),
        entry(3, "bob", None),
        entry(4, "kim", None),
    ];
    let pending = wanted
        .into_iter()
        .filter(|entry| screen(&mut planner, entry))
        .collect();
    let changes = planner.decide(pending, &facts, || Uuid::from_u128(99)).changes;
    assert_eq!(changes.len(), 2, "{changes:#?}");

    planner.withdraw(
        &[external_id(1), external_id(3), external_id(4)].into(),
        1,
        &changes,
    );
    let ordered = planner.finish();
    assert_eq!(ordered.groups, Vec::<Vec<Change>>::new());
    assert_eq!(
        kinds_of(&ordered.issues),
        [IssueKind::DuplicateInDirectory],
        "of 2: 1 keeps ada"
    );
    assert_eq!(planner.counts().changes(), 0);
    assert_eq!(planner.absent(), []);
}

#[test]
fn whom_another_sync_took_over_since_the_run_began_is_not_removed() {
    let mut world = World::default();
    world.run("all", &settings(), vec![entry(1, "ada", None)]);
    let deactivating = UserSyncSettings {
        missing_users: MissingUsers::Deactivate,
        ..settings()
    };
    world.run("all", &deactivating, vec![]);
    let archiving = settings();
    let sync = UserSyncId::parse("all").unwrap();
    let mut planner = Planner::new(&sync, &archiving, known(&world));
    let absent = planner.absent();
    assert_eq!(absent.len(), 1);
    world.run("other", &settings(), vec![entry(1, "ada", None)]);
    assert_eq!(planner.remove(&world.users[&absent[0]], StateReason::Gone), None);
    assert_eq!(planner.counts(), RunCounts::default());
}

/// Whose entry is in dispute was not counted as unchanged, and may give up the login all the same.
#[test]
fn a_deactivated_user_in_dispute_gives_way_and_the_counts_are_right() {
    let mut world = World::default();
    world.run("all", &settings(), vec![disabled(entry(1, "ada", None))]);
    let (sync, settings) = (UserSyncId::parse("all").unwrap(), settings());
    let mut planner = Planner::new(&sync, &settings, known(&world));
    let users: Vec<User> = world.users.values().cloned().collect();
    let facts = BatchFacts::new(&settings.directory, users, world.holders());
    let wanted = [entry(1, "ada", None), entry(2, "ada", None)];
    let pending = wanted
        .into_iter()
        .filter(|entry| screen(&mut planner, entry))
        .collect();
    let changes = planner.decide(pending, &facts, || Uuid::from_u128(99)).changes;
    planner.withdraw(&[external_id(1)].into(), 0, &changes);
    let groups = planner.finish().groups;
    let kinds: Vec<ChangeKind> = groups.iter().flatten().map(|change| change.kind).collect();
    assert_eq!(kinds, [ChangeKind::Archive, ChangeKind::Create]);
    let counts = planner.counts();
    assert_eq!((counts.unchanged, counts.archived, counts.created), (0, 1, 1));
}

/// The sync creates nobody, so that 2 was left alone at first.
#[test]
fn whoever_is_left_alone_and_is_several_was_not_left_alone_and_asks_for_nothing() {
    let mut world = World::default();
    world.run("all", &settings(), vec![entry(1, "ada", None)]);
    let sync = UserSyncId::parse("all").unwrap();
    let settings = UserSyncSettings {
        new_users: NewUsers::Ignore,
        login_changes: LoginChanges::Allow,
        ..settings()
    };
    let mut planner = Planner::new(&sync, &settings, known(&world));
    let users: Vec<User> = world.users.values().cloned().collect();
    let facts = BatchFacts::new(&settings.directory, users, world.holders());
    let wanted = [entry(2, "amy", None), entry(1, "amy", None)];
    let pending = wanted
        .into_iter()
        .filter(|entry| screen(&mut planner, entry))
        .collect();
    let changes = planner.decide(pending, &facts, || Uuid::from_u128(99)).changes;
    assert_eq!((changes.len(), planner.counts().ignored), (0, 1));
    planner.withdraw(&[external_id(2)].into(), 1, &changes);
    let ordered = planner.finish();
    assert_eq!(ordered.issues, []);
    let logins: Vec<&str> = ordered
        .groups
        .iter()
        .flatten()
        .map(|change| change.profile.login.as_str())
        .collect();
    assert_eq!(logins, ["amy"], "nobody stands against 1");
    let counts = planner.counts();
    assert_eq!((counts.ignored, counts.updated), (0, 1));
}

/// Nobody knows what the entries of an ambiguous user offer: its login is neither unambiguous by that, nor anybody else's.
#[test]
fn a_user_whose_id_several_entries_have_stays_ambiguous() {
    let keeping = UserSyncSettings {
        login_changes: LoginChanges::Reject,
        ..settings()
    };
    let mut world = World::default();
    world.run("all", &keeping, vec![entry(1, "ada", None)]);
    let renamed = vec![entry(1, "countess", None), entry(2, "ada", None)];
    world.run("all", &keeping, renamed.clone());
    assert!(world.user(1).login_ambiguous);
    let sync = UserSyncId::parse("all").unwrap();
    let mut planner = Planner::new(&sync, &keeping, known(&world));
    let users: Vec<User> = world.users.values().cloned().collect();
    let facts = BatchFacts::new(&keeping.directory, users, world.holders());
    let pending = renamed
        .into_iter()
        .filter(|entry| screen(&mut planner, entry))
        .collect();
    let changes = planner.decide(pending, &facts, || Uuid::from_u128(99)).changes;
    planner.withdraw(&[external_id(1)].into(), 0, &changes);
    assert_eq!(planner.finish().groups, Vec::<Vec<Change>>::new());
}
