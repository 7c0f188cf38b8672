//! Each list is read in order by its index, in a database of many tenants and for a tenant that is larger than most.
//! With the row counts used here, the planner would choose another plan if it could.
#![allow(clippy::unwrap_used)]

use chrono::DateTime;
use rollcall_core::id::{TenantId, UserSyncId, Uuid};
use rollcall_core::issue::HealthLevel;
use rollcall_core::user::UserState;
use rollcall_testkit::TestDatabase;
use sea_orm::{ConnectionTrait, DatabaseConnection, TransactionTrait};

use crate::configuration::user_syncs::{UserSyncFilter, search};
use crate::db::engine::Engine;
use crate::db::explain::{assert_by_index, plan};
use crate::db::query::Statement;
use crate::page::PageRequest;
use crate::runs::deletion::old_runs;
use crate::runs::lifecycle::page_of_runs;
use crate::store::Store;
use crate::users::feed;
use crate::users::read::{UserFilter, UserSource, page_of_idle, page_of_users};
use crate::{Keyring, StoreOptions};

const TENANTS: u32 = 1_000;
const RUNS: u32 = 60_000;
/// A page of 50 takes no step with more rows, whatever else is there.
const MOST_ROWS: f64 = 500.0;

async fn store(url: &str) -> Store {
    let keys = Keyring::parse("k1 AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=")
        .ok()
        .unwrap();
    let store = Store::connect(url, keys, StoreOptions::default()).await.unwrap();
    store.migrate().await.unwrap();
    store
}

fn numbers(engine: Engine, most: u32) -> String {
    match engine {
        Engine::Sqlite => format!(
            "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {most})"
        ),
        Engine::Postgres => format!("WITH numbers(n) AS (SELECT * FROM generate_series(1, {most}))"),
    }
}

fn uuid(engine: Engine) -> &'static str {
    match engine {
        Engine::Sqlite => "unhex(printf('%032x', n))",
        Engine::Postgres => "CAST(lpad(to_hex(n), 32, '0') AS uuid)",
    }
}

/// Two user syncs in each tenant, one in fifty broken; half of all runs, events and users are of one tenant.
async fn fill(store: &Store) {
    let writer: &DatabaseConnection = &store.inner.database.writer;
    let engine = store.inner.database.engine;
    let (tenants, syncs, runs) = (
        numbers(engine, TENANTS),
        numbers(engine, 2 * TENANTS),
        numbers(engine, RUNS),
    );
    let of_run = format!("'tenant' || (CASE WHEN n % 2 = 0 THEN 7 ELSE n % {TENANTS} END)");
    let uuid = uuid(engine);
    let analyze = match engine {
        Engine::Sqlite => "ANALYZE",
        // Autovacuum does this in production.
        Engine::Postgres => "ANALYZE tenants, user_syncs, sync_runs, user_events, users, last_logins",
    };
    for sql in [
        format!(
            "INSERT INTO tenants (id, display_name, user_sync_enabled, revision, create_time, update_time)
            {tenants} SELECT 'tenant' || (n - 1), '', true, 1, 0, 0 FROM numbers"
        ),
        format!(
            "INSERT INTO directories (tenant, id, disabled, settings, endpoint_confirmed, observed, revision,
                create_time, update_time)
            {tenants} SELECT 'tenant' || (n - 1), 'main', false, '{{}}', true, '{{}}', 1, 0, 0 FROM numbers"
        ),
        format!(
            "INSERT INTO user_syncs (tenant, id, directory, disabled, auto_sync, settings, revision, scope_revision,
                applied_scope_revision, health, create_time, update_time)
            {syncs} SELECT 'tenant' || (n % {TENANTS}), 'sync' || (n / {TENANTS}), 'main', false, true, '{{}}', 1, 1, 0,
                '{{\"level\":\"' || (CASE WHEN n % 50 = 0 THEN 'ERROR' ELSE 'OK' END) || '\",\"problems\":[]}}', 0, 0
            FROM numbers"
        ),
        format!(
            "INSERT INTO sync_runs (tenant, user_sync, id, state, mode, initiator, started_by, counts, issue_counts,
                hold_reasons, complete, user_sync_revision, directory_revision, chunks, applied_chunks, issue_count,
                cancel_requested, create_time, end_time)
            {runs} SELECT {of_run}, 'sync' || (n % 20), {uuid}, 'SUCCEEDED', 'APPLY', 'SCHEDULE', '', '{{}}', '{{}}',
                '[]', true, 1, 1, 0, 0, 0, false, n * 1000,
                CASE WHEN n % 100 = 0 THEN n ELSE 1000000000 + n * 1000 END
            FROM numbers"
        ),
        format!(
            "INSERT INTO user_events (position, tenant, tenant_position, event_type, user_id, user_after, changes, time)
            {runs} SELECT n, {of_run}, n, 'UPDATED', {uuid}, '{{}}', '[]', n FROM numbers"
        ),
        format!(
            "INSERT INTO users (tenant, id, user_sync, linked, details, state, owner, block_time, revision, create_time,
                update_time)
            {runs} SELECT {of_run}, {uuid}, 'sync' || (n % 20), false,
                '{{\"profile\":{{\"login\":\"' || n || '\",\"role\":\"' ||
                    (CASE n % 800 WHEN 12 THEN 'auditor' ELSE 'user' END) || '\"}}}}',
                CASE n % 500 WHEN 8 THEN 'DEACTIVATED' WHEN 10 THEN 'ARCHIVED' ELSE 'ACTIVE' END,
                n % 900 = 2, CASE WHEN n % 700 = 4 THEN n END, 1, 0, 0
            FROM numbers"
        ),
        // All but one in a thousand logged in, and few of those not lately.
        format!(
            "UPDATE last_logins SET time = n * 1000 FROM ({runs} SELECT n, {uuid} AS id FROM numbers) logins
            WHERE user_id = id AND n % 1000 <> 6"
        ),
        analyze.to_owned(),
    ] {
        writer.execute_unprepared(&sql).await.unwrap();
    }
}

