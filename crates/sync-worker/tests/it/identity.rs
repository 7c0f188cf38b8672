//! Who is whom over time: people are renamed, moved, swap their logins, leave, come back, and belong to another
//! user sync one day.

use std::collections::BTreeMap;

use rollcall_core::error::Reason;
use rollcall_core::event::EventType;
use rollcall_core::user::{StateReason, User, UserState};
use rollcall_proto::v1::{
    self, ChangeType, IssueType, LoginChangePolicy, MissingUserPolicy, SyncRunMode, SyncRunState,
    UserDisposition,
};
use rollcall_testkit::{Ldif, Slapd};

use crate::company::{DIRECTORY, TENANT, create_sync, staff, sync_of};
use crate::harness::{fails, ok};
use crate::run_world::{BASE, World, dn, person, tenant, units};
use crate::runs::rest;

/// Everybody under the root, whose logins are their given names.
fn everybody() -> v1::UserSync {
    let mut sync = v1::UserSync {
        login_changes: LoginChangePolicy::Allow.into(),
        missing_users: MissingUserPolicy::Archive.into(),
        ..sync_of(BASE, "(objectClass=inetOrgPerson)")
    };
    if let Some(mappings) = &mut sync.field_mappings {
        mappings.login = vec!["givenName".into()];
    }
    sync
}

/// People of the staff whose given names are their uids.
fn given(names: &[&str]) -> Ldif {
    let mut ldif = units();
    for name in names {
        person(&mut ldif, "Staff", name).attribute("givenName", name);
    }
    ldif
}

fn set(uid: &str, attribute: &str, value: &str) -> String {
    let dn = dn("Staff", uid);
    format!("dn: {dn}\nchangetype: modify\nreplace: {attribute}\n{attribute}: {value}\n\n")
}

fn move_to(uid: &str, from: &str, to: &str) -> String {
    format!(
        "dn: {}\nchangetype: modrdn\nnewrdn: uid={uid}\ndeleteoldrdn: 0\nnewsuperior: ou={to},{BASE}\n\n",
        dn(from, uid)
    )
}

