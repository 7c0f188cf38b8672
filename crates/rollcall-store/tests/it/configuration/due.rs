//! What is due, whose turn it is, and who starts it.

use rollcall_core::id::{TenantId, UserSyncKey};
use rollcall_core::issue::{Health, HealthLevel};
use rollcall_core::revision::Revision;
use rollcall_core::run::{PlanOutcome, PlanResult, RunCounts, RunState};
use rollcall_store::{Due, DueCursor, DueRun, DueStart, Mailing, Recorded, Store, StoreError};
use sea_orm::{ConnectionTrait, Statement};

use crate::engine::{Engine, on_both};
use crate::fixture::*;

on_both! {
    what_is_due_is_what_may_run,
    a_directory_that_is_read_leaves_room_for_others,
    so_many_runs_pull_from_a_directory,
    tenants_take_turns,
    a_turn_that_was_passed_comes_back_when_something_is_due,
    what_becomes_due_while_a_turn_is_passed_is_not_forgotten,
    a_turn_that_a_wrong_clock_moved_is_brought_forward,
    all_that_is_due_is_listed_in_portions,
    one_of_many_starts_a_due_sync,
    a_sync_that_cannot_be_started_stays_due,
    a_start_supersedes_plans_that_wait,
}

async fn next(store: &Store, tenant: &TenantId, seconds: i64, per_directory: u32) -> Option<String> {
    let due = store
        .next_due_of(tenant, at(seconds), per_directory)
        .await
        .unwrap();
    due.map(|sync| sync.id.to_string())
}

async fn turns(store: &Store, seconds: i64) -> Vec<String> {
    let tenants = store.tenants_in_turn(at(seconds), 100).await.unwrap();
    tenants.iter().map(ToString::to_string).collect()
}

async fn create(store: &Store, tenant: &TenantId, id: &str, due: i64) {
    let (id, settings) = (sync_id(id), sync_settings("main"));
    let created = store.create_user_sync(tenant, &id, &settings, Some(at(due)), Recorded::by_nobody(at(0)));
    created.await.unwrap();
}

/// A run for this user sync, which is due; the run's number is the time.
fn due_run(tenant: &TenantId, id: &str, due: i64, next: Option<i64>, number: i64) -> DueRun {
    DueRun {
        key: UserSyncKey {
            tenant: tenant.clone(),
            user_sync: sync_id(id),
        },
        due: at(due),
        next: next.map(at),
        run: new_run(u128::try_from(number).unwrap()),
    }
}

/// What releases before this one do to what they are about to start.
fn claimed_until(seconds: i64) -> String {
    format!(
        "UPDATE user_syncs SET claim_end = {}",
        at(seconds).timestamp_micros()
    )
}

/// Starts a user sync and ends its run at once.
async fn start(store: &Store, tenant: &TenantId, id: &str, due: i64, next: Option<i64>, now: i64) -> bool {
    let due = due_run(tenant, id, due, next, now);
    let key = due.key.clone();
    let DueStart::Started(lease, run) = store.start_due(due, "worker", TTL, at(now)).await.unwrap() else {
        return false;
    };
    let job = handle(&lease, &key, run.id);
    let cancelled = ended(RunState::Cancelled);
    store
        .end_run(&job, cancelled, &Mailing::default(), at(now))
        .await
        .unwrap();
    store.release_lease(&lease).await.unwrap();
    true
}

/// Enables or disables the user sync `staff`, which is due at 100.
async fn set_disabled(store: &Store, revision: i64, disabled: bool) {
    let mut settings = sync_settings("main");
    settings.disabled = disabled;
    let record = Recorded::by_nobody(at(1));
    store
        .update_user_sync(
            &acme(),
            &sync_id("staff"),
            Revision::new(revision),
            &settings,
            Some(at(100)),
            record,
        )
        .await
        .unwrap();
}

async fn set_enabled(store: &Store, revision: i64, enabled: bool) {
    let mut tenant = tenant_settings(&[]);
    tenant.user_sync_enabled = enabled;
    let record = Recorded::by_nobody(at(1));
    store
        .update_tenant(&acme(), Revision::new(revision), &tenant, record)
        .await
        .unwrap();
}

