//! What may be concluded from what a directory did not return: next to nothing.

use chrono::{DateTime, TimeDelta, Utc};
use rollcall_core::user::{StateReason, UserState};
use rollcall_proto::v1::{self, ChangeType, IssueType, SearchOutcome, SyncRunState};
use rollcall_runtime::clock::{Clock, ManualClock};
use rollcall_testkit::{Ldif, Slapd};

use crate::company::{staff, sync_of};
use crate::run_world::{BASE, World, dn, people, person, units};

const FILTER: &str = "(objectClass=inetOrgPerson)";

fn crowd(staff: usize) -> Ldif {
    let mut ldif = units();
    people(&mut ldif, "Staff", staff);
    ldif
}

fn delete(world: &World, numbers: std::ops::Range<usize>) {
    for number in numbers {
        world
            .slapd
            .delete(&dn("Staff", &format!("p{number:02}")))
            .unwrap();
    }
}

fn search(base_dn: &str, filter: &str) -> v1::UserSearch {
    v1::UserSearch {
        base_dn: base_dn.into(),
        filter: filter.into(),
        ..Default::default()
    }
}

/// The server's config, changed while it runs.
pub fn reconfigure(world: &World, lines: &str) {
    let change = format!("dn: olcDatabase={{1}}mdb,cn=config\nchangetype: modify\n{lines}");
    world.slapd.modify_as("cn=config", "config", &change).unwrap();
}

pub const CONFIG_DATABASE: &str = "database config\nrootdn cn=config\nrootpw config";

/// Matrix case 51.
#[tokio::test(flavor = "multi_thread")]
async fn results_cut_short_create_and_update_and_remove_nobody() {
    let builder = Slapd::builder()
        .global_config(CONFIG_DATABASE)
        .ldif(crowd(20).as_str());
    let mut world = World::start(builder, staff()).await;
    world.succeed().await;
    delete(&world, 0..2);
    let change = format!(
        "dn: {}\nchangetype: modify\nreplace: mail\nmail: new@example.org\n",
        dn("Staff", "p02")
    );
    world.slapd.modify(&change).unwrap();
    reconfigure(&world, "replace: olcSizeLimit\nolcSizeLimit: 10\n");
    let run = world.apply().await;
    assert_eq!(run.state(), SyncRunState::SucceededWithIssues, "{run:#?}");
    assert_eq!(run.search_outcome(), SearchOutcome::Partial);
    assert_eq!(world.issue_types(&run).await, [IssueType::PullIncomplete]);
    assert_eq!(
        world.changes(&run).await,
        [("p02".to_owned(), ChangeType::Update)]
    );
    assert_eq!(world.active().await, 20);
    reconfigure(&world, "delete: olcSizeLimit\n");
    world.succeed().await;
    assert_eq!(world.active().await, 18);
}

/// Matrix case 57: one of two bases is gone, and people are missing from the other one.
#[tokio::test(flavor = "multi_thread")]
async fn while_one_base_is_gone_nobody_is_removed_from_the_other() {
    let mut ldif = crowd(10);
    person(&mut ldif, "Guests", "guest");
    let mut sync = staff();
    sync.searches.push(search(&format!("ou=Guests,{BASE}"), FILTER));
    let mut world = World::start(Slapd::builder().ldif(ldif.as_str()), sync).await;
    world.succeed().await;
    let rename = format!("dn: ou=Guests,{BASE}\nchangetype: modrdn\nnewrdn: ou=Visitors\ndeleteoldrdn: 1\n");
    world.slapd.modify(&rename).unwrap();
    delete(&world, 0..1);
    let run = world.apply().await;
    assert_eq!(run.state(), SyncRunState::SucceededWithIssues, "{run:#?}");
    assert_eq!(world.issue_types(&run).await, [IssueType::PullIncomplete]);
    assert!(world.changes(&run).await.is_empty());
    assert_eq!(world.active().await, 11);
}

/// Matrix case 57: the only base is gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_base_fails_the_run_and_changes_nothing() {
    let mut world = World::start(Slapd::builder().ldif(crowd(3).as_str()), staff()).await;
    world.succeed().await;
    let rename = format!("dn: ou=Staff,{BASE}\nchangetype: modrdn\nnewrdn: ou=People\ndeleteoldrdn: 1\n");
    world.slapd.modify(&rename).unwrap();
    let run = world.apply().await;
    assert_eq!(run.state(), SyncRunState::Failed, "{run:#?}");
    assert_eq!(world.active().await, 3);
}

