//! What the guard holds, what a hold lets through, and what happens at logins while a plan waits.

use std::fmt::Write;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rollcall_core::error::Reason;
use rollcall_core::field::TextField;
use rollcall_core::id::{RunId, UserSyncId, UserSyncKey};
use rollcall_core::user::{StateReason, UserState};
use rollcall_proto::v1::check_user_sync_request::Target;
use rollcall_proto::v1::role_rule::Condition;
use rollcall_proto::v1::{
    self, ChangeType, CheckOutcome, HealthState, HoldRule, IssueType, RefreshOutcome, SyncRunMode,
    SyncRunState,
};
use rollcall_runtime::clock::{Clock, ManualClock};
use rollcall_store::{LeaseName, NewAuditEvent, RunHandle};
use rollcall_testkit::{Ldif, Slapd, wait_for};

use crate::company::{STAFF, TENANT, create_sync, staff, sync_of};
use crate::harness::{fails, ok};
use crate::run_world::{BASE, World, dn, people, person, staff_key, tenant, units};
use crate::runs::{rest, run as run_of, run_to_rest};

const DISABLE: &str = "add: pwdAccountLockedTime\npwdAccountLockedTime: 000001010000Z\n";

fn crowd(staff: usize) -> Ldif {
    let mut ldif = units();
    people(&mut ldif, "Staff", staff);
    ldif
}

fn uid(number: usize) -> String {
    format!("p{number:02}")
}

/// Makes the same change to each of these people.
fn change(world: &World, numbers: impl IntoIterator<Item = usize>, lines: impl Fn(usize) -> String) {
    let mut ldif = String::new();
    for number in numbers {
        let dn = dn("Staff", &uid(number));
        write!(ldif, "dn: {dn}\nchangetype: modify\n{}\n", lines(number)).unwrap();
    }
    world.slapd.modify(&ldif).unwrap();
}

/// A sync that takes the telephone number too, and gives the role `boss` by employeeType.
fn ruled() -> v1::UserSync {
    let mut sync = staff();
    let mappings = sync.field_mappings.as_mut().unwrap();
    mappings.phone_number = vec!["telephoneNumber".into()];
    sync.role_rules = vec![by_filter("(employeeType=boss)", "boss")];
    sync
}

fn by_filter(filter: &str, role: &str) -> v1::RoleRule {
    v1::RoleRule {
        condition: Some(Condition::Filter(filter.into())),
        role: role.into(),
    }
}

fn held_by(run: &v1::SyncRun) -> Vec<HoldRule> {
    assert_eq!(run.state(), SyncRunState::Held, "{run:#?}");
    run.hold_reasons.iter().map(v1::HoldReason::rule).collect()
}

/// Fault 9: five changes each night would pass for ever.
#[tokio::test(flavor = "multi_thread")]
async fn changes_of_one_kind_add_up_over_a_week_and_refreshes_count() {
    let start: DateTime<Utc> = "2026-03-01T12:00:00Z".parse().unwrap();
    let clock = ManualClock::new(start);
    let builder = Slapd::builder().ldif(crowd(20).as_str());
    let mut world = World::start_at(builder, staff(), Clock::Manual(clock.clone())).await;
    world.succeed().await;
    let rename = |world: &World, numbers: std::ops::Range<usize>| {
        let lines = |number| format!("replace: mail\nmail: new{number}@example.org\n");
        change(world, numbers, lines);
    };
    clock.set(start + TimeDelta::days(1));
    rename(&world, 0..3);
    world.succeed().await;
    clock.set(start + TimeDelta::days(2));
    rename(&world, 3..5);
    for number in 3..5 {
        let refreshed = world.refresh(&uid(number)).await;
        assert_eq!(refreshed.outcome(), RefreshOutcome::Updated);
    }
    clock.set(start + TimeDelta::days(3));
    rename(&world, 5..6);
    let held = world.apply().await;
    assert_eq!(held_by(&held), [HoldRule::EmailChanges]);
    assert!(
        held.hold_reasons[0]
            .message
            .contains("after 5 in the last 7 days"),
        "{held:#?}"
    );
    clock.set(start + TimeDelta::days(9));
    world.succeed().await;
}