async fn what_is_due_is_what_may_run(engine: Engine) {
    let store = engine.store().await;
    set_up(&store).await;
    let staff = Due {
        key: staff(),
        directory: directory_id("main"),
        time: at(100),
    };
    let is_due = async |seconds| {
        let listed = store
            .list_due(at(seconds), None, &DueCursor::default(), 10)
            .await
            .unwrap()
            .0;
        let of_another = store
            .list_due(at(seconds), Some(&tenant_id("other")), &DueCursor::default(), 10)
            .await
            .unwrap()
            .0;
        assert_eq!(of_another, []);
        let is_due = next(&store, &acme(), seconds, 9).await.is_some();
        assert_eq!(listed == [staff.clone()], is_due);
        let still_due = store.still_due(&staff, at(seconds)).await.unwrap();
        assert_eq!(still_due.is_some(), is_due || seconds < 100);
        is_due
    };
    assert!(!is_due(99).await);
    assert!(is_due(100).await);
    set_disabled(&store, 1, true).await;
    assert!(!is_due(100).await);
    set_disabled(&store, 2, false).await;
    assert!(is_due(100).await);
    set_enabled(&store, 1, false).await;
    assert!(!is_due(100).await);
}

async fn a_directory_that_is_read_leaves_room_for_others(engine: Engine) {
    let store = engine.store().await;
    set_up(&store).await;
    for number in 0..4 {
        create(&store, &acme(), &format!("more{number}"), number).await;
    }
    assert_eq!(next(&store, &acme(), 1000, 1).await.as_deref(), Some("more0"));
    let token = lease(&store, &staff()).await;
    store
        .create_run(&token, &staff(), new_run(1), None, at(9))
        .await
        .unwrap();
    assert_eq!(
        next(&store, &acme(), 1000, 1).await,
        None,
        "one is about to read the directory"
    );
    assert_eq!(next(&store, &acme(), 1000, 2).await.as_deref(), Some("more0"));
    store
        .begin_pull(&handle(&token, &staff(), run_id(1)), 1)
        .await
        .unwrap();
    assert_eq!(next(&store, &acme(), 1000, 1).await, None);
}

async fn so_many_runs_pull_from_a_directory(engine: Engine) {
    let (store, other) = (engine.store().await, engine.store().await);
    set_up(&store).await;
    let mut jobs = Vec::new();
    for number in 1..=4 {
        let id = format!("more{number}");
        create(&store, &acme(), &id, 0).await;
        let key = UserSyncKey {
            tenant: acme(),
            user_sync: sync_id(&id),
        };
        let token = lease(&store, &key).await;
        store
            .create_run(&token, &key, new_run(number), None, at(9))
            .await
            .unwrap();
        jobs.push(handle(&token, &key, run_id(number)));
    }
    let begins = async |store: &Store, job| store.begin_pull(job, 2).await.unwrap().is_some();
    // However many ask at once.
    let (one, two, three) = tokio::join!(
        begins(&store, &jobs[0]),
        begins(&other, &jobs[1]),
        begins(&store, &jobs[2])
    );
    assert_eq!([one, two, three].iter().filter(|begun| **begun).count(), 2);
    let (mut reading, mut waiting) = (Vec::new(), vec![jobs[3].clone()]);
    for (job, begun) in jobs.iter().zip([one, two, three]) {
        let of = if begun { &mut reading } else { &mut waiting };
        of.push(job.clone());
    }
    let run = store.run(&waiting[0].key, waiting[0].id).await.unwrap();
    assert_eq!(run.state, RunState::Pending);
    assert!(begins(&store, &reading[0]).await, "whoever reads may begin anew");
    // A plan that is made lets the next one read.
    let plan = PlanResult {
        outcome: PlanOutcome::Apply,
        counts: RunCounts::default(),
        complete: true,
    };
    store
        .finish_plan(&reading[0], plan, &Mailing::default(), at(10))
        .await
        .unwrap();
    assert!(begins(&other, &waiting[0]).await);
    assert!(!begins(&store, &waiting[1]).await);
    // So does a worker that is gone.
    store.release_lease(&reading[1].lease).await.unwrap();
    assert!(begins(&store, &waiting[1]).await);
}

