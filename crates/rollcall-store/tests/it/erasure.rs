//! A person who is erased is nowhere any more.

use rollcall_core::audit::{Actor, AuditCaller, AuditFilter, AuditKind, LoginOutcome, OwnReason};
use rollcall_core::check::{CheckReport, Stage, StageKind, StageResult};
use rollcall_core::event::EventType;
use rollcall_core::feed::Mark;
use rollcall_core::guard::Watched;
use rollcall_core::issue::{Issue, IssueKind};
use rollcall_core::plan::{Change, ChangeKind};
use rollcall_core::revision::Revision;
use rollcall_core::run::{PlanOutcome, PlanResult, RunCounts, RunState};
use rollcall_core::soft_lock::{SoftLockPolicy, SoftLockSubject};
use rollcall_core::user::{StateReason, UserState};
use rollcall_store::{
    CheckSubject, EraseUser, Kind, LeaseToken, LoginStore, Mailing, NewAuditEvent, NewMail, NewUser,
    Recorded, Reservation, SealReach, Store, StoreError,
};

use chrono::TimeDelta;

use crate::engine::{Engine, on_both};
use crate::fixture::*;

on_both! {
    nothing_of_a_person_is_left,
    an_issue_names_another_user_by_the_id_alone,
    nobody_is_erased_twice_and_a_deleted_user_once,
    erasures_at_once_are_each_done_and_recorded_once,
    the_owner_is_not_erased,
    a_plan_that_waits_does_not_bring_anybody_back,
    what_a_run_writes_about_somebody_is_taken_out_when_it_ends,
    events_are_told_in_order_and_those_of_the_erased_are_passed_over,
    whoever_left_long_ago_is_found_and_nobody_else,
    a_tenant_that_is_deleted_leaves_nobody,
}

/// In each text of the person, and in nothing else.
const CANARY: &str = "zqcanaryqz";

fn login() -> String {
    format!("ada-{CANARY}")
}

fn ada() -> EraseUser<'static> {
    static ACME: std::sync::LazyLock<rollcall_core::id::TenantId> = std::sync::LazyLock::new(acme);
    EraseUser {
        tenant: &ACME,
        user: user_id(1),
        expected_revision: None,
        exclude: false,
        left_before: None,
    }
}

fn asked(name: &str, reason: &str, seconds: i64) -> NewAuditEvent {
    NewAuditEvent {
        caller: AuditCaller::from("product"),
        actor: Actor {
            name: name.into(),
            address: "192.0.2.7".into(),
            reason: reason.into(),
        },
        tenant: Some(acme()),
        ..NewAuditEvent::by_nobody(at(seconds))
    }
}

/// The creation of the person, each field with the canary.
fn creation_of_ada() -> Change {
    let mut ada = creation(1, &login());
    ada.profile.set_text(
        rollcall_core::field::TextField::DisplayName,
        Some(format!("Ada {CANARY} Lovelace")),
    );
    ada.profile.set_text(
        rollcall_core::field::TextField::GivenName,
        Some(format!("Ada {CANARY}")),
    );
    ada.profile.custom = [("desk".to_owned(), format!("desk {CANARY}"))].into();
    ada.compared(None)
}

/// A run of staff that is held with this plan.
async fn held(store: &Store, lease: &LeaseToken, number: u128, changes: &[Change]) {
    let run = handle(lease, &staff(), run_id(number));
    store
        .create_run(lease, &staff(), new_run(number), None, at(4))
        .await
        .unwrap();
    store.begin_pull(&run, 9).await.unwrap();
    store.append_chunk(&run, 0, changes).await.unwrap();
    let plan = PlanResult {
        outcome: PlanOutcome::Held(vec!["many".into()]),
        counts: RunCounts {
            updated: changes.len() as u64,
            ..RunCounts::default()
        },
        complete: true,
    };
    store
        .finish_plan(&run, plan, &Mailing::default(), at(5))
        .await
        .unwrap();
}

async fn erase(store: &Store) -> Result<bool, StoreError> {
    store
        .erase_user(
            ada(),
            &asked("dpo@acme.example", &format!("{} asked", login()), 20),
        )
        .await?;
    store.sweep_erased(&acme(), Some(user_id(1)), at(20)).await
}

