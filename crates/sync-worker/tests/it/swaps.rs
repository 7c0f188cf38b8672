//! Logins that people of two user syncs exchange, or that one keeps and another has: fault 6's end.

use rollcall_core::guard::{WINDOW, Watched};
use rollcall_core::id::UserSyncId;
use rollcall_core::user::{User, UserState};
use rollcall_proto::v1::{
    self, ChangeType, HealthState, IssueType, LoginChangePolicy, RefreshOutcome, SyncRunMode, SyncRunState,
};
use rollcall_store::{PageRequest, UserFilter};
use rollcall_testkit::Slapd;

use crate::company::{DIRECTORY, STAFF, TENANT, create_sync, staff, sync_of};
use crate::harness::{mask, ok};
use crate::run_world::{BASE, World, directory_at, dn, people, person, tenant, units};

#[derive(Clone, Copy)]
enum Engine {
    Sqlite,
    Postgres,
}

/// Whose `givenName` is the login, so that it changes and the entry keeps its name.
fn renaming(mut sync: v1::UserSync, changes: LoginChangePolicy) -> v1::UserSync {
    sync.login_changes = changes.into();
    sync.field_mappings.as_mut().unwrap().login = vec!["givenName".into()];
    sync
}

fn of_unit(unit: &str) -> v1::UserSync {
    sync_of(&format!("ou={unit},{BASE}"), "(objectClass=inetOrgPerson)")
}

/// Ada of the staff, ben and ten more of the guests, eve of a third sync.
async fn world(engine: Engine, guests: v1::UserSync) -> World {
    let mut ldif = units();
    for (unit, uid) in [("Staff", "ada"), ("Guests", "ben"), ("Groups", "eve")] {
        person(&mut ldif, unit, uid).attribute("givenName", uid);
    }
    people(&mut ldif, "Guests", 10);
    let builder = Slapd::builder().ppolicy().ldif(ldif.as_str());
    let sync = renaming(staff(), LoginChangePolicy::Allow);
    let mut world = match engine {
        Engine::Sqlite => World::start(builder, sync).await,
        Engine::Postgres => World::start_on_postgres(builder, sync).await,
    };
    let mut guests = guests;
    guests.field_mappings.as_mut().unwrap().login = vec!["givenName".into(), "uid".into()];
    create_sync(&mut world.clients, "guests", guests).await;
    let third = renaming(of_unit("Groups"), LoginChangePolicy::Allow);
    create_sync(&mut world.clients, "third", third).await;
    for sync in ["staff", "guests", "third"] {
        let run = run_of(&mut world, sync).await;
        assert_eq!(run.state(), SyncRunState::Succeeded, "{run:#?}");
    }
    world
}

fn guests(changes: LoginChangePolicy) -> v1::UserSync {
    renaming(of_unit("Guests"), changes)
}

async fn run_of(world: &mut World, sync: &str) -> v1::SyncRun {
    run_in(world, sync, SyncRunMode::Apply).await
}

async fn run_in(world: &mut World, sync: &str, mode: SyncRunMode) -> v1::SyncRun {
    world.run_as_foretold(sync, mode).await
}

fn modify(world: &World, unit: &str, uid: &str, lines: &str) {
    let ldif = format!("dn: {}\nchangetype: modify\n{lines}", dn(unit, uid));
    world.slapd.modify(&ldif).unwrap();
}

fn login(world: &World, unit: &str, uid: &str, login: &str) {
    modify(
        world,
        unit,
        uid,
        &format!("replace: givenName\ngivenName: {login}\n"),
    );
}

fn hire(world: &World, unit: &str, uid: &str, login: &str) {
    let ldif = format!(
        "dn: {}\nchangetype: add\nobjectClass: inetOrgPerson\nuid: {uid}\ncn: {uid}\nsn: {uid}\ngivenName: {login}\n",
        dn(unit, uid)
    );
    world.slapd.modify(&ldif).unwrap();
}

async fn succeed(world: &mut World) -> v1::SyncRun {
    let run = run_of(world, "staff").await;
    assert_eq!(run.state(), SyncRunState::Succeeded, "{run:#?}");
    run
}

async fn health(world: &mut World, sync: &str) -> v1::UserSyncHealth {
    let request = v1::GetUserSyncRequest {
        name: format!("{TENANT}/userSyncs/{sync}"),
    };
    let sync = ok(world.clients.user_syncs.get_user_sync(request)).await;
    sync.health.unwrap_or_default()
}