/// Fault 9: an ACL hides one mapped attribute.
#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_everybody_would_lose_is_held_by_its_name() {
    let mut ldif = units();
    for number in 0..20 {
        person(&mut ldif, "Staff", &uid(number)).attribute("telephoneNumber", "+32 1");
    }
    let mut world = World::start(Slapd::builder().ldif(ldif.as_str()), ruled()).await;
    world.succeed().await;
    change(&world, 0..6, |_| "delete: telephoneNumber\n".into());
    let held = world.apply().await;
    assert_eq!(held_by(&held), [HoldRule::LostField]);
    assert_eq!(held.hold_reasons[0].field, "phone_number");
    assert_eq!(
        world.users().await["p00"].profile.text(TextField::PhoneNumber),
        Some("+32 1")
    );
    // A login does not carry out what the hold is about.
    let refreshed = world.refresh("p00").await;
    assert_eq!(refreshed.outcome(), RefreshOutcome::Rejected);
    assert_eq!(refreshed.issues[0].r#type(), IssueType::Held);
    assert_eq!(
        world.users().await["p00"].profile.text(TextField::PhoneNumber),
        Some("+32 1")
    );
}

/// Fault 9: names that the server answers under others fill the fields as before; where its schema is hidden, so that nobody
/// can tell, the check refuses them by name, and the run waits.
#[tokio::test(flavor = "multi_thread")]
async fn a_mapping_edited_to_other_names_of_its_attributes_empties_nothing() {
    let fields = [
        (TextField::DisplayName, "cn", "commonName"),
        (TextField::GivenName, "givenName", "gn"),
        (TextField::FamilyName, "sn", "surname"),
    ];
    let mapped = |other: bool| {
        let mut sync = staff();
        let mappings = sync.field_mappings.as_mut().unwrap();
        let [display, given, family] =
            fields.map(|(_, name, same)| vec![if other { same } else { name }.to_owned()]);
        (mappings.display_name, mappings.given_name, mappings.family_name) = (display, given, family);
        sync
    };
    let mut ldif = units();
    for number in 0..20 {
        person(&mut ldif, "Staff", &uid(number)).attribute("givenName", "Ada");
    }
    let hidden = "access to dn.base=\"cn=Subschema\" by * none";
    for schema in ["", hidden] {
        let builder = Slapd::builder().ldif(ldif.as_str()).global_config(schema);
        let mut world = World::start(builder, mapped(false)).await;
        world.succeed().await;
        let before = world.users().await;
        assert!(before.values().all(|user| {
            let filled = |(field, ..): (TextField, &str, &str)| user.profile.text(field).is_some();
            fields.into_iter().all(filled)
        }));
        let events = world.events().await;
        world.update(mapped(true), &["field_mappings"]).await;
        let request = v1::CheckUserSyncRequest {
            parent: TENANT.into(),
            target: Some(Target::UserSync(STAFF.into())),
            sample_size: 0,
        };
        let checked = ok(world.clients.user_syncs.check_user_sync(request)).await;
        let report = checked.report.unwrap();
        let mut refused: Vec<&str> = report
            .stages
            .iter()
            .filter(|stage| stage.outcome() == CheckOutcome::Fail)
            .map(|stage| stage.subject.as_str())
            .collect();
        refused.sort_unstable();
        let run = world.apply().await;
        if schema.is_empty() {
            assert_eq!(refused, Vec::<&str>::new());
            assert_eq!(run.state(), SyncRunState::Succeeded, "{run:#?}");
        } else {
            assert_eq!(refused, ["commonName", "gn", "surname"]);
            assert_eq!(held_by(&run), [HoldRule::LostField; 3]);
            let refreshed = world.refresh("p00").await;
            assert_eq!(refreshed.outcome(), RefreshOutcome::Unchanged);
        }
        assert_eq!(world.events().await, events);
        assert_eq!(world.users().await, before);
    }
}