async fn tenants_take_turns(engine: Engine) {
    let store = engine.store().await;
    set_up(&store).await;
    set_up_tenant(&store, "evil").await;
    // All of these are longer due than what the other has.
    for number in 0..4 {
        create(&store, &acme(), &format!("more{number}"), number).await;
    }
    assert_eq!(turns(&store, 99).await, ["acme"]);
    let mut served = Vec::new();
    for seconds in 1000..1010 {
        let Some(tenant) = store.tenants_in_turn(at(seconds), 1).await.unwrap().pop() else {
            break;
        };
        let Some(sync) = store.next_due_of(&tenant, at(seconds), 9).await.unwrap() else {
            served.push(format!("{tenant} passes"));
            store.pass_turn(&tenant, at(seconds)).await.unwrap();
            continue;
        };
        let due = sync.next_run_time.unwrap().timestamp() - at(0).timestamp();
        assert!(start(&store, &tenant, sync.id.as_str(), due, Some(5000), seconds).await);
        served.push(format!("{tenant}/{}", sync.id));
    }
    let expected = [
        "acme/more0",
        "evil/staff",
        "acme/more1",
        "acme/more2",
        "acme/more3",
        "acme/staff",
    ];
    assert_eq!(served, expected);
}

async fn a_turn_that_was_passed_comes_back_when_something_is_due(engine: Engine) {
    let store = engine.store().await;
    set_up(&store).await;
    store.pass_turn(&acme(), at(50)).await.unwrap();
    assert_eq!(turns(&store, 99).await, [""; 0]);
    assert_eq!(turns(&store, 100).await, ["acme"]);
    // While a directory is busy its tenant goes behind those that wait, and is due all the same.
    store.pass_turn(&acme(), at(150)).await.unwrap();
    assert_eq!(turns(&store, 149).await, [""; 0]);
    assert_eq!(turns(&store, 150).await, ["acme"]);

    set_disabled(&store, 1, true).await;
    store.pass_turn(&acme(), at(200)).await.unwrap();
    assert_eq!(turns(&store, 10_000).await, [""; 0]);
    set_disabled(&store, 2, false).await;
    assert_eq!(turns(&store, 200).await, ["acme"]);

    set_enabled(&store, 1, false).await;
    store.pass_turn(&acme(), at(200)).await.unwrap();
    assert_eq!(turns(&store, 10_000).await, [""; 0]);
    set_enabled(&store, 2, true).await;
    assert_eq!(turns(&store, 200).await, ["acme"]);

    engine.sql(&claimed_until(300)).await;
    store.pass_turn(&acme(), at(201)).await.unwrap();
    assert_eq!(turns(&store, 299).await, [""; 0]);
    assert_eq!(turns(&store, 300).await, ["acme"], "whoever claimed it has died");
    engine.sql("UPDATE user_syncs SET claim_end = NULL").await;

    engine.sql("UPDATE directories SET disabled = TRUE").await;
    store.pass_turn(&acme(), at(400)).await.unwrap();
    assert_eq!(turns(&store, 10_000).await, [""; 0]);
    engine.sql("UPDATE directories SET disabled = FALSE").await;
    assert_eq!(turns(&store, 400).await, ["acme"]);
}

async fn what_becomes_due_while_a_turn_is_passed_is_not_forgotten(engine: Engine) {
    let (store, other) = (engine.store().await, engine.store().await);
    set_up(&store).await;
    for number in 0..30 {
        let (id, tenant) = (format!("more{number}"), acme());
        let (passed, ()) = tokio::join!(store.pass_turn(&tenant, at(50)), create(&other, &tenant, &id, 40));
        passed.unwrap();
        assert_eq!(turns(&store, 50).await, ["acme"], "{id} was forgotten");
        assert!(start(&store, &acme(), &id, 40, None, 50 + number).await);
        store.pass_turn(&acme(), at(50)).await.unwrap();
    }
}

async fn a_turn_that_a_wrong_clock_moved_is_brought_forward(engine: Engine) {
    let store = engine.store().await;
    set_up(&store).await;
    create(&store, &acme(), "more", 100).await;
    assert!(start(&store, &acme(), "staff", 100, Some(1_000_000), 900_000).await);
    assert_eq!(turns(&store, 100).await, [""; 0]);
    store.bring_turns_forward(at(99)).await.unwrap();
    assert_eq!(turns(&store, 99).await, [""; 0], "nothing is due yet");
    store.bring_turns_forward(at(100)).await.unwrap();
    assert_eq!(turns(&store, 100).await, ["acme"]);
    assert_eq!(next(&store, &acme(), 100, 9).await.as_deref(), Some("more"));
}

