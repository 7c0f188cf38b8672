//! A directory whose entries get other ids: users are found again by login, once an admin has looked.

use std::collections::BTreeMap;

use chrono::Utc;
use rollcall_core::error::Reason;
use rollcall_core::user::{StateReason, User, UserState};
use rollcall_proto::v1::{self, ChangeType, IssueType, SyncRunMode, SyncRunState};
use rollcall_store::{PageRequest, Recorded, UserFilter};
use rollcall_testkit::{Ldif, Slapd};

use crate::company::{DIRECTORY, staff};
use crate::harness::{fails, mask, ok};
use crate::run_world::{World, dn, person, tenant, units};
use crate::runs::run_to_rest;

/// Ada, Ben and Cem with staff numbers 1, 2 and 3.
fn numbered() -> Ldif {
    let mut ldif = units();
    for (number, uid) in ["ada", "ben", "cem"].iter().enumerate() {
        person(&mut ldif, "Staff", uid).attribute("employeeNumber", (number + 1).to_string());
    }
    ldif
}

/// From here on staff numbers identify the entries.
async fn identify_by_number(world: &mut World) {
    identify_by(world, "employeeNumber").await;
}

async fn identify_by(world: &mut World, attribute: &str) {
    let request = v1::UpdateDirectoryRequest {
        directory: Some(v1::Directory {
            name: DIRECTORY.into(),
            external_id_attribute: attribute.into(),
            ..v1::Directory::default()
        }),
        update_mask: mask(&["external_id_attribute"]),
        confirm_new_directory: false,
    };
    ok(world.clients.directories.update_directory(request)).await;
}

async fn relink(world: &mut World) -> v1::SyncRun {
    run_to_rest(&mut world.clients, SyncRunMode::Relink).await
}

async fn ids(world: &World) -> BTreeMap<String, String> {
    let users = world.users().await.into_iter();
    users
        .map(|(login, user)| (login, user.id.0.to_string()))
        .collect()
}

impl World {
    async fn users_by_id(&self) -> BTreeMap<String, User> {
        let page = PageRequest::first(100);
        let users = self
            .store
            .list_users(&tenant(), &UserFilter::default(), &page)
            .await
            .unwrap();
        let users = users.items.into_iter();
        users.map(|user| (user.id.0.to_string(), user)).collect()
    }
}