/// Whoever releases a hold and stops the run on its way has decided: nothing waits any more, and the next run holds anew.
#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_is_cancelled_while_it_is_applied_waits_for_nobody() {
    let mut world = World::start(Slapd::builder().ldif(crowd(20).as_str()), staff()).await;
    world.succeed().await;
    for number in 0..11 {
        world.slapd.delete(&dn("Staff", &uid(number))).unwrap();
    }
    let held = world.apply().await;
    assert_eq!(held_by(&held), [HoldRule::Removals, HoldRule::MostUsers]);
    let waits = |health: &v1::UserSyncHealth| {
        let mut problems = health.problems.iter();
        problems.any(|problem| problem.message.contains("held"))
    };
    assert!(waits(&world.health().await));
    // A worker that dies when it has begun to apply.
    let name = LeaseName::run_of(&staff_key());
    let ttl = Duration::from_secs(600);
    let mut lease = None;
    wait_for("the worker has let go", Duration::from_secs(20), async || {
        lease = world.store.acquire_lease(&name, "the dead", ttl).await.unwrap();
        lease.is_some()
    })
    .await
    .unwrap();
    let run = RunHandle {
        lease: lease.unwrap(),
        key: staff_key(),
        id: RunId::parse(held.name.rsplit('/').next().unwrap()).unwrap(),
    };
    let record = NewAuditEvent::by_nobody(Utc::now());
    world.store.begin_apply(&run, &record).await.unwrap();
    let cancel = v1::CancelSyncRunRequest {
        name: held.name.clone(),
    };
    ok(world.clients.runs.cancel_sync_run(cancel)).await;
    world.store.release_lease(&run.lease).await.unwrap();
    let new = world.clients.user_syncs.run_user_sync(run_of(SyncRunMode::Apply));
    fails(Reason::SyncInProgress, new).await;
    let ended = rest(&mut world.clients, &held.name).await;
    assert_eq!(ended.state(), SyncRunState::Cancelled, "{ended:#?}");
    let health = world.health().await;
    assert_eq!((health.state(), health.problems), (HealthState::Ok, vec![]));
    assert_eq!(world.active().await, 20);
    let again = world.apply().await;
    assert_eq!(held_by(&again), [HoldRule::Removals, HoldRule::MostUsers]);
}

/// Fault 10: second accounts with a colleague's address are issues every night, and no changes.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_asked_and_refused_holds_nothing() {
    let mut ldif = units();
    for number in 0..20 {
        let uid = uid(number);
        ldif.entry(&dn("Staff", &uid))
            .attribute("objectClass", "inetOrgPerson")
            .attribute("uid", &uid)
            .attribute("cn", &uid)
            .attribute("sn", &uid);
        if number >= 6 {
            ldif.attribute("mail", format!("{uid}@example.org"));
        }
    }
    let mut world = World::start(Slapd::builder().ldif(ldif.as_str()), staff()).await;
    world.succeed().await;
    change(&world, 0..6, |number| {
        format!("add: mail\nmail: p{:02}@example.org\n", number + 10)
    });
    world.slapd.delete(&dn("Staff", "p19")).unwrap();
    for _ in 0..2 {
        let run = world.apply().await;
        assert_eq!(run.state(), SyncRunState::SucceededWithIssues, "{run:#?}");
    }
    assert_eq!(world.state("p19").await.0, UserState::Deactivated);
}

/// Fault 11: 12 people one day, 200 the next.
#[tokio::test(flavor = "multi_thread")]
async fn growth_beyond_the_limit_waits_and_a_limit_of_ones_own_counts() {
    let mut world = World::start(Slapd::builder().ldif(crowd(12).as_str()), staff()).await;
    world.succeed().await;
    let add = |world: &World, numbers: std::ops::Range<usize>| {
        let mut more = Ldif::new();
        for number in numbers {
            person(&mut more, "Staff", &uid(number));
        }
        world.slapd.add(more.as_str()).unwrap();
    };
    let limited = v1::UserSync {
        growth_limit: Some(v1::GrowthLimit {
            max_count: Some(5),
            max_percent: Some(10),
        }),
        ..staff()
    };
    world.update(limited, &["growth_limit"]).await;
    add(&world, 12..17);
    world.succeed().await;
    add(&world, 17..18);
    assert_eq!(held_by(&world.apply().await), [HoldRule::Growth]);
    assert_eq!(world.users().await.len(), 17);
    world.update(staff(), &["growth_limit"]).await;
    world.succeed().await;
    assert_eq!(world.users().await.len(), 18);
}