/// Queries, whether they are asked where reading follows an index, and the indexes of which one has to serve them.
fn cases(engine: Engine) -> Vec<(Statement, bool, &'static [&'static str])> {
    let tenant = TenantId::parse("tenant7").unwrap();
    let sync = UserSyncId::parse("sync7").unwrap();
    let of_one = Some(&tenant);
    let page = PageRequest::first(50);
    let any = UserSyncFilter::default();
    let broken = UserSyncFilter {
        health: vec![HealthLevel::Error],
        ..UserSyncFilter::default()
    };
    let users = |of_tenant, filter: UserFilter| {
        let after = ("tenant7".to_owned(), Uuid::nil());
        page_of_users(engine, of_tenant, after, &filter, &page)
    };
    let every = UserFilter::default;
    let owners = || UserFilter {
        owner: Some(true),
        ..every()
    };
    let blocked = || UserFilter {
        blocked: Some(true),
        ..every()
    };
    let of_role = |role: &str| UserFilter {
        role: Some(role.to_owned()),
        ..every()
    };
    let of_states = |states: &[UserState]| UserFilter {
        states: states.to_vec(),
        ..every()
    };
    let of_sync = UserFilter {
        user_sync: Some(UserSyncId::parse("sync7").unwrap()),
        ..every()
    };
    let idle = |filter: UserFilter| {
        let after = ("tenant7".to_owned(), i64::MIN, Uuid::nil());
        page_of_idle(engine, true, after, &filter, &page)
    };
    let never = || UserFilter {
        never_logged_in: true,
        ..every()
    };
    let not_since = || UserFilter {
        no_login_since: DateTime::from_timestamp_micros(200_000),
        ..every()
    };
    let idle_of_states = UserFilter {
        states: vec![UserState::Active],
        source: Some(UserSource::Synced),
        ..not_since()
    };
    let by_login: &[&str] = &["last_logins_by_time"];
    let by_id: &[&str] = &["users_pkey", "sqlite_autoindex_users_1"];
    vec![
        (
            search(engine, None, &broken, &page).unwrap(),
            false,
            &["user_syncs_by_health"],
        ),
        (
            search(engine, None, &any, &page).unwrap(),
            false,
            &["user_syncs_pkey", "sqlite_autoindex_user_syncs_1"],
        ),
        (
            page_of_runs(&tenant, None, &page).unwrap(),
            true,
            &["sync_runs_of_tenant"],
        ),
        (
            page_of_runs(&tenant, Some(&sync), &page).unwrap(),
            true,
            &["sync_runs_by_time"],
        ),
        (
            old_runs(DateTime::from_timestamp_micros(100_000).unwrap(), 100),
            false,
            &["sync_runs_by_end"],
        ),
        (feed::part(of_one, 5_000, 50), true, &["user_events_by_tenant"]),
        (users(true, every()), true, by_id),
        (users(false, every()), true, by_id),
        (users(true, of_states(&[UserState::Active])), true, by_id),
        (users(true, owners()), true, &["users_that_own"]),
        (users(false, owners()), true, &["users_that_own"]),
        (users(true, blocked()), true, &["users_blocked"]),
        (
            users(true, of_states(&[UserState::Deactivated])),
            true,
            &["users_by_state"],
        ),
        (
            users(false, of_states(&[UserState::Archived])),
            true,
            &["users_by_state"],
        ),
        (users(true, of_role("auditor")), true, &["users_by_role"]),
        (users(false, of_role("auditor")), true, &["users_by_role"]),
        // Nobody has it.
        (users(true, of_role("boss")), true, &["users_by_role"]),
        (users(true, of_sync), true, &["users_by_user_sync"]),
        (idle(never()), true, by_login),
        (idle(not_since()), true, by_login),
        (idle(idle_of_states), true, by_login),
        // When nothing is old.
        (
            old_runs(DateTime::from_timestamp_micros(1).unwrap(), 100),
            false,
            &["sync_runs_by_end"],
        ),
    ]
}

async fn each_list_has_its_index(store: &Store) {
    fill(store).await;
    let engine = store.inner.database.engine;
    for ((sql, values), in_order, indexes) in cases(engine) {
        let database = &store.inner.database;
        let reader = match in_order {
            true => database.in_index_order().await.unwrap(),
            false => database.reader.begin().await.unwrap(),
        };
        let what = sql.clone();
        let plan = plan(&reader, (sql, values)).await;
        assert_by_index(engine, &plan, indexes, MOST_ROWS, &what);
    }
}

#[tokio::test]
async fn each_list_has_its_index_on_sqlite() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", dir.path().join("rollcall.db").display());
    each_list_has_its_index(&store(&url).await).await;
}

#[tokio::test]
async fn each_list_has_its_index_on_postgresql() {
    let database = TestDatabase::new().unwrap();
    each_list_has_its_index(&store(database.url()).await).await;
}