/// Matrix cases 56 and 60: the service account sees none of the people any more.
#[tokio::test(flavor = "multi_thread")]
async fn people_that_become_invisible_hold_the_run_until_they_are_back() {
    let builder = Slapd::builder()
        .global_config(CONFIG_DATABASE)
        .ldif(crowd(10).as_str());
    let mut world = World::start(builder, staff()).await;
    world.succeed().await;
    let rule = format!("{{0}}to dn.children=\"ou=Staff,{BASE}\" by * none");
    reconfigure(&world, &format!("add: olcAccess\nolcAccess: {rule}\n"));
    let held = world.apply().await;
    assert_eq!(held.state(), SyncRunState::Held, "{held:#?}");
    assert!(!held.hold_reasons.is_empty());
    assert_eq!(world.active().await, 10);
    let sync = v1::GetUserSyncRequest {
        name: crate::company::STAFF.into(),
    };
    let health = crate::harness::ok(world.clients.user_syncs.get_user_sync(sync))
        .await
        .health;
    assert_eq!(health.unwrap().state(), v1::HealthState::Warning);
    reconfigure(&world, "delete: olcAccess\nolcAccess: {0}\n");
    world.succeed().await;
    assert_eq!(world.active().await, 10);
}

/// Matrix case 56: the service account sees one attribute of nobody any more. An e-mail address that is gone from
/// everybody looks like an accident; a login that is gone is an issue.
#[tokio::test(flavor = "multi_thread")]
async fn an_attribute_that_becomes_invisible_changes_nobody() {
    let builder = Slapd::builder()
        .global_config(CONFIG_DATABASE)
        .ldif(crowd(10).as_str());
    let mut world = World::start(builder, staff()).await;
    world.succeed().await;
    let before = world.users().await;
    for (attribute, state) in [
        ("mail", SyncRunState::Held),
        ("uid", SyncRunState::SucceededWithIssues),
    ] {
        let rule = format!("{{0}}to dn.children=\"ou=Staff,{BASE}\" attrs={attribute} by * none");
        reconfigure(&world, &format!("add: olcAccess\nolcAccess: {rule}\n"));
        let run = world.apply().await;
        assert_eq!(run.state(), state, "{attribute}: {run:#?}");
        assert_eq!(world.users().await, before, "{attribute}");
        reconfigure(&world, "delete: olcAccess\nolcAccess: {0}\n");
    }
    world.succeed().await;
    assert_eq!(world.users().await, before);
}