async fn all_that_is_due_is_listed_in_portions(engine: Engine) {
    let store = engine.store().await;
    set_up(&store).await;
    set_up_tenant(&store, "evil").await;
    for number in 0..5 {
        create(&store, &acme(), &format!("more{number}"), 100).await;
    }
    create(&store, &acme(), "later", 101).await;
    let (mut listed, mut cursor) = (Vec::new(), Some(DueCursor::default()));
    while let Some(after) = cursor {
        let (due, next) = store.list_due(at(100), None, &after, 3).await.unwrap();
        listed.extend(due.iter().map(|due| due.key.to_string()));
        cursor = next;
    }
    let all = [
        "acme/more0",
        "acme/more1",
        "acme/more2",
        "acme/more3",
        "acme/more4",
        "acme/staff",
        "evil/staff",
    ];
    let expected = all.map(|name| {
        let (tenant, id) = name.split_once('/').unwrap();
        let (tenant, user_sync) = (tenant_id(tenant), sync_id(id));
        UserSyncKey { tenant, user_sync }.to_string()
    });
    assert_eq!(listed, expected);
}

async fn one_of_many_starts_a_due_sync(engine: Engine) {
    let (store, other) = (engine.store().await, engine.store().await);
    set_up(&store).await;
    let started = async |store: &Store, due, now: i64| {
        let due = due_run(&acme(), "staff", due, Some(900), now);
        store.start_due(due, "worker", TTL, at(now)).await.unwrap()
    };
    assert_eq!(
        started(&store, 99, 100).await,
        DueStart::NotDue,
        "it is due at another time"
    );
    let (first, second) = tokio::join!(started(&store, 100, 101), started(&other, 100, 102));
    let (lease, run) = match (first, second) {
        (DueStart::Started(lease, run), DueStart::NotDue)
        | (DueStart::NotDue, DueStart::Started(lease, run)) => (lease, run),
        others => panic!("{others:?}"),
    };
    let sync = store.user_sync(&acme(), &sync_id("staff")).await.unwrap();
    assert_eq!(
        (sync.last_run, sync.next_run_time, sync.revision),
        (Some(run.id), Some(at(900)), Revision::FIRST)
    );
    assert_eq!(store.run(&staff(), run.id).await.unwrap(), *run);
    assert_eq!(run.state, RunState::Pending);
    assert_eq!(started(&other, 900, 901).await, DueStart::Busy);
    store.release_lease(&lease).await.unwrap();
    assert_eq!(started(&other, 100, 103).await, DueStart::NotDue);
}

async fn a_sync_that_cannot_be_started_stays_due(engine: Engine) {
    let store = engine.store().await;
    set_up(&store).await;
    let is_due = async || next(&store, &acme(), 100, 9).await.is_some();
    let started = async |number| {
        let due = due_run(&acme(), "staff", 100, Some(900), number);
        store.start_due(due, "worker", TTL, at(100)).await
    };
    engine.sql(&claimed_until(300)).await;
    assert_eq!(started(1).await.unwrap(), DueStart::NotDue);
    engine.sql("UPDATE user_syncs SET claim_end = NULL").await;
    assert!(is_due().await);

    // A run that somebody left half done comes first.
    let token = lease(&store, &staff()).await;
    store
        .create_run(&token, &staff(), new_run(7), None, at(9))
        .await
        .unwrap();
    store.release_lease(&token).await.unwrap();
    let DueStart::LeftBehind(token) = started(2).await.unwrap() else {
        panic!("a run was left behind");
    };
    assert_eq!(store.working_run(&staff()).await.unwrap().unwrap().id, run_id(7));
    assert!(is_due().await);
    assert_eq!(
        started(3).await.unwrap(),
        DueStart::Busy,
        "whoever saw it has the lease"
    );
    let cancelled = ended(RunState::Cancelled);
    let job = handle(&token, &staff(), run_id(7));
    store
        .end_run(&job, cancelled, &Mailing::default(), at(100))
        .await
        .unwrap();
    store.release_lease(&token).await.unwrap();

    // What fails leaves nothing: the id is taken.
    assert!(matches!(started(7).await, Err(StoreError::AlreadyExists)));
    assert!(is_due().await);
    assert!(matches!(started(8).await, Ok(DueStart::Started(..))));
    assert!(!is_due().await);
}