/// All that is stored: the files of SQLite, the rows of each table of PostgreSQL.
fn stored(engine: &Engine) -> Vec<(String, String)> {
    match engine {
        Engine::Sqlite(_) => {
            let bytes = engine.bytes_at_rest("");
            vec![("a file".to_owned(), String::from_utf8_lossy(&bytes).into_owned())]
        }
        Engine::Postgres(database) => {
            let tables = database
                .sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename")
                .unwrap();
            let tables = tables.lines().map(str::trim).filter(|table| !table.is_empty());
            let rows = |table: &str| {
                database
                    .sql(&format!("SELECT t::text FROM \"{table}\" t"))
                    .unwrap()
            };
            tables.map(|table| (table.to_owned(), rows(table))).collect()
        }
    }
}

/// Where the text is stored, as it is or as bytes.
fn places(engine: &Engine, text: &str) -> Vec<String> {
    let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    let has_it = |rows: &str| rows.contains(text) || rows.contains(&hex);
    let stored = stored(engine).into_iter().filter(|(_, rows)| has_it(rows));
    stored.map(|(place, _)| place).collect()
}

/// The person and a colleague, with all that a tenant may keep about the person.
async fn a_life(store: &Store, lease: &LeaseToken) {
    apply(store, lease, 1, &[creation_of_ada(), creation(2, "bob")]).await;
    let run = handle(lease, &staff(), run_id(1));
    let dn = creation_of_ada().origin.dn;
    let bob = creation(2, "bob").origin.dn;
    let issues = [
        Issue::new(IssueKind::EmailInvalid, &dn, "no address").about("mail", CANARY),
        Issue::new(IssueKind::LoginTaken, &bob, "another entry has it")
            .valued(&login())
            .beside(&dn),
        Issue::new(
            IssueKind::LoginChangeRejected,
            &bob,
            format!("it had {}", login()),
        ),
        Issue::new(IssueKind::EmailInvalid, &bob, "no address").about("mail", "bob"),
    ];
    store.append_issues(&run, &issues).await.unwrap();
    store
        .end_run(
            &run,
            ended(RunState::SucceededWithIssues),
            &Mailing::default(),
            at(3),
        )
        .await
        .unwrap();
    let user = store.user(&acme(), user_id(1)).await.unwrap();
    let renamed = update(&user, |profile| profile.login = format!("lady-{CANARY}"));
    store.apply_single(&staff(), &renamed, at(4)).await.unwrap();
    let record = asked(&format!("{}@example.com", login()), "ticket 1", 5);
    let blocked = Recorded::new(
        at(5),
        rollcall_core::audit::AskedBy {
            caller: "product".into(),
            actor: record.actor.clone(),
        },
        |_| NewAuditEvent::by_nobody(at(5)),
    );
    store
        .block_user(&acme(), user_id(2), None, "a reason of bob's", blocked)
        .await
        .unwrap();
    store
        .block_user(
            &acme(),
            user_id(1),
            None,
            &format!("because {CANARY}"),
            Recorded::by_nobody(at(5)),
        )
        .await
        .unwrap();
    let user = store.user(&acme(), user_id(1)).await.unwrap();
    held(
        store,
        lease,
        2,
        &[update(&user, |profile| profile.role = "boss".into())],
    )
    .await;
    store
        .cancel_waiting_run(
            &staff(),
            run_id(2),
            &asked("bob", &format!("{} left", login()), 6),
        )
        .await
        .unwrap();
    let mail = NewMail {
        id: "1".into(),
        to: vec!["admin@acme.example".into()],
        subject: "The run left issues".into(),
        text: format!(
            "1 issue\n- EMAIL_INVALID\n  Entry: {dn}\n  Value: {CANARY}\n- OTHER\n  Entry: {bob}\n"
        ),
        html: format!("<ul>\n<li>EMAIL_INVALID {dn} {CANARY}</li>\n<li>{bob}</li>\n</ul>\n"),
    };
    store.enqueue_mails(&acme(), &mailing(mail), at(6)).await.unwrap();
    let report = CheckReport {
        stages: vec![Stage {
            kind: StageKind::FieldMappings,
            subject: "mail".into(),
            result: StageResult::Warn,
            duration: std::time::Duration::ZERO,
            message: format!("For example {dn} with {CANARY}."),
            hint: "Look.".into(),
        }],
    };
    let subject = CheckSubject::UserSync(sync_id("staff"));
    store.save_check(&acme(), &subject, &report, at(6)).await.unwrap();
    let seen = format!(
        "{{\"caller\":\"product\",\"note\":\"as {} said\",\"findings\":[]}}",
        login()
    );
    store
        .record_security_review(
            &acme(),
            &format!("{}@example.com", login()),
            &seen,
            &asked(&login(), "", 6),
        )
        .await
        .unwrap();
    let wanted = Reservation {
        subject: SoftLockSubject::User(user_id(1)),
        policy: SoftLockPolicy {
            limit: 2,
            window: TimeDelta::seconds(60),
            lock: TimeDelta::seconds(60),
            fixed: false,
        },
        shared: None,
        own: None,
    };
    let logins = LoginStore::open(store);
    logins.reserve(&acme(), &[wanted]).await.unwrap();
    logins.close().await;
}