async fn external_ids(world: &World) -> Vec<(String, String)> {
    let users = world.users().await.into_iter();
    users
        .filter_map(|(login, user)| Some((login, user.origin?.external_id.to_string())))
        .collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = expected.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned()));
    owned.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_identity_attribute_is_relinked_by_login_once_an_admin_has_looked() {
    let mut world = World::start(Slapd::builder().ldif(numbered().as_str()), staff()).await;
    world.succeed().await;
    let before = ids(&world).await;
    identify_by_number(&mut world).await;
    let events = world.events().await;

    let held = world.apply().await;
    assert_eq!(
        held.state(),
        SyncRunState::Held,
        "nobody is known any more: {held:#?}"
    );

    let planned = relink(&mut world).await;
    assert_eq!(planned.state(), SyncRunState::Held, "{planned:#?}");
    assert_eq!(planned.mode(), SyncRunMode::Relink);
    assert_eq!(planned.counts.unwrap().relinked, 3);
    assert!(
        planned
            .hold_reasons
            .iter()
            .any(|reason| reason.message.contains("by login")),
        "{planned:#?}"
    );
    let request = v1::ListSyncRunChangesRequest {
        parent: planned.name.clone(),
        types: vec![ChangeType::Relink.into()],
        ..Default::default()
    };
    let changes = ok(world.clients.runs.list_sync_run_changes(request))
        .await
        .changes;
    assert_eq!(changes.len(), 3);
    let ada = changes.iter().find(|change| change.login == "ada").unwrap();
    let told: Vec<_> = ada
        .field_changes
        .iter()
        .map(|change| change.field.as_str())
        .collect();
    assert_eq!(told, ["external_id", "external_id_attribute"]);
    assert_eq!(
        (ada.external_id.as_str(), ada.dn.as_str()),
        ("1", dn("Staff", "ada").as_str())
    );
    assert_eq!(
        world.events().await,
        events,
        "nothing changes before somebody says so"
    );

    let applied = world.release(&planned).await;
    assert_eq!(applied.state(), SyncRunState::Succeeded, "{applied:#?}");
    assert_eq!(ids(&world).await, before);
    assert_eq!(
        external_ids(&world).await,
        pairs(&[("ada", "1"), ("ben", "2"), ("cem", "3")])
    );
    assert_eq!(world.active().await, 3);
    let after = world.succeed().await;
    assert_eq!(after.counts.unwrap().unchanged, 3);
    assert_eq!(world.events().await, events + 3);
    // Applied once.
    let again = world.release(&planned).await;
    assert_eq!(again.state(), SyncRunState::Succeeded);
    assert_eq!(world.events().await, events + 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_somebody_else_has_by_now_is_not_relinked_where_the_old_entry_can_be_found() {
    let mut world = World::start(Slapd::builder().ldif(numbered().as_str()), staff()).await;
    world.succeed().await;
    // Ada is renamed, and her login given to Dora: by entryUUID the directory still knows who Ada is.
    let ada = dn("Staff", "ada");
    let changes = format!(
        "dn: {ada}\nchangetype: modrdn\nnewrdn: uid=ada-old\ndeleteoldrdn: 1\n\n\
         dn: {ada}\nchangetype: add\nobjectClass: inetOrgPerson\nuid: ada\ncn: Dora\nsn: Dora\nemployeeNumber: 4\n"
    );
    world.slapd.modify(&changes).unwrap();
    identify_by_number(&mut world).await;
    let planned = relink(&mut world).await;
    assert_eq!(planned.state(), SyncRunState::Held, "{planned:#?}");
    let relinked: Vec<_> = world
        .changes(&planned)
        .await
        .into_iter()
        .filter(|(_, kind)| *kind == ChangeType::Relink)
        .map(|(login, _)| login)
        .collect();
    assert_eq!(relinked, ["ben", "cem"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn users_who_change_before_the_release_are_left_out_of_it() {
    let mut world = World::start(Slapd::builder().ldif(numbered().as_str()), staff()).await;
    world.succeed().await;
    identify_by_number(&mut world).await;
    let planned = relink(&mut world).await;
    let ada = world.users().await["ada"].id;
    let acme = tenant();
    let blocked = world
        .store
        .block_user(&acme, ada, None, "left angry", Recorded::by_nobody(Utc::now()));
    blocked.await.unwrap();
    let applied = world.release(&planned).await;
    assert_eq!(applied.state(), SyncRunState::SucceededWithIssues, "{applied:#?}");
    assert_eq!(world.issue_types(&applied).await, [IssueType::ChangedMeanwhile]);
    assert_eq!(applied.counts.unwrap().relinked, 2);
    // Asked again, it is made up for, and the block stays.
    let planned = relink(&mut world).await;
    assert_eq!(world.release(&planned).await.state(), SyncRunState::Succeeded);
    let ada = &world.users().await["ada"];
    assert_eq!(ada.origin.as_ref().unwrap().external_id.to_string(), "1");
    assert!(ada.block.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relink_with_nobody_to_find_is_a_preview() {
    let mut world = World::start(Slapd::builder().ldif(numbered().as_str()), staff()).await;
    world.succeed().await;
    let planned = relink(&mut world).await;
    assert_eq!(planned.state(), SyncRunState::Planned, "{planned:#?}");
    assert_eq!(planned.counts.unwrap().unchanged, 3);
}

/// Whoever releases the held run instead has new users: those of before are archived, since the new ones have their
/// logins. No relink finds them then. They come back by the attribute that identified them.
#[tokio::test(flavor = "multi_thread")]
async fn a_hasty_release_is_undone_by_the_attribute_of_before_and_not_by_a_relink() {
    let mut world = World::start(Slapd::builder().ldif(numbered().as_str()), staff()).await;
    world.succeed().await;
    let before = ids(&world).await;
    identify_by(&mut world, "employeeNumber").await;
    let held = world.apply().await;
    world.release(&held).await;
    for (login, id) in &before {
        let user = &world.users_by_id().await[id];
        assert_eq!(
            (user.state, user.state_reason),
            (UserState::Archived, Some(StateReason::Gone)),
            "{login}"
        );
    }
    assert_eq!(world.active().await, 3);
    let planned = relink(&mut world).await;
    assert_eq!(planned.state(), SyncRunState::Planned, "{planned:#?}");
    assert_eq!(planned.counts.unwrap().relinked, 0);

    identify_by(&mut world, "entryUUID").await;
    let held = world.apply().await;
    let counts = held.counts.unwrap();
    assert_eq!((counts.reactivated, counts.archived), (3, 3), "{held:#?}");
    assert_eq!(world.release(&held).await.state(), SyncRunState::Succeeded);
    let users = world.users_by_id().await;
    assert_eq!(users.len(), 6);
    for (id, user) in &users {
        let is_of_before = before.get(&user.profile.login) == Some(id);
        assert_eq!(user.state == UserState::Active, is_of_before, "{user:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_waiting_plan_of_a_relink_falls_with_the_next_change_of_the_directory() {
    let mut world = World::start(Slapd::builder().ldif(numbered().as_str()), staff()).await;
    world.succeed().await;
    identify_by_number(&mut world).await;
    let planned = relink(&mut world).await;
    let request = v1::UpdateDirectoryRequest {
        directory: Some(v1::Directory {
            name: DIRECTORY.into(),
            external_id_attribute: "departmentNumber".into(),
            ..v1::Directory::default()
        }),
        update_mask: mask(&["external_id_attribute"]),
        confirm_new_directory: false,
    };
    ok(world.clients.directories.update_directory(request)).await;
    let apply = v1::ApplySyncRunRequest {
        name: planned.name.clone(),
    };
    fails(Reason::RunNotInState, world.clients.runs.apply_sync_run(apply)).await;
}

/// Who cannot be told from somebody else is not brought up to date by what the other one has.
#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_by_an_id_that_two_entries_have_changes_nothing() {
    let mut world = World::start(Slapd::builder().ldif(numbered().as_str()), staff()).await;
    identify_by_number(&mut world).await;
    world.succeed().await;
    let before = world.users().await;
    let change = |uid: &str, attribute: &str, value: &str| {
        let dn = dn("Staff", uid);
        format!("dn: {dn}\nchangetype: modify\nreplace: {attribute}\n{attribute}: {value}\n\n")
    };
    let twin = change("ada", "employeeNumber", "2") + &change("ada", "cn", "Not Ben");
    world.slapd.modify(&twin).unwrap();
    let refreshed = world.refresh("ben").await;
    assert_eq!(
        refreshed.outcome(),
        v1::RefreshOutcome::Rejected,
        "{refreshed:#?}"
    );
    assert_eq!(refreshed.issues[0].r#type(), v1::IssueType::DuplicateInDirectory);
    assert_eq!(world.users().await, before);
}
