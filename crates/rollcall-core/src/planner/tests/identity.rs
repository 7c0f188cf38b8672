//! Who is whom when ids change, and what of a user's state is no update.

use super::*;

/// Every entry's id and DN became others, as in a new forest.
fn moved(number: u8, login: &str) -> ReadEntry {
    let mut entry = entry(number, login, None);
    entry.0.dn = format!("cn={login},dc=new");
    entry
}

fn found(world: &World, sync: &str, entries: &[ReadEntry]) -> Vec<(UserId, ExternalId)> {
    let entries: Vec<EntryReading> = entries.iter().map(|(reading, _)| reading.clone()).collect();
    let sync = UserSyncId::parse(sync).unwrap();
    let facts = BatchFacts::new(
        &settings().directory,
        world.users.values().cloned(),
        world.holders(),
    );
    let mut relinking = Relinking::new(&sync);
    relinking.take(&entries, &facts);
    relinking.found()
}

fn ids(found: Vec<(UserId, ExternalId)>) -> Vec<ExternalId> {
    found.into_iter().map(|(_, id)| id).collect()
}

#[test]
fn a_user_is_found_again_by_login_and_keeps_its_id() {
    let mut world = World::default();
    world.run(
        "all",
        &settings(),
        vec![entry(1, "ada", None), entry(2, "bob", None)],
    );
    let before: Vec<UserId> = world.users.keys().copied().collect();
    let entries = vec![moved(11, "ADA"), moved(12, "bob")];
    let relinked = found(&world, "all", &entries);
    let (kinds, issues) = world.run_relinked("all", &settings(), entries.clone(), relinked);
    assert_eq!(kinds, [ChangeKind::Relink, ChangeKind::Relink]);
    assert_eq!(issues, []);
    assert_eq!(world.users.keys().copied().collect::<Vec<_>>(), before);
    assert_eq!(world.login_of(11), Some("ADA"));
    assert_eq!(world.run("all", &settings(), entries).0, []);
}

#[test]
fn a_relink_of_an_otherwise_unchanged_entry_is_not_screened_out_and_tells_both_ids_and_dns() {
    let mut world = World::default();
    world.run("all", &settings(), vec![entry(1, "ada", None)]);
    let sync = UserSyncId::parse("all").unwrap();
    let user = world.users.values().next().unwrap().clone();
    let known = KnownUser {
        user: user.id,
        external_id: external_id(11),
        fingerprint: fingerprint(&user),
        state: user.state,
        left: false,
    };
    let mut same = entry(1, "ada", None);
    same.0.external_id = external_id(11);
    let settings = settings();
    let mut planner = Planner::new(&sync, &settings, KnownUsers::from_iter([known]));
    planner.relink([(external_id(11), user.id)]);
    assert!(screen(&mut planner, &same));
    let facts = BatchFacts::new(&settings.directory, [user], world.holders());
    let decided = planner.decide(vec![same], &facts, || unreachable!());
    let fields: Vec<_> = decided.changes[0]
        .changes
        .iter()
        .map(|change| {
            (
                change.field.as_str(),
                change.old.is_some() && change.new.is_some(),
            )
        })
        .collect();
    assert_eq!(fields, [("external_id", true)]);
    assert_eq!(planner.absent(), []);
}

#[test]
fn nobody_is_found_where_there_is_doubt() {
    let mut world = World::default();
    world.run(
        "all",
        &settings(),
        vec![
            entry(1, "ada", None),
            entry(2, "bob", Some("post@x.org")),
            entry(3, "eve", None),
        ],
    );
    world.run("other", &settings(), vec![entry(4, "kim", None)]);
    world.local("sue", true);
    let twice = [moved(11, "ada"), moved(12, "Ada"), moved(13, "eve")];
    assert_eq!(
        ids(found(&world, "all", &twice)),
        [external_id(13)],
        "two entries have the login"
    );
    for (entry, why) in [
        (entry(2, "ada", None), "the entry is a user already"),
        (moved(11, "post@x.org"), "an e-mail address is no login"),
        (moved(11, "kim"), "another sync's user"),
        (moved(11, "sue"), "a local user, and the owner"),
        (moved(11, "new"), "nobody has it"),
    ] {
        assert_eq!(found(&world, "all", &[entry]), [], "{why}");
    }
    // Found by two searches, it is still one entry.
    assert_eq!(
        ids(found(&world, "all", &[moved(11, "ada"), moved(11, "ada")])),
        [external_id(11)]
    );
}

#[test]
fn a_login_that_moved_on_between_the_two_looks_is_not_relinked() {
    let mut world = World::default();
    world.run("all", &settings(), vec![entry(1, "ada", None)]);
    let relinked = found(&world, "all", &[moved(11, "ada")]);
    let (kinds, issues) = world.run_relinked("all", &settings(), vec![moved(11, "eve")], relinked);
    assert_eq!(
        (kinds.as_slice(), issues.as_slice()),
        (&[ChangeKind::Create][..], &[][..])
    );
    assert_eq!(world.users.len(), 2);

    // Nor is it taken for whoever has the login by now.
    let mut world = World::default();
    let people = vec![entry(1, "ada", None), entry(2, "bob", None)];
    world.run("all", &settings(), people);
    let relinked = found(&world, "all", &[moved(11, "ada")]);
    let (kinds, issues) = world.run_relinked("all", &settings(), vec![moved(11, "bob")], relinked);
    assert!(!kinds.contains(&ChangeKind::Relink), "{kinds:?}");
    assert_eq!(kinds_of(&issues), []);
}

#[test]
fn a_missing_user_who_comes_back_disabled_is_disabled_and_not_missing() {
    let mut world = World::default();
    let settings = UserSyncSettings {
        missing_users: MissingUsers::Deactivate,
        ..settings()
    };
    world.run("all", &settings, vec![entry(1, "ada", None)]);
    world.run("all", &settings, vec![]);
    let reason = |world: &World| world.users.values().next().unwrap().state_reason;
    assert_eq!(reason(&world), Some(StateReason::Gone));
    let disabled = disabled(entry(1, "ada", None));
    world.run("all", &settings, vec![disabled.clone()]);
    assert_eq!(reason(&world), Some(StateReason::DisabledInDirectory));
    assert_eq!(world.run("all", &settings, vec![disabled]).0, []);
}

#[test]
fn ignoring_existing_users_keeps_their_fields_and_not_their_access() {
    let mut world = World::default();
    world.run("all", &settings(), vec![entry(1, "ada", None)]);
    let ignore = UserSyncSettings {
        existing_users: ExistingUsers::Ignore,
        login_changes: LoginChanges::Allow,
        ..settings()
    };
    let disabled = disabled(entry(1, "eve", None));
    assert_eq!(
        world.run("all", &ignore, vec![disabled]).0,
        [ChangeKind::Deactivate]
    );
    assert_eq!(
        world.run("all", &ignore, vec![entry(1, "eve", None)]).0,
        [ChangeKind::Reactivate]
    );
    assert_eq!(world.login_of(1), Some("ada"));
    assert_eq!(world.run("all", &ignore, vec![entry(1, "eve", None)]).0, []);
}