async fn nothing_of_a_person_is_left(engine: Engine) {
    let (store, lease) = ready(&engine).await;
    a_life(&store, &lease).await;
    assert!(
        !places(&engine, CANARY).is_empty(),
        "the test looks in the wrong place"
    );
    let counted = store
        .recent_changes(&acme(), &sync_id("staff"), at(0))
        .await
        .unwrap();

    // Of the audit record, part is sealed and part is not.
    store.seal_audit(SealReach::All, 4).await.unwrap().unwrap();
    assert!(store.audit_waits(SealReach::All).await.unwrap());
    assert!(erase(&store).await.unwrap(), "no run is under way");
    store.close().await;
    assert_eq!(places(&engine, CANARY), [""; 0], "something is left");
    assert_eq!(
        places(&engine, &format!("user/{}", user_id(1))),
        [""; 0],
        "the soft lock is left"
    );

    let store = engine.store().await;
    let after = store
        .recent_changes(&acme(), &sync_id("staff"), at(0))
        .await
        .unwrap();
    assert_eq!(after, counted, "the guard goes by the same counts");
    assert_eq!(counted.of(&Watched::Login), 1);
    // What is not about the person stays.
    let issues = store
        .list_issues(&staff(), run_id(1), None, &all())
        .await
        .unwrap()
        .items;
    let bob = creation(2, "bob").origin.dn;
    let told: Vec<(IssueKind, &str)> = issues
        .iter()
        .map(|issue| (issue.kind, issue.dn.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            (IssueKind::EmailInvalid, ""),
            (IssueKind::LoginTaken, &bob),
            (IssueKind::LoginChangeRejected, &bob),
            (IssueKind::EmailInvalid, &bob),
        ]
    );
    assert_eq!(issues[3].value.as_deref(), Some("bob"));
    let mails = store
        .claim_mail(9, std::time::Duration::from_secs(9), at(30))
        .await
        .unwrap();
    assert!(
        mails[0].mail.text.contains(&bob) && mails[0].mail.html.contains(&bob),
        "{mails:?}"
    );
    let run = store.run(&staff(), run_id(2)).await.unwrap();
    assert_eq!(run.cancellation.unwrap().by.actor.name, "bob");
    let review = store.list_security_reviews(&acme(), &all()).await.unwrap();
    assert_eq!(
        review.items[0].actor.name,
        format!("tenants/acme/users/{}", user_id(1))
    );
    // Whoever looks after people who are erased has nothing to do once all is settled.
    assert!(
        store.tenants_to_sweep(at(20)).await.unwrap().is_empty(),
        "not settled yet"
    );
    assert_eq!(store.tenants_to_sweep(at(400)).await.unwrap().len(), 1);
    assert!(store.sweep_erased(&acme(), None, at(400)).await.unwrap());
    assert!(store.tenants_to_sweep(at(400)).await.unwrap().is_empty());
}