/// Every user by its DN: the name of the entry that it is.
async fn by_dn(world: &World) -> BTreeMap<String, User> {
    let users = world.users().await.into_values();
    users
        .filter_map(|user| Some((user.origin.as_ref()?.dn.clone(), user)))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_renamed_and_moved_stays_the_same_user() {
    let mut world = World::start(Slapd::builder().ldif(given(&["ada"]).as_str()), everybody()).await;
    world.succeed().await;
    let before = world.users().await["ada"].clone();
    let rename = format!(
        "dn: {}\nchangetype: modrdn\nnewrdn: uid=lovelace\ndeleteoldrdn: 1\nnewsuperior: ou=Guests,{BASE}\n",
        dn("Staff", "ada")
    );
    world.slapd.modify(&rename).unwrap();
    let run = world.succeed().await;
    assert_eq!(
        world.changes(&run).await,
        [("ada".to_owned(), ChangeType::Update)]
    );
    let after = world.users().await["ada"].clone();
    assert_eq!(after.id, before.id);
    assert_eq!(after.origin.unwrap().dn, dn("Guests", "lovelace"));
}

#[tokio::test(flavor = "multi_thread")]
async fn logins_and_addresses_are_swapped_and_passed_on_in_one_run() {
    let names = ["ada", "ben", "cem", "dan", "eve"];
    let mut world = World::start(Slapd::builder().ldif(given(&names).as_str()), everybody()).await;
    world.succeed().await;
    let before = by_dn(&world).await;
    let position = world.events().await;
    // Ada and Ben swap; Cem takes over from Dan, Dan from Eve, and Eve gets something new.
    let mut changes = String::new();
    for (uid, login) in [
        ("ada", "ben"),
        ("ben", "ada"),
        ("cem", "dan"),
        ("dan", "eve"),
        ("eve", "new"),
    ] {
        changes += &set(uid, "givenName", login);
        if uid == "ada" || uid == "ben" {
            changes += &set(uid, "mail", &format!("{login}@example.org"));
        }
    }
    world.slapd.modify(&changes).unwrap();
    let run = world.succeed().await;
    assert_eq!(run.counts.unwrap().updated, 5);
    let after = by_dn(&world).await;
    for (uid, login) in [
        ("ada", "ben"),
        ("ben", "ada"),
        ("cem", "dan"),
        ("dan", "eve"),
        ("eve", "new"),
    ] {
        let dn = dn("Staff", uid);
        assert_eq!(
            (after[&dn].id, after[&dn].profile.login.as_str()),
            (before[&dn].id, login)
        );
    }
    // Nobody is seen without a login, or with one that is only on its way.
    for event in world.events_after(position).await {
        assert_eq!(event.event_type, EventType::Updated);
        let user = event.after.as_ref().unwrap();
        let dn = &user.origin.as_ref().unwrap().dn;
        assert_eq!(user.profile.login, after[dn].profile.login);
    }
    assert_eq!(world.events().await, position + 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_given_to_a_new_person_is_not_the_old_user_and_who_returns_is() {
    let names = ["ada", "ben", "cem", "dan"];
    let sync = v1::UserSync {
        missing_users: MissingUserPolicy::Archive.into(),
        ..staff()
    };
    let mut world = World::start(Slapd::builder().ldif(given(&names).as_str()), sync).await;
    world.succeed().await;
    let before = world.users().await;
    // Ada leaves, and a new Ada comes; Ben is lent to somebody else.
    let mut changes = format!("dn: {}\nchangetype: delete\n\n", dn("Staff", "ada"));
    changes += &move_to("ben", "Staff", "Guests");
    world.slapd.modify(&changes).unwrap();
    let mut new = Ldif::new();
    person(&mut new, "Staff", "ada");
    world.slapd.add(new.as_str()).unwrap();
    let held = world.apply().await;
    assert_eq!(held.state(), SyncRunState::Succeeded, "{held:#?}");
    let all = world
        .store
        .batch_users(&tenant(), &[before["ada"].id, before["ben"].id])
        .await;
    for user in all.unwrap() {
        let reason = match user.id == before["ada"].id {
            true => StateReason::Gone,
            false => StateReason::OutOfScope,
        };
        assert_eq!(
            (user.state, user.state_reason),
            (UserState::Archived, Some(reason))
        );
    }
    let newcomer = world.store.lookup_user(&tenant(), "ada").await.unwrap().unwrap();
    assert_ne!(newcomer.id, before["ada"].id);
    assert_eq!(newcomer.state, UserState::Active);

    // Ben comes back, and finds his login still free.
    world.slapd.modify(&move_to("ben", "Guests", "Staff")).unwrap();
    let run = world.succeed().await;
    assert_eq!(
        world.changes(&run).await,
        [("ben".to_owned(), ChangeType::Reactivate)]
    );
    let ben = world.store.lookup_user(&tenant(), "ben").await.unwrap().unwrap();
    assert_eq!(
        (ben.id, ben.state, ben.state_reason),
        (before["ben"].id, UserState::Active, None)
    );

    // Had somebody taken it meanwhile, he would have to wait.
    world.slapd.modify(&move_to("cem", "Staff", "Guests")).unwrap();
    world.succeed().await;
    world.create_local("cem", false).await;
    world.slapd.modify(&move_to("cem", "Guests", "Staff")).unwrap();
    let run = world.apply().await;
    assert_eq!(world.issue_types(&run).await, [IssueType::LoginTaken]);
    let cem = world.store.user(&tenant(), before["cem"].id).await.unwrap();
    assert_eq!(cem.state, UserState::Archived);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_moves_to_another_sync_s_scope_is_taken_over_once_the_first_gave_them_up() {
    let mut world = World::start(
        Slapd::builder().ldif(given(&["ada", "ben", "cem"]).as_str()),
        staff(),
    )
    .await;
    let guests = sync_of(&format!("ou=Guests,{BASE}"), "(objectClass=inetOrgPerson)");
    create_sync(&mut world.clients, "guests", guests).await;
    world.succeed().await;
    let before = world.users().await["ada"].clone();
    world.slapd.modify(&move_to("ada", "Staff", "Guests")).unwrap();

    let early = run_guests(&mut world).await;
    let issues = world.issues(&early).await;
    assert_eq!(issues.len(), 1, "{issues:#?}");
    assert_eq!(issues[0].r#type(), IssueType::Overlap);
    assert_eq!(issues[0].other_user_sync, format!("{TENANT}/userSyncs/staff"));
    assert!(issues[0].message.contains("staff"), "{issues:#?}");
    let kept = &world.users().await["ada"];
    assert_eq!(
        (kept.id, kept.revision),
        (before.id, before.revision),
        "the owner keeps the user"
    );

    world.succeed().await;
    assert_eq!(
        world.state("ada").await,
        (UserState::Deactivated, Some(StateReason::OutOfScope))
    );
    let position = world.events().await;
    let run = run_guests(&mut world).await;
    assert_eq!(
        world.changes(&run).await,
        [("ada".to_owned(), ChangeType::Transfer)]
    );
    let events = world.events_after(position).await;
    assert_eq!(
        events.iter().map(|event| event.event_type).collect::<Vec<_>>(),
        [EventType::Transferred]
    );
    let after = &world.users().await["ada"];
    assert_eq!((after.id, after.state), (before.id, UserState::Active));
    assert_eq!(after.origin.as_ref().unwrap().user_sync.as_str(), "guests");
    let settled = world.succeed().await;
    assert_eq!(settled.counts.unwrap().entries, 2);
    assert_eq!(world.events().await, position + 1, "nobody takes her back");
}

/// A user sync that leaves missing users alone never says that it gave anybody up. Whoever it would not find any more
/// could otherwise log in nowhere.
#[tokio::test(flavor = "multi_thread")]
async fn whom_a_sync_would_not_find_any_more_another_takes_over_though_the_first_ignores_who_is_missing() {
    let sync = v1::UserSync {
        missing_users: MissingUserPolicy::Ignore.into(),
        ..staff()
    };
    let mut world = World::start(
        Slapd::builder().ldif(given(&["ada", "ben", "cem"]).as_str()),
        sync,
    )
    .await;
    let everybody = sync_of(BASE, "(objectClass=inetOrgPerson)");
    create_sync(&mut world.clients, "guests", everybody).await;
    world.succeed().await;
    let before = world.users().await["ada"].clone();
    world.slapd.modify(&move_to("ada", "Staff", "Guests")).unwrap();

    let run = run_guests(&mut world).await;
    assert_eq!(
        world.changes(&run).await,
        [("ada".to_owned(), ChangeType::Transfer)]
    );
    assert_eq!(
        world.issue_types(&run).await,
        [IssueType::Overlap; 2],
        "Ben and Cem stay"
    );
    let after = &world.users().await["ada"];
    assert_eq!((after.id, after.state), (before.id, UserState::Active));
    assert_eq!(after.origin.as_ref().unwrap().user_sync.as_str(), "guests");
    let position = world.events().await;
    world.succeed().await;
    assert_eq!(world.events().await, position, "nobody takes her back");
}

async fn run_guests(world: &mut World) -> v1::SyncRun {
    let request = v1::RunUserSyncRequest {
        name: format!("{TENANT}/userSyncs/guests"),
        mode: SyncRunMode::Apply.into(),
        ..Default::default()
    };
    let run = ok(world.clients.user_syncs.run_user_sync(request)).await;
    rest(&mut world.clients, &run.name).await
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_a_directory_asks_what_becomes_of_its_users() {
    for (disposition, state, is_local) in [
        (UserDisposition::Deactivate, UserState::Deactivated, false),
        (UserDisposition::Archive, UserState::Archived, false),
        (UserDisposition::MakeLocal, UserState::Active, true),
    ] {
        let sync = v1::UserSync {
            overwrite_local_users: true,
            ..staff()
        };
        let mut world = World::start(Slapd::builder().ldif(given(&["ada", "ben"]).as_str()), sync).await;
        world.create_local("ben", false).await;
        let run = world.succeed().await;
        assert_eq!(
            world.changes(&run).await,
            [
                ("ada".to_owned(), ChangeType::Create),
                ("ben".to_owned(), ChangeType::Link)
            ]
        );
        let delete = |force, disposition: UserDisposition| v1::DeleteDirectoryRequest {
            name: DIRECTORY.into(),
            force,
            user_disposition: disposition.into(),
            ..Default::default()
        };
        let directories = &mut world.clients.directories;
        let call = directories.delete_directory(delete(false, UserDisposition::Unspecified));
        fails(Reason::DirectoryInUse, call).await;
        let call = directories.delete_directory(delete(true, UserDisposition::Unspecified));
        fails(Reason::InvalidField, call).await;
        ok(directories.delete_directory(delete(true, disposition))).await;
        let users = world.users().await;
        let ada = &users["ada"];
        assert_eq!(
            (ada.state, ada.origin.is_none()),
            (state, is_local),
            "{disposition:?}"
        );
        let reason = (!is_local).then_some(StateReason::SyncDeleted);
        assert_eq!(ada.state_reason, reason);
        // Ben was the product's before, and is again.
        let ben = &users["ben"];
        assert_eq!(
            (ben.state, &ben.origin),
            (UserState::Active, &None),
            "{disposition:?}"
        );
    }
}