/// Fault 11: nobody knows how many there are.
#[tokio::test(flavor = "multi_thread")]
async fn a_first_import_that_is_cut_short_takes_a_hundred_a_run() {
    let mut ldif = crowd(0);
    for number in 0..260 {
        person(&mut ldif, "Staff", &format!("n{number:03}"));
    }
    let mut world = World::start(Slapd::builder().ldif(ldif.as_str()), staff()).await;
    // One of two bases does not exist.
    let mut gone = sync_of(&format!("ou=Nowhere,{BASE}"), "(objectClass=inetOrgPerson)").searches;
    gone.extend(staff().searches);
    let cut = v1::UserSync {
        searches: gone,
        ..staff()
    };
    world.update(cut, &["searches"]).await;
    for (night, created) in [(1, 100), (2, 100), (3, 60)] {
        let run = world.apply().await;
        assert_eq!(run.search_outcome(), v1::SearchOutcome::Partial, "{run:#?}");
        assert_eq!(run.counts.unwrap().created, created, "night {night}");
        let waiting = world
            .issues(&run)
            .await
            .into_iter()
            .filter(|issue| issue.message.contains("not created in this run"));
        assert_eq!(waiting.count(), usize::from(night < 3));
    }
    assert_eq!(world.users().await.len(), 260);
}

/// Fault 21: who was disabled on the night when something else went wrong.
#[tokio::test(flavor = "multi_thread")]
async fn a_hold_keeps_no_leaver() {
    let builder = Slapd::builder().ppolicy().ldif(crowd(20).as_str());
    let mut world = World::start(builder, staff()).await;
    world.succeed().await;
    let before = world.users().await;
    // Disabled and renamed in one, as people are who leave; gone; and six others with new addresses.
    change(&world, [0], |_| DISABLE.into());
    change(&world, [0], |_| "replace: mail\nmail: zz@example.org\n".into());
    world.slapd.delete(&dn("Staff", "p01")).unwrap();
    change(&world, 2..8, |number| {
        format!("replace: mail\nmail: new{number}@example.org\n")
    });
    let events = world.events().await;
    let held = world.apply().await;
    assert_eq!(held_by(&held), [HoldRule::EmailChanges]);
    let counts = held.counts.unwrap();
    assert_eq!((counts.deactivated, counts.updated, counts.applied), (2, 7, 2));
    let gone = |reason| (UserState::Deactivated, Some(reason));
    assert_eq!(world.state("p00").await, gone(StateReason::DisabledInDirectory));
    assert_eq!(world.state("p01").await, gone(StateReason::Gone));
    assert_eq!(world.events().await, events + 2);
    let users = world.users().await;
    for number in (0..20).map(uid) {
        assert_eq!(users[&number].profile, before[&number].profile, "{number}");
    }
    let released = world.release(&held).await;
    assert_eq!(released.state(), SyncRunState::Succeeded, "{released:#?}");
    assert_eq!(released.counts.unwrap().applied, 9);
    assert_eq!(world.events().await, events + 9);
    assert_eq!(
        world.users().await["p00"].profile.email.as_deref(),
        Some("zz@example.org")
    );
    let again = world.succeed().await;
    assert!(world.changes(&again).await.is_empty(), "{again:#?}");
}