/// Nothing has to be swept: the DN is the user's own, as it is when the issue is read.
async fn an_issue_names_another_user_by_the_id_alone(engine: Engine) {
    let (store, lease) = ready(&engine).await;
    let mut ada = creation(1, "ada");
    ada.origin.dn = format!("uid={},ou=people", login());
    apply(&store, &lease, 1, &[ada, creation(2, "bob"), creation(3, "eve")]).await;
    let beside = |number: u128, dn: &str| {
        let issue = Issue::new(IssueKind::LoginTaken, "uid=kim", "another user has it");
        Issue {
            other_user: Some(user_id(number)),
            ..issue.beside(dn)
        }
    };
    let issues = [
        beside(1, "uid=was-elsewhere"),
        beside(2, "uid=bob"),
        beside(1, ""),
        beside(9, "uid=deleted"),
        Issue::new(IssueKind::LoginTaken, "uid=kim", "another entry asks for it").beside("uid=nobody"),
    ];
    let run = handle(&lease, &staff(), run_id(1));
    store.append_issues(&run, &issues).await.unwrap();
    let named = async || -> Vec<Option<String>> {
        let issues = store.list_issues(&staff(), run_id(1), None, &all()).await;
        let issues = issues.unwrap().items.into_iter();
        issues.map(|issue| issue.other_dn).collect()
    };
    let dn = |dn: &str| Some(dn.to_owned());
    let [bob, nobody] = [dn("uid=bob,ou=people"), dn("uid=nobody")];
    let ada = dn(&format!("uid={},ou=people", login()));
    assert_eq!(
        named().await,
        [ada.clone(), bob.clone(), ada, None, nobody.clone()]
    );

    let user = store.user(&acme(), user_id(1)).await.unwrap();
    let mut moved = update(&user, |_| {});
    moved.origin.dn = format!("uid={},ou=leavers", login());
    let moved = moved.compared(Some(&user));
    store.apply_single(&staff(), &moved, at(4)).await.unwrap();
    let ada = Some(moved.origin.dn);
    assert_eq!(
        named().await,
        [ada.clone(), bob.clone(), ada, None, nobody.clone()]
    );

    store
        .end_run(&run, ended(RunState::Succeeded), &Mailing::default(), at(5))
        .await
        .unwrap();
    erase(&store).await.unwrap();
    assert_eq!(named().await, [None, bob, None, None, nobody]);
}

async fn nobody_is_erased_twice_and_a_deleted_user_once(engine: Engine) {
    let (store, lease) = ready(&engine).await;
    let mut other = ada();
    other.user = user_id(9);
    let unknown = store.erase_user(other, &asked("dpo", "", 1)).await;
    assert!(
        matches!(unknown, Err(StoreError::NotFound(Kind::User))),
        "{unknown:?}"
    );
    apply(&store, &lease, 1, &[creation_of_ada()]).await;
    let run = handle(&lease, &staff(), run_id(1));
    store
        .end_run(&run, ended(RunState::Succeeded), &Mailing::default(), at(3))
        .await
        .unwrap();
    let mut old = ada();
    old.expected_revision = Some(Revision::new(7));
    let refused = store.erase_user(old, &asked("dpo", "", 2)).await;
    assert!(
        matches!(refused, Err(StoreError::RevisionMismatch)),
        "{refused:?}"
    );
    erase(&store).await.unwrap();
    // A repeat of a call that broke off goes on with it; nothing more is told.
    erase(&store).await.unwrap();
    assert_eq!(store.feed_end(Some(&acme())).await.unwrap().position, 2);
    store.sweep_erased(&acme(), None, at(400)).await.unwrap();
    let again = erase(&store).await;
    assert!(
        matches!(again, Err(StoreError::NotFound(Kind::User))),
        "{again:?}"
    );

    let new = NewUser {
        id: user_id(5),
        profile: profile(&format!("local-{CANARY}")),
        owner: false,
    };
    store
        .create_local_user(&acme(), new, Recorded::by_nobody(at(500)))
        .await
        .unwrap();
    store
        .delete_local_user(&acme(), user_id(5), None, Recorded::by_nobody(at(501)))
        .await
        .unwrap();
    let mut deleted = ada();
    deleted.user = user_id(5);
    store.erase_user(deleted, &asked("dpo", "", 502)).await.unwrap();
    store
        .sweep_erased(&acme(), Some(user_id(5)), at(502))
        .await
        .unwrap();
    let events = store.list_events(Some(&acme()), Mark::START, 100).await.unwrap();
    let last = events.last().unwrap();
    assert_eq!(
        (last.event_type, last.user, &last.after),
        (EventType::Erased, user_id(5), &None)
    );
    store.close().await;
    assert_eq!(places(&engine, CANARY), [""; 0], "something is left");
}

