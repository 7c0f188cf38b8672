//! People who move from one user sync to another: they are taken over as soon as the first one has said that they left,
//! whatever state they were in and whatever conflicts they bring.

use rollcall_core::user::{StateReason, UserState};
use rollcall_proto::v1::{self, ChangeType, IssueType, MissingUserPolicy, NewUserPolicy, SyncRunMode};
use rollcall_testkit::Slapd;

use crate::company::{TENANT, create_sync, staff, sync_of};
use crate::run_world::{BASE, World, dn, people, person, units};

/// Ten people of the staff, and a user sync of the guests that creates nobody.
async fn world() -> World {
    let mut ldif = units();
    people(&mut ldif, "Staff", 10);
    person(&mut ldif, "Guests", "stranger");
    let builder = Slapd::builder().ppolicy().ldif(ldif.as_str());
    let mut world = World::start(builder, staff()).await;
    let guests = v1::UserSync {
        new_users: NewUserPolicy::Ignore.into(),
        ..sync_of(&format!("ou=Guests,{BASE}"), "(objectClass=inetOrgPerson)")
    };
    create_sync(&mut world.clients, "guests", guests).await;
    world.succeed().await;
    world
}

async fn run_guests(world: &mut World) -> v1::SyncRun {
    world.run_as_foretold("guests", SyncRunMode::Apply).await
}

fn change(world: &World, unit: &str, uid: &str, lines: &str) {
    let ldif = format!("dn: {}\nchangetype: modify\n{lines}", dn(unit, uid));
    world.slapd.modify(&ldif).unwrap();
}

fn becomes_guest(world: &World, uid: &str) {
    let ldif = format!(
        "dn: {}\nchangetype: modrdn\nnewrdn: uid={uid}\ndeleteoldrdn: 0\nnewsuperior: ou=Guests,{BASE}\n",
        dn("Staff", uid)
    );
    world.slapd.modify(&ldif).unwrap();
}

async fn owner(world: &World, login: &str) -> String {
    let users = world.users().await;
    users[login]
        .origin
        .as_ref()
        .unwrap()
        .user_sync
        .as_str()
        .to_owned()
}

/// Fault 6: the first sync has nothing to deactivate any more, and says all the same that they left.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_was_disabled_in_one_sync_is_taken_over_by_the_other_once_enabled_there() {
    let mut world = world().await;
    let id = world.users().await["p00"].id;
    change(
        &world,
        "Staff",
        "p00",
        "add: pwdAccountLockedTime\npwdAccountLockedTime: 000001010000Z\n",
    );
    world.succeed().await;
    let disabled = (UserState::Deactivated, Some(StateReason::DisabledInDirectory));
    assert_eq!(world.state("p00").await, disabled);
    becomes_guest(&world, "p00");
    change(&world, "Guests", "p00", "delete: pwdAccountLockedTime\n");
    let early = run_guests(&mut world).await;
    assert_eq!(world.issue_types(&early).await, [IssueType::Overlap]);
    world.succeed().await;
    let left = (UserState::Deactivated, Some(StateReason::OutOfScope));
    assert_eq!(world.state("p00").await, left);
    let taken = run_guests(&mut world).await;
    let transferred = [("p00".to_owned(), ChangeType::Transfer)];
    assert_eq!(world.changes(&taken).await, transferred, "{taken:#?}");
    assert_eq!(world.state("p00").await, (UserState::Active, None));
    assert_eq!(world.users().await["p00"].id, id);
    assert_eq!(owner(&world, "p00").await, "guests");
    assert!(
        !world.users().await.contains_key("stranger"),
        "who is new stays outside"
    );
}

/// Fault 6: an address that somebody else has is left out, and the person is taken over.
#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_of_an_address_stops_no_takeover() {
    let mut world = world().await;
    becomes_guest(&world, "p00");
    change(&world, "Guests", "p00", "replace: mail\nmail: p01@example.org\n");
    world.succeed().await;
    for night in 0..2 {
        let taken = run_guests(&mut world).await;
        let issues = world.issues(&taken).await;
        assert_eq!(issues.len(), 1, "night {night}: {issues:#?}");
        assert_eq!(issues[0].r#type(), IssueType::EmailTaken);
        assert_eq!(
            issues[0].other_user_sync,
            format!("{TENANT}/userSyncs/staff"),
            "the issue says who holds it"
        );
        assert_eq!(owner(&world, "p00").await, "guests");
        assert_eq!(world.state("p00").await, (UserState::Active, None));
    }
    let users = world.users().await;
    assert_eq!(users["p00"].profile.email, None);
    assert_eq!(users["p01"].profile.email.as_deref(), Some("p01@example.org"));
}

/// The directory is asked whether the owner's searches find the person, by a run and by the check before it.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_a_sync_that_ignores_the_missing_does_not_find_is_taken_over_at_once() {
    let mut world = world().await;
    let ignoring = v1::UserSync {
        missing_users: MissingUserPolicy::Ignore.into(),
        ..staff()
    };
    world.update(ignoring, &["missing_users"]).await;
    becomes_guest(&world, "p00");
    let early = run_guests(&mut world).await;
    let types = world.issue_types(&early).await;
    assert_eq!(types, [IssueType::Overlap], "what was edited is a draft");
    world.succeed().await;
    let taken = run_guests(&mut world).await;
    let transferred = [("p00".to_owned(), ChangeType::Transfer)];
    assert_eq!(world.changes(&taken).await, transferred, "{taken:#?}");
    assert_eq!(world.issues(&taken).await, []);
}
