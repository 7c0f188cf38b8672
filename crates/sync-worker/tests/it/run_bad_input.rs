//! Directories, and a clock, that are not what anybody expects.

use chrono::{DateTime, TimeDelta, Utc};
use rollcall_core::user::UserState;
use rollcall_proto::v1::{self, IssueType, SyncRunState};
use rollcall_runtime::clock::{Clock, ManualClock};
use rollcall_testkit::{Ldif, Slapd};

use crate::company::staff;
use crate::run_world::{World, dn, people, person, units};

async fn crowd(count: usize) -> World {
    let mut ldif = units();
    people(&mut ldif, "Staff", count);
    World::start(Slapd::builder().ldif(ldif.as_str()), staff()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_directory_is_no_mistake_as_long_as_it_was_never_full() {
    let mut world = crowd(0).await;
    for _ in 0..2 {
        let run = world.succeed().await;
        assert_eq!(run.counts.unwrap().entries, 0);
    }
    assert!(world.users().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_ten_times_larger_than_yesterday_waits_and_nobody_of_yesterday_changes() {
    let mut world = crowd(12).await;
    world.succeed().await;
    let yesterday = world.users().await;
    let mut more = Ldif::new();
    for number in 12..120 {
        person(&mut more, "Staff", &format!("p{number:02}"));
    }
    world.slapd.add(more.as_str()).unwrap();
    let held = world.apply().await;
    assert_eq!(held.state(), SyncRunState::Held, "{held:#?}");
    assert_eq!(held.hold_reasons[0].rule(), v1::HoldRule::Growth);
    assert_eq!(world.users().await, yesterday);
    let counts = world.release(&held).await.counts.unwrap();
    assert_eq!((counts.created, counts.unchanged, counts.updated), (108, 12, 0));
    let today = world.users().await;
    assert_eq!(today.len(), 120);
    assert!(yesterday.iter().all(|(login, user)| today[login] == *user));
}

/// Whoever is in the directory is not gone, even if nothing can be read of them.
#[tokio::test(flavor = "multi_thread")]
async fn entries_without_any_mapped_attribute_are_issues_and_their_users_stay() {
    let mut ldif = units();
    people(&mut ldif, "Staff", 12);
    let mut sync = staff();
    let mappings = v1::FieldMappings {
        login: vec!["employeeNumber".into()],
        email: vec!["mail".into()],
        ..v1::FieldMappings::default()
    };
    sync.field_mappings = Some(mappings);
    let mut world = World::start(Slapd::builder().ldif(ldif.as_str()), sync).await;
    let run = world.apply().await;
    assert_eq!(run.state(), SyncRunState::SucceededWithIssues, "{run:#?}");
    assert_eq!(
        world.issue_types(&run).await,
        [IssueType::MissingRequiredField; 12]
    );
    assert!(world.users().await.is_empty());

    let set = |uid: &str, change: &str| format!("dn: {}\nchangetype: modify\n{change}\n", dn("Staff", uid));
    for uid in ["p00", "p01"] {
        let number = format!("add: employeeNumber\nemployeeNumber: number-{uid}");
        world.slapd.modify(&set(uid, &number)).unwrap();
    }
    world.apply().await;
    let before = world.users().await;
    assert_eq!(before.len(), 2);
    world
        .slapd
        .modify(&set("p00", "delete: employeeNumber\n-\ndelete: mail"))
        .unwrap();
    let run = world.apply().await;
    assert_eq!(
        world.issue_types(&run).await,
        [IssueType::MissingRequiredField; 11]
    );
    // Nobody is without a login; an e-mail address that the entry does not offer is not kept from others.
    let users = world.users().await;
    assert_eq!(users["number-p01"], before["number-p01"]);
    let p00 = &users["number-p00"];
    assert_eq!((p00.id, p00.state), (before["number-p00"].id, UserState::Active));
    assert_eq!(p00.profile.email, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_of_a_megabyte_costs_its_own_entry_at_most() {
    let mut ldif = units();
    let huge = "x".repeat(1 << 20);
    people(&mut ldif, "Staff", 3);
    // One in a field that nobody asks for, one in each that is mapped.
    person(&mut ldif, "Staff", "unasked").attribute("description", &huge);
    person(&mut ldif, "Staff", "named").attribute("cn", &huge);
    person(&mut ldif, "Staff", "mailed").attribute("mail", format!("{huge}@example.org"));
    person(&mut ldif, "Staff", "called").attribute("uid", &huge);
    let mut world = World::start(Slapd::builder().ldif(ldif.as_str()), staff()).await;
    let first = world.apply().await;
    assert!(first.end_time.is_some(), "{first:#?}");
    let users = world.users().await;
    for login in ["p00", "p01", "p02", "unasked"] {
        assert!(users.contains_key(login), "{login} of {:?}", users.keys());
    }
    let longest = users.values().map(|user| format!("{user:?}").len()).max();
    assert!(longest.is_some_and(|length| length < 10_000), "{longest:?}");
    let again = world.apply().await;
    assert_eq!(
        (again.state(), world.users().await),
        (first.state(), users),
        "{again:#?}"
    );
    assert!(world.changes(&again).await.is_empty());
}

/// Matrix case 64: a clock that is a decade ahead for a while, and one that falls back.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_removes_nobody_and_stops_no_run() {
    let start: DateTime<Utc> = "2026-03-01T12:00:00Z".parse().unwrap();
    let clock = ManualClock::new(start);
    let mut ldif = units();
    people(&mut ldif, "Staff", 10);
    let builder = Slapd::builder().ldif(ldif.as_str());
    let mut world = World::start_at(builder, staff(), Clock::Manual(clock.clone())).await;
    world.succeed().await;
    let before = world.users().await;
    for jump in [TimeDelta::days(3650), TimeDelta::days(-3650), TimeDelta::zero()] {
        clock.set(start + jump);
        let run = world.succeed().await;
        assert_eq!(run.counts.unwrap().unchanged, 10, "{jump}");
        assert_eq!(world.users().await, before, "{jump}");
    }
    // Work goes on as well.
    clock.set(start - TimeDelta::days(1));
    world.slapd.delete(&dn("Staff", "p03")).unwrap();
    world.succeed().await;
    assert_eq!(world.active().await, 9);
}