/// An entry whose id cannot be read is the person who is known by its name, and excuses nobody else.
#[tokio::test(flavor = "multi_thread")]
async fn an_entry_without_its_id_keeps_its_own_person_and_no_leaver() {
    let builder = Slapd::builder()
        .global_config(CONFIG_DATABASE)
        .ldif(crowd(10).as_str());
    let mut world = World::start(builder, staff()).await;
    world.succeed().await;
    let hidden = dn("Staff", "p04");
    let rule = format!("{{0}}to dn.base=\"{hidden}\" attrs=entryUUID by * none");
    reconfigure(&world, &format!("add: olcAccess\nolcAccess: {rule}\n"));
    delete(&world, 7..8);
    let run = world.apply().await;
    assert_eq!(world.issue_types(&run).await, [IssueType::MissingExternalId]);
    assert_eq!(
        world.changes(&run).await,
        [("p07".to_owned(), ChangeType::Deactivate)]
    );
    assert_eq!(world.active().await, 9);
    assert_eq!(world.state("p04").await, (UserState::Active, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_moved_out_is_out_of_scope_and_whoever_was_deleted_is_gone() {
    let mut world = World::start(Slapd::builder().ldif(crowd(20).as_str()), staff()).await;
    world.succeed().await;
    let moved = format!(
        "dn: {}\nchangetype: modrdn\nnewrdn: uid=p00\ndeleteoldrdn: 1\nnewsuperior: ou=Guests,{BASE}\n",
        dn("Staff", "p00")
    );
    world.slapd.modify(&moved).unwrap();
    delete(&world, 1..2);
    world.succeed().await;
    let out = |reason| (UserState::Deactivated, Some(reason));
    assert_eq!(world.state("p00").await, out(StateReason::OutOfScope));
    assert_eq!(world.state("p01").await, out(StateReason::Gone));
    let back = format!(
        "dn: {}\nchangetype: modrdn\nnewrdn: uid=p00\ndeleteoldrdn: 1\nnewsuperior: ou=Staff,{BASE}\n",
        dn("Guests", "p00")
    );
    world.slapd.modify(&back).unwrap();
    let run = world.succeed().await;
    assert_eq!(
        world.changes(&run).await,
        [("p00".to_owned(), ChangeType::Reactivate)]
    );
}

/// Matrix case 59: slapd answers a filter on an unknown attribute with success and nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_slip_in_a_filter_holds_the_run_and_a_person_can_release_it() {
    let mut world = World::start(Slapd::builder().ldif(crowd(10).as_str()), staff()).await;
    world.succeed().await;
    let slip = sync_of(&format!("ou=Staff,{BASE}"), "(sAMAccountName=*)");
    world.update(slip, &["searches"]).await;
    let held = world.apply().await;
    assert_eq!(held.state(), SyncRunState::Held, "{held:#?}");
    assert_eq!(held.counts.unwrap().deactivated, 10);
    assert_eq!(world.active().await, 10);
    let before = world.events().await;
    let released = world.release(&held).await;
    assert_eq!(released.state(), SyncRunState::Succeeded, "{released:#?}");
    assert_eq!(world.active().await, 0);
    assert_eq!(world.events().await, before + 10);
}

/// What somebody looked at and released does not keep all later nights waiting; what went by itself adds up.
#[tokio::test(flavor = "multi_thread")]
async fn removals_that_a_person_released_are_not_held_against_the_next_nights() {
    let mut world = World::start(Slapd::builder().ldif(crowd(30).as_str()), staff()).await;
    world.succeed().await;
    let leave = |world: &World, numbers: std::ops::Range<usize>| {
        for number in numbers {
            world
                .slapd
                .delete(&dn("Staff", &format!("p{number:02}")))
                .unwrap();
        }
    };
    leave(&world, 0..10);
    let held = world.apply().await;
    assert_eq!(held.state(), SyncRunState::Held, "{held:#?}");
    assert_eq!(world.release(&held).await.state(), SyncRunState::Succeeded);
    for number in 10..15 {
        leave(&world, number..number + 1);
        world.succeed().await;
    }
    // Five in a week are the limit.
    leave(&world, 15..16);
    assert_eq!(world.apply().await.state(), SyncRunState::Held);
    assert_eq!(world.active().await, 15);
}

/// A removal far below the limit, but by a filter that was just changed.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_run_after_a_change_of_scope_is_held_even_after_a_cut_one() {
    let builder = Slapd::builder()
        .global_config(CONFIG_DATABASE)
        .ldif(crowd(20).as_str());
    let mut world = World::start(builder, staff()).await;
    world.succeed().await;
    let narrower = sync_of(&format!("ou=Staff,{BASE}"), &format!("(&{FILTER}(!(uid=p00)))"));
    world.update(narrower, &["searches"]).await;
    // A run that saw only a part says nothing about the rest.
    reconfigure(&world, "replace: olcSizeLimit\nolcSizeLimit: 10\n");
    assert_eq!(world.apply().await.state(), SyncRunState::SucceededWithIssues);
    reconfigure(&world, "delete: olcSizeLimit\n");
    let held = world.apply().await;
    assert_eq!(held.state(), SyncRunState::Held, "{held:#?}");
    let released = world.release(&held).await;
    assert_eq!(released.state(), SyncRunState::Succeeded, "{released:#?}");
    assert_eq!(world.active().await, 19);
    delete(&world, 1..2);
    world.succeed().await;
    assert_eq!(world.active().await, 18);
}

/// Matrix case 60: small losses add up over a week, and are forgotten after it.
#[tokio::test(flavor = "multi_thread")]
async fn removals_of_a_week_count_together() {
    let start: DateTime<Utc> = "2026-03-01T12:00:00Z".parse().unwrap();
    let clock = ManualClock::new(start);
    let builder = Slapd::builder().ldif(crowd(30).as_str());
    let mut world = World::start_at(builder, staff(), Clock::Manual(clock.clone())).await;
    world.succeed().await;
    for (day, gone) in [(1, 0..3), (2, 3..5)] {
        clock.set(start + TimeDelta::days(day));
        delete(&world, gone);
        world.succeed().await;
    }
    assert_eq!(world.active().await, 25);
    clock.set(start + TimeDelta::days(3));
    delete(&world, 5..6);
    let held = world.apply().await;
    assert_eq!(held.state(), SyncRunState::Held, "{held:#?}");
    assert_eq!(held.counts.unwrap().deactivated, 1);
    assert_eq!(world.active().await, 25);
    clock.set(start + TimeDelta::days(9));
    world.succeed().await;
    assert_eq!(world.active().await, 24);
}