/// Through two replicas, of the same person and of two.
async fn erasures_at_once_are_each_done_and_recorded_once(engine: Engine) {
    let (store, other) = (engine.store().await, engine.store().await);
    set_up(&store).await;
    let person = |number: u128| NewUser {
        id: user_id(number),
        profile: profile(&format!("ada{number}-{CANARY}")),
        owner: false,
    };
    let resource = |number: u128| format!("tenants/acme/users/{}", user_id(number));
    let erase = async |store: &Store, number: u128| {
        let erase = EraseUser {
            user: user_id(number),
            ..ada()
        };
        let record = NewAuditEvent {
            kind: AuditKind::Change {
                method: "UserService.EraseUser".into(),
                resource: resource(number),
                changes: Vec::new(),
            },
            ..asked("dpo@acme.example", "ticket 12", 20)
        };
        store.erase_user(erase, &record).await.unwrap();
        store.sweep_erased(&acme(), Some(user_id(number)), at(20)).await
    };
    let rounds = [(1, 1), (2, 3), (4, 4), (5, 6), (7, 7), (8, 9), (10, 10), (11, 12)];
    let people = 1..=12;
    for number in people.clone() {
        let record = Recorded::by_nobody(at(9));
        store
            .create_local_user(&acme(), person(number), record)
            .await
            .unwrap();
    }
    for (one, another) in rounds {
        let (first, second) = tokio::join!(erase(&store, one), erase(&other, another));
        assert!(first.unwrap() && second.unwrap(), "nothing is under way");
    }
    let events = store.list_events(Some(&acme()), Mark::START, 1000).await.unwrap();
    let mut erased: Vec<_> = events
        .iter()
        .filter(|event| event.event_type == EventType::Erased)
        .map(|event| event.user)
        .collect();
    erased.sort();
    assert_eq!(erased, people.clone().map(user_id).collect::<Vec<_>>());
    while store.seal_audit(SealReach::All, 100).await.unwrap().is_some() {}
    store
        .verify_audit(None, |fault| panic!("{fault:?}"))
        .await
        .unwrap();
    let found = store.list_audit(None, &AuditFilter::default(), &all()).await;
    let mut recorded: Vec<_> = found
        .unwrap()
        .items
        .into_iter()
        .filter_map(|event| match event.kind {
            AuditKind::Change { method, resource, .. } if method == "UserService.EraseUser" => Some(resource),
            _ => None,
        })
        .collect();
    recorded.sort();
    let mut expected: Vec<_> = people.map(resource).collect();
    expected.sort();
    assert_eq!(recorded, expected);
    assert!(
        store
            .list_users(&acme(), &Default::default(), &all())
            .await
            .unwrap()
            .items
            .is_empty()
    );
    store.close().await;
    other.close().await;
    assert_eq!(places(&engine, CANARY), [""; 0], "something is left");
}

async fn the_owner_is_not_erased(engine: Engine) {
    let store = engine.store().await;
    set_up(&store).await;
    let owner = NewUser {
        id: user_id(1),
        profile: profile("owner"),
        owner: true,
    };
    store
        .create_local_user(&acme(), owner, Recorded::by_nobody(at(1)))
        .await
        .unwrap();
    let refused = erase(&store).await;
    assert!(matches!(refused, Err(StoreError::OwnerProtected)), "{refused:?}");
    assert!(store.user(&acme(), user_id(1)).await.is_ok());
}