/// Removals that are themselves too many wait with the rest; and those by a changed filter in any case.
#[tokio::test(flavor = "multi_thread")]
async fn leavers_wait_where_the_hold_is_about_them() {
    let builder = Slapd::builder().ppolicy().ldif(crowd(20).as_str());
    let mut world = World::start(builder, staff()).await;
    world.succeed().await;
    let narrower = sync_of(
        &format!("ou=Staff,{BASE}"),
        "(&(objectClass=inetOrgPerson)(!(uid=p00)))",
    );
    world.update(narrower, &["searches"]).await;
    change(&world, [1], |_| DISABLE.into());
    let held = world.apply().await;
    assert_eq!(held_by(&held), [HoldRule::ConfigurationChanged]);
    assert_eq!(world.state("p00").await, (UserState::Active, None));
    assert_eq!(
        world.state("p01").await.0,
        UserState::Deactivated,
        "the entry says so itself"
    );
    assert_eq!(world.release(&held).await.state(), SyncRunState::Succeeded);
    assert_eq!(
        world.state("p00").await,
        (UserState::Deactivated, Some(StateReason::OutOfScope))
    );
    change(&world, 2..8, |_| DISABLE.into());
    assert_eq!(held_by(&world.apply().await), [HoldRule::Removals]);
    assert_eq!(world.active().await, 18);
}

/// Fault 21: at short schedules the next run comes before anybody has read the plan.
#[tokio::test(flavor = "multi_thread")]
async fn a_superseded_hold_releases_the_newest_plan_if_it_showed_all_of_it() {
    let mut world = World::start(Slapd::builder().ldif(crowd(20).as_str()), staff()).await;
    world.succeed().await;
    let rename = |world: &World, numbers: std::ops::Range<usize>, to: &str| {
        change(world, numbers, |number| {
            format!("replace: mail\nmail: {to}{number}@example.org\n")
        });
    };
    rename(&world, 0..7, "new");
    let mut more = Ldif::new();
    person(&mut more, "Staff", "p20");
    world.slapd.add(more.as_str()).unwrap();
    let shown = world.apply().await;
    assert_eq!(held_by(&shown), [HoldRule::EmailChanges]);
    // Somebody is as before: less is to be done than was shown.
    change(&world, [6], |_| "replace: mail\nmail: p06@example.org\n".into());
    let newest = world.apply().await;
    assert_eq!(held_by(&newest), [HoldRule::EmailChanges]);
    let applied = world.release_any(&shown).await;
    assert_eq!(applied.name, newest.name);
    assert_eq!(applied.state(), SyncRunState::Succeeded, "{applied:#?}");
    assert_eq!(applied.counts.unwrap().applied, 7);
    let repeated = world.release_any(&shown).await;
    assert_eq!(repeated.name, newest.name, "once");

    rename(&world, 0..7, "newer");
    let shown = world.apply().await;
    rename(&world, 7..8, "newer");
    let newest = world.apply().await;
    assert_eq!(held_by(&newest), [HoldRule::EmailChanges]);
    let request = v1::ApplySyncRunRequest {
        name: shown.name.clone(),
    };
    fails(Reason::RunNotInState, world.clients.runs.apply_sync_run(request)).await;
    assert_eq!(
        rest(&mut world.clients, &newest.name).await.state(),
        SyncRunState::Held
    );
}

/// Fault 4: the rules are edited so that everybody is an owner.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_goes_by_the_configuration_in_force() {
    let mut ldif = crowd(10);
    person(&mut ldif, "Staff", "ada").attribute("employeeType", "boss");
    let mut world = World::start(Slapd::builder().ldif(ldif.as_str()), ruled()).await;
    world.succeed().await;
    let all = v1::UserSync {
        role_rules: vec![by_filter("(objectClass=*)", "owner")],
        ..ruled()
    };
    world.update(all, &["role_rules"]).await;
    assert_eq!(
        world.refresh("p00").await.outcome(),
        RefreshOutcome::Unchanged,
        "a draft"
    );
    let held = world.apply().await;
    let rules = held_by(&held);
    assert!(rules.contains(&HoldRule::ConfigurationChanged), "{held:#?}");
    assert_eq!(world.refresh("p00").await.outcome(), RefreshOutcome::Unchanged);
    // What the rules in force take away is taken away.
    world
        .slapd
        .modify(&format!(
            "dn: {}\nchangetype: modify\ndelete: employeeType\n",
            dn("Staff", "ada")
        ))
        .unwrap();
    assert_eq!(world.refresh("ada").await.user.unwrap().role, "user");
    assert!(world.roles().await.iter().all(|(_, role)| role == "user"));
    world.release(&held).await;
    assert!(
        world
            .roles()
            .await
            .iter()
            .all(|(login, role)| role == "owner" || login == "ada"),
        "{:?}",
        world.roles().await
    );
    assert_eq!(world.refresh("ada").await.user.unwrap().role, "owner");
}