async fn a_start_supersedes_plans_that_wait(engine: Engine) {
    let store = engine.store().await;
    set_up(&store).await;
    let token = lease(&store, &staff()).await;
    let waiting = run_id(1);
    store
        .create_run(&token, &staff(), new_run(1), None, at(1))
        .await
        .unwrap();
    let job = handle(&token, &staff(), waiting);
    store.begin_pull(&job, 9).await.unwrap();
    let held = PlanResult {
        outcome: PlanOutcome::Held(Vec::new()),
        counts: RunCounts::default(),
        complete: true,
    };
    store
        .finish_plan(&job, held, &Mailing::default(), at(2))
        .await
        .unwrap();
    let warning = Health {
        level: HealthLevel::Warning,
        problems: vec!["The last run is held: 5 users would lose access.".into()],
    };
    store.set_health(&token, &staff(), &warning).await.unwrap();
    store.release_lease(&token).await.unwrap();
    assert_eq!(store.run(&staff(), waiting).await.unwrap().state, RunState::Held);
    let due = due_run(&acme(), "staff", 100, None, 2);
    let started = store.start_due(due, "worker", TTL, at(100)).await.unwrap();
    assert!(matches!(started, DueStart::Started(..)));
    assert_eq!(
        store.run(&staff(), waiting).await.unwrap().state,
        RunState::Superseded
    );
    let sync = store.user_sync(&acme(), &sync_id("staff")).await.unwrap();
    assert_eq!(sync.health, Health::default(), "nothing waits for anybody");
}

/// Rows that PostgreSQL reads for a look that finds nothing, and for one that finds everything due.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_reads_as_much_with_thousands_of_tenants_as_with_one() {
    let engine = Engine::postgres();
    set_up(&engine.store().await).await;
    engine
        .sql(
            "INSERT INTO tenants SELECT (t).* FROM (SELECT jsonb_populate_record(t, jsonb_build_object('id', 'many-' || n)) t
                FROM tenants t, generate_series(1, 5000) n WHERE id = 'acme') many;
            INSERT INTO directories SELECT (d).* FROM (
                SELECT jsonb_populate_record(d, jsonb_build_object('tenant', 'many-' || n)) d
                FROM directories d, generate_series(1, 5000) n WHERE tenant = 'acme') many;
            INSERT INTO user_syncs SELECT (s).* FROM (
                SELECT jsonb_populate_record(s, jsonb_build_object('tenant', 'many-' || n)) s
                FROM user_syncs s, generate_series(1, 5000) n WHERE tenant = 'acme') many;
            ANALYZE;
            SELECT pg_stat_force_next_flush()",
        )
        .await;
    let opening = rows_read_by(&engine, async |_| {}).await;
    let looking = rows_read_by(&engine, async |store| {
        assert_eq!(turns(store, 99).await, [""; 0]);
        let tenants = store.tenants_in_turn(at(100), 16).await.unwrap();
        assert_eq!(tenants.len(), 16);
        let sync = store.next_due_of(&tenants[7], at(100), 9).await.unwrap().unwrap();
        assert!(start(store, &tenants[7], sync.id.as_str(), 100, Some(900), 100).await);
        store.pass_turn(&tenants[7], at(100)).await.unwrap();
        let cursor = DueCursor::default();
        assert_eq!(
            store.list_due(at(100), None, &cursor, 20).await.unwrap().0.len(),
            20
        );
    })
    .await;
    let read = looking - opening;
    assert!((50..500).contains(&read), "{read} rows were read");
}

/// Rows that a store of its own reads while it does this; it tells when it closes.
async fn rows_read_by(engine: &Engine, work: impl AsyncFn(&Store)) -> i64 {
    let before = rows_read(engine).await;
    let store = engine.store().await;
    work(&store).await;
    store.close().await;
    rows_read(engine).await - before
}

async fn rows_read(engine: &Engine) -> i64 {
    let connection = sea_orm::Database::connect(engine.url()).await.unwrap();
    let sql = "SELECT SUM(seq_tup_read + COALESCE(idx_tup_fetch, 0))::BIGINT AS rows FROM pg_stat_user_tables
        WHERE relname IN ('tenants', 'directories', 'user_syncs', 'tenant_turns', 'sync_runs')";
    let statement = Statement::from_string(connection.get_database_backend(), sql);
    let row = connection.query_one_raw(statement).await.unwrap().unwrap();
    row.try_get("", "rows").unwrap()
}
