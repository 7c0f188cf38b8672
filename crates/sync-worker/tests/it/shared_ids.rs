//! Several entries with one id: the strictest state of all of them applies, and nothing else, in a run and at a refresh;
//! and what is counted of entries that come more than once.

use rollcall_core::user::{StateReason, UserState};
use rollcall_proto::v1::explain_user_request::{Person, Target};
use rollcall_proto::v1::{self, IssueType, RefreshOutcome, SyncRunState};
use rollcall_runtime::clock::Clock;
use rollcall_testkit::{Tree, TreeEntry, TreeLdap};

use crate::company::{STAFF, TENANT, sync_of};
use crate::harness::ok;
use crate::run_world::World;

const BASE: &str = "dc=example,dc=org";
const PEOPLE: &str = "(objectClass=inetOrgPerson)";
const ACTIVE: (UserState, Option<StateReason>) = (UserState::Active, None);
const DISABLED: (UserState, Option<StateReason>) =
    (UserState::Deactivated, Some(StateReason::DisabledInDirectory));

fn person(unit: &str, uid: &str, id: usize) -> TreeEntry {
    TreeEntry::new(
        format!("uid={uid},ou={unit},{BASE}"),
        &[
            ("objectClass", "inetOrgPerson"),
            ("entryUUID", &format!("00000000-0000-4000-8000-{id:012x}")),
            ("uid", uid),
            ("cn", uid),
            ("mail", &format!("{uid}@example.org")),
        ],
    )
}

/// Ada, bob and cem in one of two units.
async fn world(sync: v1::UserSync) -> World<TreeLdap> {
    let mut tree = Tree::default();
    let entry = |dn: String, class: &str, id: usize| {
        let id = format!("00000000-0000-4000-8000-{id:012x}");
        TreeEntry::new(dn, &[("objectClass", class), ("entryUUID", &id)])
    };
    tree.add(entry(BASE.to_owned(), "domain", 1));
    for (number, unit) in ["Staff", "Guests"].into_iter().enumerate() {
        tree.add(entry(
            format!("ou={unit},{BASE}"),
            "organizationalUnit",
            2 + number,
        ));
    }
    let mut reader = entry(format!("cn=reader,{BASE}"), "device", 4);
    reader.password = Some("Password of the reader 1".to_owned());
    tree.add(reader);
    for (number, uid) in ["ada", "bob", "cem"].into_iter().enumerate() {
        tree.add(person("Staff", uid, 10 + number));
    }
    let server = TreeLdap::start(tree).await.unwrap();
    let directory = v1::Directory {
        display_name: "Head office".into(),
        hosts: vec![server.url()],
        transport_security: v1::TransportSecurity::Plaintext.into(),
        allow_plaintext: true,
        bind_dn: format!("cn=reader,{BASE}"),
        bind_password: "Password of the reader 1".into(),
        ..v1::Directory::default()
    };
    let port = server.address().port();
    let mut world = World::around(server, port, directory, sync, Clock::System).await;
    world.succeed().await;
    world
}

fn staff() -> v1::UserSync {
    sync_of(&format!("ou=Staff,{BASE}"), PEOPLE)
}