/// Fault 4: an entry that was read and is proven out of scope.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_of_somebody_out_of_scope_takes_the_access() {
    let mut world = World::start(Slapd::builder().ldif(crowd(10).as_str()), staff()).await;
    world.succeed().await;
    let wider = v1::UserSync {
        searches: [
            staff().searches,
            sync_of(&format!("ou=Guests,{BASE}"), "(uid=p01)").searches,
        ]
        .concat(),
        ..staff()
    };
    let moves = |uid: &str| {
        format!(
            "dn: {}\nchangetype: modrdn\nnewrdn: uid={uid}\ndeleteoldrdn: 1\nnewsuperior: ou=Guests,{BASE}\n\n",
            dn("Staff", uid)
        )
    };
    world.slapd.modify(&(moves("p00") + &moves("p01"))).unwrap();
    world.update(wider, &["searches"]).await;
    let refreshed = world.refresh("p00").await;
    assert_eq!(refreshed.outcome(), RefreshOutcome::Removed);
    assert_eq!(
        world.state("p00").await,
        (UserState::Deactivated, Some(StateReason::OutOfScope))
    );
    // The edited searches will find this one.
    assert_eq!(world.refresh("p01").await.outcome(), RefreshOutcome::Unchanged);
    assert_eq!(world.state("p01").await, (UserState::Active, None));
}