async fn login_changes(world: &World, sync: &str) -> u64 {
    let since = chrono::Utc::now() - WINDOW;
    let sync = UserSyncId::parse(sync).unwrap();
    let recent = world.store.recent_changes(&tenant(), &sync, since).await.unwrap();
    recent.of(&Watched::Login)
}

/// The user with this DN; of several the one who is not archived.
async fn of(world: &World, dn: &str) -> User {
    let page = PageRequest::first(1000);
    let users = world
        .store
        .list_users(&tenant(), &UserFilter::default(), &page)
        .await
        .unwrap();
    let is_it = |user: &User| {
        user.state != UserState::Archived && user.origin.as_ref().is_some_and(|origin| origin.dn == dn)
    };
    users.items.into_iter().find(is_it).unwrap()
}

async fn swap(engine: Engine) {
    let mut world = world(engine, guests(LoginChangePolicy::Allow)).await;
    let before = world.users().await;
    let events = world.events().await;
    login(&world, "Staff", "ada", "ben");
    login(&world, "Guests", "ben", "ada");
    let preview = run_in(&mut world, "guests", SyncRunMode::Preview).await;
    assert_eq!(world.issues(&preview).await, []);
    let both = [
        ("ada".to_owned(), ChangeType::Update),
        ("ben".to_owned(), ChangeType::Update),
    ];
    assert_eq!(world.changes(&preview).await, both);
    let run = succeed(&mut world).await;
    assert_eq!(world.changes(&run).await, both);
    let users = world.users().await;
    assert_eq!(users["ben"].id, before["ada"].id);
    assert_eq!(users["ada"].id, before["ben"].id);
    assert_eq!(
        users["ada"].origin, before["ben"].origin,
        "nobody changes the sync"
    );
    assert_eq!(
        world.events().await,
        events + 2,
        "no event shows a login that nobody has"
    );
    assert_eq!(login_changes(&world, "staff").await, 1);
    assert_eq!(
        login_changes(&world, "guests").await,
        1,
        "each counts where it belongs"
    );
    for sync in ["guests", "staff"] {
        let idle = run_of(&mut world, sync).await;
        assert_eq!(
            (idle.state(), world.changes(&idle).await),
            (SyncRunState::Succeeded, vec![])
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_people_of_two_syncs_swap_their_logins() {
    swap(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_people_of_two_syncs_swap_their_logins_on_postgresql() {
    swap(Engine::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_people_of_three_syncs_pass_their_logins_round() {
    let mut world = world(Engine::Sqlite, guests(LoginChangePolicy::Allow)).await;
    let before = world.users().await;
    login(&world, "Staff", "ada", "ben");
    login(&world, "Guests", "ben", "eve");
    login(&world, "Groups", "eve", "ada");
    let run = succeed(&mut world).await;
    assert_eq!(world.changes(&run).await.len(), 3);
    let users = world.users().await;
    for (old, new) in [("ada", "ben"), ("ben", "eve"), ("eve", "ada")] {
        assert_eq!(users[new].id, before[old].id);
    }
    for sync in ["guests", "third"] {
        let idle = run_of(&mut world, sync).await;
        assert_eq!(
            (idle.state(), world.changes(&idle).await),
            (SyncRunState::Succeeded, vec![])
        );
    }
}

/// The entry of the one offers what the other asks for: no other entry takes it away.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_moved_whose_own_entry_offers_the_login() {
    let mut world = world(Engine::Sqlite, guests(LoginChangePolicy::Allow)).await;
    login(&world, "Staff", "ada", "ben");
    let before = world.users().await;
    for _ in 0..2 {
        let run = run_of(&mut world, "staff").await;
        let issues = world.issues(&run).await;
        assert_eq!(issues.len(), 1, "{issues:#?}");
        assert_eq!(issues[0].r#type(), IssueType::LoginTaken);
        assert_eq!(issues[0].other_user_sync, format!("{TENANT}/userSyncs/guests"));
        assert_eq!(issues[0].other_dn, dn("Guests", "ben"));
        assert_eq!(world.users().await, before);
    }
    // What a disabled entry asks for counts for nothing.
    modify(
        &world,
        "Guests",
        "ben",
        "replace: givenName\ngivenName: ada\n-\nadd: pwdAccountLockedTime\npwdAccountLockedTime: 000001010000Z\n",
    );
    let run = run_of(&mut world, "staff").await;
    assert_eq!(world.issue_types(&run).await, [IssueType::LoginTaken]);
    assert_eq!(world.users().await, before);
}

/// A held user sync waits for a person, and nobody of it is touched until then.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_of_a_held_sync_is_moved() {
    let mut world = world(Engine::Sqlite, guests(LoginChangePolicy::Allow)).await;
    for number in 0..8 {
        let ldif = format!(
            "dn: {}\nchangetype: delete\n",
            dn("Guests", &format!("p{number:02}"))
        );
        world.slapd.modify(&ldif).unwrap();
    }
    let held = run_of(&mut world, "guests").await;
    assert_eq!(held.state(), SyncRunState::Held);
    login(&world, "Staff", "ada", "ben");
    login(&world, "Guests", "ben", "ada");
    let before = world.users().await;
    let run = run_of(&mut world, "staff").await;
    assert_eq!(world.issue_types(&run).await, [IssueType::LoginTaken]);
    assert_eq!(world.users().await, before);
    world.release(&held).await;
    succeed(&mut world).await;
    assert_eq!(world.users().await["ben"].id, before["ada"].id);
}

/// A plan that was made before the other sync was held.
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_moves_nobody_whose_sync_was_held_since() {
    let mut world = world(Engine::Sqlite, guests(LoginChangePolicy::Allow)).await;
    login(&world, "Staff", "ada", "ben");
    login(&world, "Guests", "ben", "ada");
    let preview = run_in(&mut world, "staff", SyncRunMode::Preview).await;
    assert_eq!(world.changes(&preview).await.len(), 2);
    let before = world.users().await;
    for number in 0..8 {
        let ldif = format!(
            "dn: {}\nchangetype: delete\n",
            dn("Guests", &format!("p{number:02}"))
        );
        world.slapd.modify(&ldif).unwrap();
    }
    let held = run_of(&mut world, "guests").await;
    assert_eq!(held.state(), SyncRunState::Held);
    let applied = world.release(&preview).await;
    let mut types = world.issue_types(&applied).await;
    types.sort_unstable();
    assert_eq!(
        types,
        [IssueType::LoginTaken, IssueType::ChangedMeanwhile],
        "{applied:#?}"
    );
    assert_eq!(world.users().await, before);
}

/// Whoever leaves a login does so in the run of its own sync, whichever comes first.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_passed_on_between_syncs_arrives_by_the_next_night() {
    for first in ["staff", "guests"] {
        let mut world = world(Engine::Sqlite, guests(LoginChangePolicy::Allow)).await;
        let before = world.users().await;
        login(&world, "Staff", "ada", "countess");
        login(&world, "Guests", "ben", "ada");
        let order = if first == "staff" {
            ["staff", "guests"]
        } else {
            ["guests", "staff"]
        };
        for sync in order {
            run_of(&mut world, sync).await;
        }
        assert!(!world.users().await.values().any(|user| user.login_ambiguous));
        for sync in order {
            let run = run_of(&mut world, sync).await;
            assert_eq!(run.state(), SyncRunState::Succeeded, "{first} first: {run:#?}");
        }
        let users = world.users().await;
        assert_eq!(users["countess"].id, before["ada"].id);
        assert_eq!(users["ada"].id, before["ben"].id);
    }
}

async fn ambiguous(engine: Engine) {
    let mut world = world(engine, guests(LoginChangePolicy::Reject)).await;
    let ben = world.users().await["ben"].id;
    login(&world, "Guests", "ben", "benjamin");
    let run = run_of(&mut world, "guests").await;
    assert_eq!(world.issue_types(&run).await, [IssueType::LoginChangeRejected]);
    hire(&world, "Staff", "hire", "ben");
    let marked = world.events().await + 1;
    for night in 0..2 {
        let run = run_of(&mut world, "staff").await;
        let issues = world.issues(&run).await;
        assert_eq!(issues.len(), 1, "night {night}: {issues:#?}");
        assert_eq!(issues[0].r#type(), IssueType::LoginAmbiguous);
        assert_eq!(
            (issues[0].dn.as_str(), issues[0].other_dn.as_str()),
            (dn("Staff", "hire").as_str(), dn("Guests", "ben").as_str())
        );
        assert_eq!(issues[0].other_user_sync, format!("{TENANT}/userSyncs/guests"));
        assert_eq!(health(&mut world, "staff").await.state(), HealthState::Error);
        let users = world.users().await;
        assert!(users["ben"].login_ambiguous && users["ben"].id == ben);
        let run = run_of(&mut world, "guests").await;
        let issues = world.issues(&run).await;
        let ambiguous: Vec<_> = issues
            .iter()
            .filter(|issue| issue.r#type() == IssueType::LoginAmbiguous)
            .collect();
        assert_eq!(ambiguous.len(), 1, "night {night}: {issues:#?}");
        assert_eq!(ambiguous[0].other_dn, dn("Staff", "hire"));
        assert_eq!(ambiguous[0].other_user_sync, format!("{TENANT}/userSyncs/staff"));
        assert_eq!(health(&mut world, "guests").await.state(), HealthState::Error);
        assert!(world.users().await["ben"].login_ambiguous);
        assert_eq!(world.events().await, marked, "night {night}: it is said once");
    }
    login(&world, "Staff", "hire", "hire");
    succeed(&mut world).await;
    run_of(&mut world, "guests").await;
    let users = world.users().await;
    assert!(!users["ben"].login_ambiguous);
    assert!(users.contains_key("hire"));
    assert_eq!(health(&mut world, "guests").await.state(), HealthState::Warning);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_login_that_an_entry_of_another_sync_has_is_ambiguous_for_both() {
    ambiguous(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_login_that_an_entry_of_another_sync_has_is_ambiguous_for_both_on_postgresql() {
    ambiguous(Engine::Postgres).await;
}

/// The same between two directories: of the other nothing is told.
#[tokio::test(flavor = "multi_thread")]
async fn people_of_two_directories_swap_too_and_learn_nothing_of_each_other() {
    let mut world = world(Engine::Sqlite, guests(LoginChangePolicy::Allow)).await;
    let request = v1::CreateDirectoryRequest {
        parent: TENANT.into(),
        directory_id: "branch".into(),
        directory: Some(directory_at(world.slapd.url(), &world.slapd)),
        ..Default::default()
    };
    ok(world.clients.directories.create_directory(request)).await;
    let delete = v1::DeleteUserSyncRequest {
        name: format!("{TENANT}/userSyncs/guests"),
        user_disposition: v1::UserDisposition::Archive.into(),
        ..Default::default()
    };
    ok(world.clients.user_syncs.delete_user_sync(delete)).await;
    let mut branch = guests(LoginChangePolicy::Allow);
    branch.directory = format!("{TENANT}/directories/branch");
    branch.field_mappings.as_mut().unwrap().login = vec!["givenName".into(), "uid".into()];
    create_sync(&mut world.clients, "branch", branch).await;
    let run = run_of(&mut world, "branch").await;
    assert_eq!(run.state(), SyncRunState::Succeeded, "{run:#?}");
    login(&world, "Staff", "ada", "ben");
    login(&world, "Guests", "ben", "ada");
    succeed(&mut world).await;
    assert_eq!(of(&world, &dn("Guests", "ben")).await.profile.login, "ada");
    assert_eq!(of(&world, &dn("Staff", "ada")).await.profile.login, "ben");

    let reject = v1::UserSync {
        name: format!("{TENANT}/userSyncs/branch"),
        directory: DIRECTORY.into(),
        login_changes: LoginChangePolicy::Reject.into(),
        ..v1::UserSync::default()
    };
    let request = v1::UpdateUserSyncRequest {
        user_sync: Some(reject),
        update_mask: mask(&["login_changes"]),
    };
    ok(world.clients.user_syncs.update_user_sync(request)).await;
    login(&world, "Guests", "ben", "benjamin");
    let run = run_of(&mut world, "branch").await;
    assert_eq!(world.issue_types(&run).await, [IssueType::LoginChangeRejected]);
    hire(&world, "Staff", "hire", "ada");
    for sync in ["staff", "branch"] {
        let run = run_of(&mut world, sync).await;
        let issues = world.issues(&run).await;
        let ambiguous = issues
            .iter()
            .find(|issue| issue.r#type() == IssueType::LoginAmbiguous);
        let ambiguous = ambiguous.unwrap_or_else(|| panic!("{sync}: {issues:#?}"));
        assert_eq!(
            (ambiguous.other_dn.as_str(), ambiguous.other_user_sync.as_str()),
            ("", "")
        );
    }
    assert!(of(&world, &dn("Guests", "ben")).await.login_ambiguous);
}

/// A refresh sees one entry: it leaves the login ambiguous that the user keeps, and gives a free one that is not.
#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_tells_a_new_login_from_an_ambiguous_one() {
    let mut world = world(Engine::Sqlite, guests(LoginChangePolicy::Allow)).await;
    world.create_local("zoe", false).await;
    login(&world, "Staff", "ada", "zoe");
    hire(&world, "Staff", "hire", "ada");
    let run = run_of(&mut world, "staff").await;
    let types = world.issue_types(&run).await;
    assert!(types.contains(&IssueType::LoginAmbiguous), "{types:?}");
    let events = world.events().await;
    let refreshed = world.refresh("ada").await;
    assert_eq!(refreshed.outcome(), RefreshOutcome::Rejected);
    assert!(world.users().await["ada"].login_ambiguous);
    assert_eq!(world.events().await, events, "nothing changed");
    login(&world, "Staff", "ada", "countess");
    assert_eq!(world.refresh("ada").await.outcome(), RefreshOutcome::Updated);
    assert!(!world.users().await["countess"].login_ambiguous);
}

/// What a check says about an entry of the staff: the login that a run would leave the user with, and the issues.
async fn foretold(world: &mut World, dn: &str) -> (Option<String>, Vec<IssueType>) {
    let request = v1::CheckUserSyncRequest {
        parent: TENANT.into(),
        target: Some(v1::check_user_sync_request::Target::UserSync(STAFF.into())),
        sample_size: 100,
    };
    let checked = ok(world.clients.user_syncs.check_user_sync(request)).await;
    let sample = checked.samples.into_iter().find(|sample| sample.dn == dn);
    let sample = sample.unwrap();
    let issues = sample.issues.iter().map(v1::SyncIssue::r#type).collect();
    (sample.user.map(|user| user.login), issues)
}

/// A check asks the other sync's people as a run does.
#[tokio::test(flavor = "multi_thread")]
async fn a_check_foretells_what_a_run_does_with_the_logins_of_another_sync() {
    let mut world = world(Engine::Sqlite, guests(LoginChangePolicy::Allow)).await;
    login(&world, "Staff", "ada", "ben");
    let ada = dn("Staff", "ada");
    let taken = (Some("ada".to_owned()), vec![IssueType::LoginTaken]);
    assert_eq!(foretold(&mut world, &ada).await, taken);
    let run = run_of(&mut world, "staff").await;
    assert_eq!(world.issue_types(&run).await, taken.1);

    login(&world, "Guests", "ben", "ada");
    let before = world.users().await;
    assert_eq!(foretold(&mut world, &ada).await, (Some("ben".to_owned()), vec![]));
    assert_eq!(world.users().await, before, "a check changes nobody");
    succeed(&mut world).await;
    assert_eq!(world.users().await["ben"].id, before["ada"].id);

    let reject = v1::UserSync {
        name: format!("{TENANT}/userSyncs/guests"),
        login_changes: LoginChangePolicy::Reject.into(),
        ..v1::UserSync::default()
    };
    let request = v1::UpdateUserSyncRequest {
        user_sync: Some(reject),
        update_mask: mask(&["login_changes"]),
    };
    ok(world.clients.user_syncs.update_user_sync(request)).await;
    run_of(&mut world, "guests").await;
    login(&world, "Guests", "ben", "benjamin");
    login(&world, "Staff", "ada", "ada");
    let (kept, issues) = foretold(&mut world, &ada).await;
    let run = run_of(&mut world, "staff").await;
    assert_eq!(world.issue_types(&run).await, [IssueType::LoginAmbiguous]);
    assert_eq!(issues, [IssueType::LoginAmbiguous]);
    assert_eq!(kept, Some(of(&world, &ada).await.profile.login));
}

/// Nothing waits any more once a held run is cancelled; who cannot log in still cannot.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_hold_is_no_problem_any_more_and_an_ambiguous_login_is() {
    let mut world = world(Engine::Sqlite, guests(LoginChangePolicy::Reject)).await;
    login(&world, "Guests", "ben", "benjamin");
    run_of(&mut world, "guests").await;
    hire(&world, "Staff", "hire", "ben");
    run_of(&mut world, "staff").await;
    let ambiguous = health(&mut world, "staff").await;
    let ldif = format!("dn: {}\nchangetype: delete\n", dn("Staff", "ada"));
    world.slapd.modify(&ldif).unwrap();
    let ldif = format!("dn: {}\nchangetype: delete\n", dn("Groups", "eve"));
    world.slapd.modify(&ldif).unwrap();
    for (sync, left) in [("staff", &ambiguous.problems[..1]), ("third", &[])] {
        let held = run_of(&mut world, sync).await;
        assert_eq!(held.state(), SyncRunState::Held);
        let waits = |health: &v1::UserSyncHealth| {
            let mut problems = health.problems.iter();
            problems.any(|problem| problem.message.contains("held"))
        };
        assert!(waits(&health(&mut world, sync).await), "{sync}");
        let cancel = v1::CancelSyncRunRequest { name: held.name };
        ok(world.clients.runs.cancel_sync_run(cancel)).await;
        let health = health(&mut world, sync).await;
        assert_eq!(health.problems, left, "{sync}");
        let state = match left {
            [] => HealthState::Ok,
            _ => HealthState::Error,
        };
        assert_eq!(health.state(), state, "{sync}");
    }
}
