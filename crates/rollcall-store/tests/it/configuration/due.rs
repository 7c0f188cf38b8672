//! What is due, whose turn it is, and who starts it.

use rollcall_core::id::{TenantId, UserSyncId, UserSyncKey};
use rollcall_store::{Due, DueClaim, DueCursor, Recorded, Store};
use sea_orm::{ConnectionTrait, Statement};

use crate::engine::{Engine, on_both};
use crate::fixture::*;

on_both! {
    what_is_due_is_what_may_run,
    a_directory_that_is_read_leaves_room_for_others,
    tenants_take_turns,
    a_turn_that_was_passed_comes_back_when_something_is_due,
    what_becomes_due_while_a_turn_is_passed_is_not_forgotten,
    a_turn_that_a_wrong_clock_moved_is_brought_forward,
    all_that_is_due_is_listed_in_portions,
    one_of_many_claims_a_due_sync,
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

fn claim_of(tenant: &TenantId, id: &UserSyncId, due: i64, end: i64) -> DueClaim {
    let key = UserSyncKey {
        tenant: tenant.clone(),
        user_sync: id.clone(),
    };
    DueClaim::new(&key, at(due), at(end))
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
            revision,
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
        .update_tenant(&acme(), revision, &tenant, record)
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
        .begin_pull(&handle(&token, &staff(), run_id(1)))
        .await
        .unwrap();
    assert_eq!(next(&store, &acme(), 1000, 1).await, None);
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
        let claim = DueClaim::new(&sync.key(), sync.next_run_time.unwrap(), at(9000));
        assert!(store.claim_due(&claim, at(seconds)).await.unwrap());
        store.settle_claim(&claim, Some(at(5000))).await.unwrap();
        served.push(format!("{tenant}/{}", sync.id));
    }
    let expected = [
        "acme/more0",
        "evil/staff",
        "acme/more1",
        "evil passes",
        "acme/more2",
        "acme/more3",
        "acme/staff",
        "acme passes",
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

    let forgotten = claim_of(&acme(), &sync_id("staff"), 100, 300);
    assert!(store.claim_due(&forgotten, at(200)).await.unwrap());
    store.pass_turn(&acme(), at(201)).await.unwrap();
    assert_eq!(turns(&store, 299).await, [""; 0]);
    assert_eq!(turns(&store, 300).await, ["acme"], "whoever claimed it has died");
    store.settle_claim(&forgotten, Some(at(100))).await.unwrap();
    assert_eq!(turns(&store, 201).await, ["acme"]);

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
        let claim = claim_of(&acme(), &sync_id(&id), 40, 400);
        assert!(store.claim_due(&claim, at(50)).await.unwrap());
        store.settle_claim(&claim, None).await.unwrap();
        store.pass_turn(&acme(), at(50)).await.unwrap();
    }
}

async fn a_turn_that_a_wrong_clock_moved_is_brought_forward(engine: Engine) {
    let store = engine.store().await;
    set_up(&store).await;
    create(&store, &acme(), "more", 100).await;
    let ahead = claim_of(&acme(), &sync_id("staff"), 100, 900_300);
    assert!(store.claim_due(&ahead, at(900_000)).await.unwrap());
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

async fn one_of_many_claims_a_due_sync(engine: Engine) {
    let (store, other) = (engine.store().await, engine.store().await);
    set_up(&store).await;
    let (tenant, sync) = (acme(), sync_id("staff"));
    let is_due = async |now| next(&store, &tenant, now, 9).await.is_some();
    let claim = |store: &Store, due, end, now| {
        let (store, claim) = (store.clone(), claim_of(&tenant, &sync, due, end));
        async move { store.claim_due(&claim, at(now)).await.unwrap().then_some(claim) }
    };
    assert!(
        claim(&store, 99, 200, 100).await.is_none(),
        "it is due at another time"
    );
    let (first, second) = tokio::join!(claim(&store, 100, 200, 100), claim(&other, 100, 201, 100));
    assert_ne!(first.is_some(), second.is_some());
    let forgotten = first.or(second).unwrap();
    assert!(!is_due(150).await);
    assert!(claim(&other, 100, 300, 150).await.is_none());
    // It ends by itself, and then is nothing more.
    assert!(is_due(201).await);
    let taken_over = claim(&other, 100, 300, 201).await.unwrap();
    store.settle_claim(&forgotten, Some(at(900))).await.unwrap();
    assert!(!is_due(250).await);
    // It came to nothing.
    other.settle_claim(&taken_over, Some(at(100))).await.unwrap();
    assert!(is_due(250).await);
    // The configuration sets a time of its own while the claim is held.
    let held = claim(&store, 100, 400, 250).await.unwrap();
    store
        .set_next_run_time(&tenant, &sync, Some(at(100)), Some(at(260)))
        .await
        .unwrap();
    store.settle_claim(&held, Some(at(900))).await.unwrap();
    assert!(is_due(260).await);
    let last = claim(&store, 260, 400, 260).await.unwrap();
    store.settle_claim(&last, None).await.unwrap();
    let settled = store.user_sync(&tenant, &sync).await.unwrap();
    assert_eq!((settled.next_run_time, settled.revision), (None, 1));
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
        let claim = DueClaim::new(&sync.key(), at(100), at(400));
        assert!(store.claim_due(&claim, at(100)).await.unwrap());
        store.settle_claim(&claim, Some(at(900))).await.unwrap();
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