/// While returns are held, a login brings nobody back.
#[tokio::test(flavor = "multi_thread")]
async fn returns_that_are_held_are_handed_out_by_no_login() {
    let mut ldif = units();
    for number in 0..20 {
        let entry = person(&mut ldif, "Staff", &uid(number)).attribute("userPassword", "x");
        if number < 8 {
            entry.attribute("pwdAccountLockedTime", "000001010000Z");
        }
    }
    let builder = Slapd::builder().ppolicy().ldif(ldif.as_str());
    let mut world = World::start(builder, staff()).await;
    world.succeed().await;
    assert_eq!(world.active().await, 12);
    change(&world, 0..8, |_| "delete: pwdAccountLockedTime\n".into());
    let first = world.refresh("p00").await;
    assert_eq!(
        first.outcome(),
        RefreshOutcome::Reactivated,
        "nothing is held yet"
    );
    let held = world.apply().await;
    assert_eq!(held_by(&held), [HoldRule::Returns]);
    let refreshed = world.refresh("p01").await;
    assert_eq!(refreshed.outcome(), RefreshOutcome::Rejected);
    assert_eq!(refreshed.issues[0].r#type(), IssueType::Held);
    assert_eq!(world.active().await, 13);
    change(&world, [12], |_| DISABLE.into());
    assert_eq!(world.refresh("p12").await.outcome(), RefreshOutcome::Removed);
    world.release(&held).await;
    assert_eq!(world.active().await, 19);
}

/// Fault 6, this half: a disabled account that then leaves is told so, and another user sync may take it over.
#[tokio::test(flavor = "multi_thread")]
async fn somebody_disabled_who_leaves_has_left() {
    let builder = Slapd::builder().ppolicy().ldif(crowd(10).as_str());
    let mut world = World::start(builder, staff()).await;
    world.succeed().await;
    change(&world, [0], |_| DISABLE.into());
    world.succeed().await;
    world.slapd.delete(&dn("Staff", "p00")).unwrap();
    let run = world.succeed().await;
    assert_eq!(
        world.changes(&run).await,
        [("p00".to_owned(), ChangeType::Update)]
    );
    assert_eq!(
        world.state("p00").await,
        (UserState::Deactivated, Some(StateReason::Gone))
    );
    let idle = world.succeed().await;
    assert!(world.changes(&idle).await.is_empty(), "{idle:#?}");
}

/// DESIGN of absences: where the entry above cannot be read, nothing is known, of this person alone.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_was_below_an_entry_that_is_gone_stays_and_keeps_nobody_else() {
    let mut ldif = crowd(10);
    ldif.entry(&format!("ou=Deep,ou=Staff,{BASE}"))
        .attribute("objectClass", "organizationalUnit")
        .attribute("ou", "Deep");
    person(&mut ldif, "Deep,ou=Staff", "deep");
    let mut world = World::start(Slapd::builder().ldif(ldif.as_str()), staff()).await;
    world.succeed().await;
    for entry in [
        dn("Deep,ou=Staff", "deep"),
        format!("ou=Deep,ou=Staff,{BASE}"),
        dn("Staff", "p09"),
    ] {
        world.slapd.delete(&entry).unwrap();
    }
    let run = world.apply().await;
    assert_eq!(run.state(), SyncRunState::SucceededWithIssues, "{run:#?}");
    assert_eq!(
        world.changes(&run).await,
        [("p09".to_owned(), ChangeType::Deactivate)]
    );
    let issues = world.issues(&run).await;
    assert_eq!(issues[0].r#type(), IssueType::AbsenceUnconfirmed);
    assert_eq!(issues[0].dn, dn("Deep,ou=Staff", "deep"));
    assert_eq!(world.state("deep").await, (UserState::Active, None));
}

/// Whoever moved to another user sync's unit has left this one; the other one takes them over when the hold is decided.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_taken_from_a_sync_whose_plan_is_held() {
    let mut world = World::start(Slapd::builder().ldif(crowd(20).as_str()), staff()).await;
    world.succeed().await;
    let guests = sync_of(&format!("ou=Guests,{BASE}"), "(objectClass=inetOrgPerson)");
    create_sync(&mut world.clients, "guests", guests).await;
    let moved = format!(
        "dn: {}\nchangetype: modrdn\nnewrdn: uid=p00\ndeleteoldrdn: 1\nnewsuperior: ou=Guests,{BASE}\n",
        dn("Staff", "p00")
    );
    world.slapd.modify(&moved).unwrap();
    change(&world, 1..7, |number| {
        format!("replace: mail\nmail: new{number}@example.org\n")
    });
    let held = world.apply().await;
    assert_eq!(held_by(&held), [HoldRule::EmailChanges]);
    let left = (UserState::Deactivated, Some(StateReason::OutOfScope));
    assert_eq!(world.state("p00").await, left);
    let request = || v1::RunUserSyncRequest {
        name: format!("{TENANT}/userSyncs/guests"),
        mode: v1::SyncRunMode::Apply.into(),
        request_id: String::new(),
    };
    let started = ok(world.clients.user_syncs.run_user_sync(request())).await;
    let waits = rest(&mut world.clients, &started.name).await;
    assert_eq!(world.issue_types(&waits).await, [IssueType::Overlap]);
    assert_eq!(world.state("p00").await, left);
    world.release(&held).await;
    let started = ok(world.clients.user_syncs.run_user_sync(request())).await;
    let taken = rest(&mut world.clients, &started.name).await;
    assert_eq!(
        world.changes(&taken).await,
        [("p00".to_owned(), ChangeType::Transfer)]
    );
    assert_eq!(world.state("p00").await, (UserState::Active, None));
}

/// A run shows that it rests before its worker lets go of the lease.
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_can_be_applied_as_soon_as_it_shows() {
    let builder = Slapd::builder().ldif(crowd(2).as_str());
    let mut world = World::start(builder, staff()).await;
    let preview = run_to_rest(&mut world.clients, SyncRunMode::Preview).await;
    let key = UserSyncKey {
        tenant: tenant(),
        user_sync: UserSyncId::parse("staff").unwrap(),
    };
    let lease = LeaseName::run_of(&key);
    let ttl = Duration::from_secs(1);
    let store = world.store.clone();
    let let_go = async || {
        store
            .acquire_lease(&lease, "another", ttl)
            .await
            .unwrap()
            .is_some()
    };
    wait_for("the worker has let go", Duration::from_secs(20), let_go)
        .await
        .unwrap();
    let applied = world.release(&preview).await;
    assert_eq!(applied.state(), SyncRunState::Succeeded);
}