fn lock(tree: &mut Tree, dn: &str) {
    let entry = tree.entry_mut(dn).unwrap();
    entry.set("pwdAccountLockedTime", &["000001010000Z"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_entry_with_a_shared_id_is_named_to_the_other_and_its_user_counts_once() {
    let mut world = world(staff()).await;
    world.slapd.edit(|tree| tree.add(person("Staff", "ada2", 10)));
    let run = world.apply().await;
    let counts = run.counts.unwrap();
    assert_eq!((counts.entries, counts.unchanged, counts.updated), (4, 3, 0));
    let issues = world.issues(&run).await;
    let named: Vec<_> = issues
        .iter()
        .map(|issue| (issue.r#type(), issue.dn.as_str(), issue.other_dn.as_str()))
        .collect();
    let (ada, copy) = (
        format!("uid=ada,ou=Staff,{BASE}"),
        format!("uid=ada2,ou=Staff,{BASE}"),
    );
    let kind = IssueType::DuplicateInDirectory;
    assert_eq!(named, [(kind, &*ada, &*copy), (kind, &*copy, &*ada)]);

    world.slapd.edit(|tree| lock(tree, &copy));
    let counts = world.apply().await.counts.unwrap();
    assert_eq!((counts.deactivated, counts.unchanged), (1, 2));
    assert_eq!(world.state("ada").await, DISABLED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_takes_what_one_of_several_entries_takes_away_and_heeds_none_that_runs_do_not_meet() {
    let mut world = world(staff()).await;
    let copy = format!("uid=ada2,ou=Guests,{BASE}");
    world.slapd.edit(|tree| {
        tree.add(person("Guests", "ada2", 10));
        lock(tree, &copy);
        let ada = tree.entry_mut(&format!("uid=ada,ou=Staff,{BASE}")).unwrap();
        ada.set("cn", &["Ada"]);
    });
    assert_eq!(world.refresh("ada").await.outcome(), RefreshOutcome::Updated);
    assert_eq!(world.state("ada").await, ACTIVE);
    assert_eq!(world.apply().await.state(), SyncRunState::Succeeded);

    world
        .slapd
        .edit(|tree| tree.rename(&copy, &format!("uid=ada2,ou=Staff,{BASE}")));
    let refreshed = world.refresh("ada").await;
    assert_eq!(refreshed.outcome(), RefreshOutcome::Removed);
    assert_eq!(refreshed.issues.len(), 2);
    assert_eq!(world.state("ada").await, DISABLED);
    let again = world.refresh("ada").await;
    assert_eq!(again.outcome(), RefreshOutcome::Rejected);
}

/// Of several entries with the id of a user, a login finds the one that the last run confirmed.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_is_foretold_by_where_the_last_run_found_the_user_if_it_said_so() {
    for (existing_users, audited) in [
        (v1::ExistingUserPolicy::Update, "AUTHENTICATED"),
        (v1::ExistingUserPolicy::Ignore, "EXTERNAL_ID_SHARED"),
    ] {
        let sync = v1::UserSync {
            existing_users: existing_users.into(),
            ..staff()
        };
        let mut world = world(sync).await;
        world.slapd.edit(|tree| tree.add(person("Staff", "ada2", 10)));
        let request = v1::ExplainUserRequest {
            parent: TENANT.into(),
            target: Some(Target::UserSync(STAFF.into())),
            person: Some(Person::Identifier("ada".into())),
        };
        let answer = ok(world.clients.user_syncs.explain_user(request)).await;
        let logins = answer
            .explanations
            .iter()
            .filter_map(|found| found.login.as_ref());
        let reasons: Vec<_> = logins.map(|login| login.audit_reason.as_str()).collect();
        assert_eq!(reasons, [audited; 2], "each entry is explained: {answer:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_two_searches_find_counts_once() {
    let mut sync = staff();
    let searches = [PEOPLE, "(uid=*)"].map(|filter| v1::UserSearch {
        base_dn: format!("ou=Staff,{BASE}"),
        filter: filter.into(),
        ..v1::UserSearch::default()
    });
    sync.searches = searches.to_vec();
    let mut world = world(sync).await;
    assert_eq!(world.apply().await.counts.unwrap().entries, 3);
    // Its second entry comes twice too.
    world.slapd.edit(|tree| tree.add(person("Staff", "ada2", 10)));
    assert_eq!(world.apply().await.counts.unwrap().entries, 4);
    // Without an id it is the same entry all the same.
    world.slapd.edit(|tree| {
        let bob = tree.entry_mut(&format!("uid=bob,ou=Staff,{BASE}")).unwrap();
        bob.set::<&str>("entryUUID", &[]);
    });
    let run = world.apply().await;
    assert_eq!(run.counts.unwrap().entries, 4);
    let types = world.issue_types(&run).await;
    let nameless = types.iter().filter(|kind| **kind == IssueType::MissingExternalId);
    assert_eq!(nameless.count(), 1);
}

/// A user who keeps all fields is told nothing of them, but that nobody can tell whether it may log in.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_left_alone_has_issues_of_the_state_alone() {
    let mut sync = staff();
    sync.existing_users = v1::ExistingUserPolicy::Ignore.into();
    let mut world = world(sync).await;
    world.slapd.edit(|tree| {
        let ada = tree.entry_mut(&format!("uid=ada,ou=Staff,{BASE}")).unwrap();
        ada.set("mail", &["-"]);
        ada.set("pwdAccountLockedTime", &["nonsense"]);
        let bob = tree.entry_mut(&format!("uid=bob,ou=Staff,{BASE}")).unwrap();
        bob.set("mail", &["-"]);
    });
    let run = world.apply().await;
    assert_eq!(world.issue_types(&run).await, [IssueType::StateUnreadable]);
    assert_eq!(run.counts.unwrap().ignored, 2);
    world
        .slapd
        .edit(|tree| lock(tree, &format!("uid=bob,ou=Staff,{BASE}")));
    let run = world.apply().await;
    assert_eq!(world.issue_types(&run).await, [IssueType::StateUnreadable]);
    assert_eq!(world.state("bob").await, DISABLED);
}

/// Whoever is new is left alone, and counted so; several entries with one id are nobody who could be.
#[tokio::test(flavor = "multi_thread")]
async fn several_entries_with_a_new_id_are_not_among_those_who_are_left_alone() {
    let mut sync = staff();
    sync.new_users = v1::NewUserPolicy::Ignore.into();
    let mut world = world(sync).await;
    world.slapd.edit(|tree| {
        tree.add(person("Staff", "dan", 20));
        tree.add(person("Staff", "dan2", 20));
    });
    let run = world.apply().await;
    let counts = run.counts.unwrap();
    assert_eq!((counts.entries, counts.ignored, counts.issues), (5, 3, 2));
    assert_eq!(
        world.issue_types(&run).await,
        [IssueType::DuplicateInDirectory; 2]
    );
}
