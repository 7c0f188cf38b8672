//! Who was erased, as runs and checks meet them again; and what a run tells about who asked for it.

use chrono::{DateTime, TimeDelta, Utc};
use rollcall_core::audit::Actor;
use rollcall_core::error::Reason;
use rollcall_core::event::EventType;
use rollcall_core::user::StateReason;
use rollcall_proto::v1::role_rule::Condition;
use rollcall_proto::v1::{self, SyncRunMode, SyncRunState};
use rollcall_runtime::clock::{Clock, ManualClock};
use rollcall_store::{EraseUser, NewAuditEvent};
use rollcall_testkit::Slapd;
use tonic::Request;
use tonic::metadata::MetadataValue;

use crate::company::{STAFF, TENANT, staff};
use crate::harness::{fails, ok};
use crate::run_world::{World, dn, people, tenant, units};
use crate::runs::{rest, run, run_to_rest};

async fn erase(world: &World, login: &str, exclude: bool) {
    let user = world.users().await[login].id;
    let tenant = tenant();
    let erase = EraseUser {
        tenant: &tenant,
        user,
        expected_revision: None,
        exclude,
        left_before: None,
    };
    let record = NewAuditEvent::by_nobody(DateTime::<Utc>::UNIX_EPOCH);
    world.store.erase_user(erase, &record).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_excluded_person_is_not_taken_again_and_everybody_else_is_somebody_new() {
    let mut ldif = units();
    people(&mut ldif, "Staff", 3);
    let mut world = World::start(Slapd::builder().ldif(ldif.as_str()), staff()).await;
    world.succeed().await;
    let before = world.users().await;
    erase(&world, "p01", true).await;
    erase(&world, "p02", false).await;
    let preview = run_to_rest(&mut world.clients, SyncRunMode::Preview).await;
    let counts = preview.counts.unwrap();
    assert_eq!(
        (counts.entries, counts.created, counts.ignored),
        (3, 1, 1),
        "{preview:#?}"
    );
    let run = world.succeed().await;
    let counts = run.counts.unwrap();
    assert_eq!(
        (counts.created, counts.ignored, counts.issues),
        (1, 1, 0),
        "{run:#?}"
    );
    let after = world.users().await;
    assert_eq!(after.keys().collect::<Vec<_>>(), ["p00", "p02"]);
    assert_eq!(after["p00"].id, before["p00"].id);
    assert_ne!(after["p02"].id, before["p02"].id, "who returns is somebody new");

    let checked = ok(world
        .clients
        .user_syncs
        .check_user_sync(v1::CheckUserSyncRequest {
            parent: TENANT.into(),
            target: Some(v1::check_user_sync_request::Target::UserSync(STAFF.into())),
            sample_size: 0,
        }))
    .await;
    let told = format!("{checked:?}");
    assert!(told.contains("exclusion list"), "{told}");
    // Nor is anybody refreshed into being.
    let name = |login: &str| format!("{TENANT}/users/{}", before[login].id);
    for login in ["p01", "p02"] {
        let request = v1::RefreshUserRequest { name: name(login) };
        fails(
            Reason::UserNotFound,
            world.clients.user_syncs.refresh_user(request),
        )
        .await;
    }
    assert_eq!(world.users().await.len(), 2);
    // A plan from before the exclusion is of no use either.
    erase(&world, "p02", false).await;
    let preview = run_to_rest(&mut world.clients, SyncRunMode::Preview).await;
    assert_eq!(preview.counts.unwrap().created, 1);
    let excluded = world
        .store
        .exclusions(&tenant(), &before["p01"].origin.as_ref().unwrap().directory)
        .await;
    let (p01, p02) = (&before["p01"].origin, &before["p02"].origin);
    let id = |origin: &Option<rollcall_core::user::Origin>| origin.as_ref().unwrap().external_id.clone();
    let excluded = excluded.unwrap();
    assert!(excluded.has(&id(p01)) && !excluded.has(&id(p02)));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_left_is_erased_after_the_time_that_the_user_sync_sets() {
    let start: DateTime<Utc> = "2026-03-01T12:00:00Z".parse().unwrap();
    let clock = ManualClock::new(start);
    let mut ldif = units();
    people(&mut ldif, "Staff", 12);
    let sync = v1::UserSync {
        missing_users: v1::MissingUserPolicy::Deactivate.into(),
        erase_after: Some(prost_types::Duration {
            seconds: 30 * 86_400,
            nanos: 0,
        }),
        ..staff()
    };
    let builder = Slapd::builder().ldif(ldif.as_str());
    let mut world = World::start_at(builder, sync, Clock::Manual(clock.clone())).await;
    world.succeed().await;
    world
        .slapd
        .modify(&format!("dn: {}\nchangetype: delete\n", dn("Staff", "p01")))
        .unwrap();
    world.succeed().await;
    let left = world.users().await["p01"].clone();
    assert_eq!(left.state_reason, Some(StateReason::Gone));
    world.worker.clean_up().await;
    assert!(
        world.store.user(&tenant(), left.id).await.is_ok(),
        "it is too early"
    );
    clock.set(start + TimeDelta::days(31));
    world.worker.clean_up().await;
    assert!(world.store.user(&tenant(), left.id).await.is_err());
    // Earlier events are too old by now.
    let start = world.store.feed_start(Some(&tenant())).await.unwrap();
    let events = world
        .store
        .list_events(Some(&tenant()), start, 1000)
        .await
        .unwrap();
    let told: Vec<_> = events
        .iter()
        .filter(|event| event.user == left.id && event.is_told())
        .collect();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].event_type, EventType::Erased);
    assert_eq!(told[0].asked_by.as_ref().unwrap().actor, Actor::default());
    assert_eq!(world.users().await.len(), 11);
}