async fn a_plan_that_waits_does_not_bring_anybody_back(engine: Engine) {
    let (store, lease) = ready(&engine).await;
    apply(&store, &lease, 1, &[creation_of_ada(), creation(2, "bob")]).await;
    let run = handle(&lease, &staff(), run_id(1));
    store
        .end_run(&run, ended(RunState::Succeeded), &Mailing::default(), at(3))
        .await
        .unwrap();
    let ada = store.user(&acme(), user_id(1)).await.unwrap();
    let bob = store.user(&acme(), user_id(2)).await.unwrap();
    let to_boss = |user| update(user, |profile| profile.role = "boss".into());
    held(&store, &lease, 2, &[to_boss(&ada), to_boss(&bob)]).await;
    assert!(erase(&store).await.unwrap(), "what waits is not under way");
    let waiting = store.run(&staff(), run_id(2)).await.unwrap();
    assert_eq!((waiting.state, waiting.counts.updated), (RunState::Held, 1));

    let run = handle(&lease, &staff(), run_id(2));
    store.begin_apply(&run, &asked("bob", "", 30)).await.unwrap();
    let changes = store.read_chunk(&staff(), run_id(2), 0).await.unwrap();
    let users: Vec<_> = changes.iter().map(|change| change.user).collect();
    assert_eq!(users, [user_id(2)]);
    let outcome = store.apply_chunk(&run, 0, &changes, at(31)).await.unwrap();
    assert_eq!((outcome.applied, outcome.issues), (1, Vec::new()));
    assert!(store.user(&acme(), user_id(1)).await.is_err());
    store.close().await;
    assert_eq!(places(&engine, CANARY), [""; 0], "something is left");
}

async fn what_a_run_writes_about_somebody_is_taken_out_when_it_ends(engine: Engine) {
    let (store, lease) = ready(&engine).await;
    apply(&store, &lease, 1, &[creation_of_ada()]).await;
    let run = handle(&lease, &staff(), run_id(1));
    store
        .end_run(&run, ended(RunState::Succeeded), &Mailing::default(), at(3))
        .await
        .unwrap();
    let user = store.user(&acme(), user_id(1)).await.unwrap();
    let change = update(&user, |profile| profile.role = "boss".into());
    // Its worker has the changes in memory when the person is erased.
    planned(&store, &lease, 2, &[std::slice::from_ref(&change)]).await;
    assert!(!erase(&store).await.unwrap(), "a run is under way");
    let run = handle(&lease, &staff(), run_id(2));
    let outcome = store.apply_chunk(&run, 0, &[change], at(21)).await.unwrap();
    assert_eq!(outcome.applied, 0);
    assert_eq!(outcome.issues[0].kind, IssueKind::ChangedMeanwhile);
    assert!(store.user(&acme(), user_id(1)).await.is_err());
    assert!(
        store.tenants_to_sweep(at(400)).await.unwrap().is_empty(),
        "the run may still write"
    );
    store
        .end_run(
            &run,
            ended(RunState::SucceededWithIssues),
            &Mailing::default(),
            at(401),
        )
        .await
        .unwrap();
    assert!(!places(&engine, CANARY).is_empty());
    assert_eq!(store.tenants_to_sweep(at(402)).await.unwrap().len(), 1);
    assert!(store.sweep_erased(&acme(), None, at(402)).await.unwrap());
    store.close().await;
    assert_eq!(places(&engine, CANARY), [""; 0], "something is left");
}

async fn events_are_told_in_order_and_those_of_the_erased_are_passed_over(engine: Engine) {
    let (store, lease) = ready(&engine).await;
    apply(&store, &lease, 1, &[creation_of_ada(), creation(2, "bob")]).await;
    let before = store.feed_end(Some(&acme())).await.unwrap();
    erase(&store).await.unwrap();
    let events = store.list_events(Some(&acme()), Mark::START, 100).await.unwrap();
    let positions: Vec<i64> = events.iter().map(|event| event.tenant_position).collect();
    assert_eq!(positions, [1, 2, 3], "the feed has no gap");
    let told = events.iter().filter(|event| event.is_told());
    let told: Vec<_> = told.map(|event| (event.event_type, event.user)).collect();
    assert_eq!(
        told,
        [(EventType::Created, user_id(2)), (EventType::Erased, user_id(1))]
    );
    // Whoever stands at the event of somebody who is erased goes on.
    let rest = store.list_events(Some(&acme()), before, 100).await.unwrap();
    assert_eq!(rest.len(), 1);
    assert_eq!(rest[0].asked_by.as_ref().unwrap().actor.name, "dpo@acme.example");
}