fn acting<T>(message: T, actor: &str, reason: &str) -> Request<T> {
    let mut request = Request::new(message);
    for (key, value) in [("rollcall-actor", actor), ("rollcall-reason", reason)] {
        let value = MetadataValue::try_from(value).unwrap();
        request.metadata_mut().insert(key, value);
    }
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_tells_who_asked_who_released_it_and_which_configuration_it_ran_with() {
    let mut ldif = units();
    people(&mut ldif, "Staff", 4);
    let mut world = World::start(Slapd::builder().ldif(ldif.as_str()), staff()).await;
    world.succeed().await;
    let rule = v1::RoleRule {
        condition: Some(Condition::Filter("(uid=*)".into())),
        role: "boss".into(),
    };
    let ruled = v1::UserSync {
        role_rules: vec![rule.clone()],
        ..staff()
    };
    world.update(ruled, &["role_rules"]).await;
    let asked = acting(run(SyncRunMode::Apply), "zoe@example.com", "");
    let started = ok(world.clients.user_syncs.run_user_sync(asked)).await;
    let held = rest(&mut world.clients, &started.name).await;
    assert_eq!(held.state(), SyncRunState::Held, "{held:#?}");
    assert_eq!((held.release, held.cancellation), (None, None));
    let release = v1::ApplySyncRunRequest {
        name: held.name.clone(),
    };
    let release = acting(release, "max@example.com", "ticket 7");
    ok(world.clients.runs.apply_sync_run(release)).await;
    rest(&mut world.clients, &held.name).await;
    world.update(staff(), &["role_rules"]).await;

    let request = v1::GetSyncRunRequest { name: held.name };
    let kept = ok(world.clients.runs.get_sync_run(request)).await;
    assert_eq!(kept.actor.unwrap().name, "zoe@example.com");
    let release = kept.release.unwrap();
    let actor = release.actor.unwrap();
    assert_eq!(
        (actor.name.as_str(), actor.reason.as_str()),
        ("max@example.com", "ticket 7")
    );
    assert!(!release.caller.is_empty() && release.decide_time.is_some());
    assert!(!kept.hold_reasons.is_empty(), "what was held is kept");
    let configuration = kept.configuration.unwrap();
    assert_eq!(
        (configuration.name, configuration.role_rules),
        (STAFF.to_owned(), vec![rule])
    );
    let now = v1::GetUserSyncRequest { name: STAFF.into() };
    let now = ok(world.clients.user_syncs.get_user_sync(now)).await;
    assert_eq!(now.role_rules, []);
    assert_ne!(now.etag, configuration.etag);
    let listed = v1::ListSyncRunsRequest {
        parent: STAFF.into(),
        ..Default::default()
    };
    let listed = ok(world.clients.runs.list_sync_runs(listed)).await.sync_runs;
    assert!(listed.iter().all(|run| run.configuration.is_none()));

    let asked = acting(run(SyncRunMode::Preview), "zoe@example.com", "");
    let started = ok(world.clients.user_syncs.run_user_sync(asked)).await;
    rest(&mut world.clients, &started.name).await;
    let cancel = v1::CancelSyncRunRequest {
        name: started.name.clone(),
    };
    let cancelled = ok(world
        .clients
        .runs
        .cancel_sync_run(acting(cancel, "max@example.com", "")))
    .await;
    assert_eq!(cancelled.state(), SyncRunState::Cancelled);
    assert_eq!(
        cancelled.cancellation.unwrap().actor.unwrap().name,
        "max@example.com"
    );
}