async fn whoever_left_long_ago_is_found_and_nobody_else(engine: Engine) {
    let (store, lease) = ready(&engine).await;
    let mut people = vec![
        creation_of_ada(),
        creation(2, "bob"),
        creation(3, "eve"),
        creation(4, "gil"),
    ];
    for (person, reason) in people.iter_mut().zip([
        Some(StateReason::Gone),
        Some(StateReason::DisabledInDirectory),
        None,
        Some(StateReason::OutOfScope),
    ]) {
        person.state_reason = reason;
        person.state = reason.map_or(UserState::Active, |_| UserState::Deactivated);
    }
    apply(&store, &lease, 1, &people).await;
    let long_after = at(40 * 86_400);
    assert!(
        store.left_for_good(long_after, 10).await.unwrap().is_empty(),
        "never, unless told"
    );
    let mut settings = sync_settings("main");
    settings.erase_after = Some(std::time::Duration::from_secs(30 * 86_400));
    store
        .update_user_sync(
            &acme(),
            &sync_id("staff"),
            Revision::FIRST,
            &settings,
            None,
            Recorded::by_nobody(at(9)),
        )
        .await
        .unwrap();
    assert!(store.left_for_good(at(29 * 86_400), 10).await.unwrap().is_empty());
    let mut left = store.left_for_good(long_after, 10).await.unwrap();
    left.sort_by_key(|left| left.user);
    let users: Vec<_> = left.iter().map(|left| left.user).collect();
    assert_eq!(users, [user_id(1), user_id(4)]);

    // Back before it was erased.
    let gil = store.user(&acme(), user_id(4)).await.unwrap();
    let mut back = update(&gil, |_| {});
    (back.kind, back.state, back.state_reason) = (ChangeKind::Reactivate, UserState::Active, None);
    store.apply_single(&staff(), &back, at(9)).await.unwrap();
    let erase = |left: rollcall_store::Left| {
        let store = store.clone();
        async move {
            let erase = EraseUser {
                tenant: &left.tenant,
                user: left.user,
                expected_revision: None,
                exclude: false,
                left_before: Some(left.before),
            };
            store
                .erase_user(erase, &NewAuditEvent::by_nobody(long_after))
                .await
        }
    };
    let [ada, gil] = <[_; 2]>::try_from(left).unwrap();
    erase(ada).await.unwrap();
    let kept = erase(gil).await;
    assert!(matches!(kept, Err(StoreError::NotInState)), "{kept:?}");
    assert!(store.left_for_good(long_after, 10).await.unwrap().is_empty());
}

async fn a_tenant_that_is_deleted_leaves_nobody(engine: Engine) {
    let store = engine.store().await;
    set_up(&store).await;
    let tenant = tenant_id("gone");
    store
        .create_tenant(&tenant, &tenant_settings(&[]), Recorded::by_nobody(at(0)))
        .await
        .unwrap();
    let new = NewUser {
        id: user_id(1),
        profile: profile(&login()),
        owner: true,
    };
    store
        .create_local_user(&tenant, new, Recorded::by_nobody(at(1)))
        .await
        .unwrap();
    let mut acted = asked(CANARY, "of the tenant", 1);
    acted.tenant = Some(tenant.clone());
    let login = AuditKind::Login {
        outcome: LoginOutcome::Denied,
        reason: OwnReason::UnknownLogin.into(),
        user: None,
        user_sync: None,
        directory: None,
        unknown_login: Some(CANARY.into()),
        client_address: Some(CANARY.into()),
        flood: None,
    };
    let attempt = NewAuditEvent {
        kind: login,
        ..acted.clone()
    };
    store
        .record_audit(&[acted.clone(), attempt.clone()])
        .await
        .unwrap();
    while store.seal_audit(SealReach::All, 100).await.unwrap().is_some() {}
    store.record_audit(&[acted, attempt]).await.unwrap();
    assert!(!places(&engine, CANARY).is_empty());
    store
        .delete_tenant(&tenant, None, true, Recorded::by_nobody(at(2)))
        .await
        .unwrap();
    let events = store.list_events(Some(&tenant), Mark::START, 10).await.unwrap();
    let told: Vec<_> = events
        .iter()
        .map(|event| (event.event_type, event.is_told()))
        .collect();
    assert_eq!(told, [(EventType::Created, false), (EventType::Erased, true)]);
    while store.seal_audit(SealReach::All, 100).await.unwrap().is_some() {}
    let whole = store
        .verify_audit(None, |fault| panic!("{fault:?}"))
        .await
        .unwrap();
    assert_eq!(whole.erased, 4, "two actors and two attempts");
    store.close().await;
    assert_eq!(places(&engine, CANARY), [""; 0], "something is left");
}
