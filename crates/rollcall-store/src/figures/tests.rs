//! A look costs the same with ten thousand user syncs that are well as with ten.
#![allow(clippy::unwrap_used)]

use chrono::TimeDelta;
use rollcall_testkit::TestDatabase;
use sea_orm::ConnectionTrait;

use super::*;
use crate::db::engine::Engine;
use crate::db::query::{column, rows};
use crate::{Keyring, StoreOptions};

/// Tenants, each with a directory, a user sync, and a mail or a run in some.
const TENANTS: u32 = 10_000;
/// Rows that one step of a plan may give or pass over: what is counted, and nothing that is well.
const MOST_ROWS: f64 = 60.0;

async fn store(url: &str) -> Store {
    let keys = Keyring::parse("k1 AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=")
        .ok()
        .unwrap();
    let store = Store::connect(url, keys, StoreOptions::default()).await.unwrap();
    store.migrate().await.unwrap();
    store
}

fn asked() -> FiguresAsked {
    FiguresAsked {
        due: DateTime::UNIX_EPOCH + TimeDelta::seconds(1),
        password_set: DateTime::UNIX_EPOCH + TimeDelta::seconds(1),
    }
}

/// Of ten thousand tenants 20 are switched off, and of what is theirs everything is the oldest; of the others 20 are late, 20 never
/// had a success, 20 have an old password and 20 a run that is held; all else is well.
async fn fill(store: &Store) {
    let writer = &store.inner.database.writer;
    let (numbers, uuid) = match store.inner.database.engine {
        Engine::Sqlite => (
            format!(
                "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {TENANTS})"
            ),
            "unhex(printf('%032x', n))",
        ),
        Engine::Postgres => (
            format!("WITH numbers(n) AS (SELECT * FROM generate_series(1, {TENANTS}))"),
            "CAST(lpad(to_hex(n), 32, '0') AS uuid)",
        ),
    };
    for sql in [
        format!(
            "INSERT INTO tenants (id, display_name, user_sync_enabled, revision, create_time, update_time)
            {numbers} SELECT 'tenant' || n, 'Tenant', n > 20, 1, 0, 0 FROM numbers"
        ),
        format!(
            "INSERT INTO directories (tenant, id, disabled, settings, bind_password_update_time, endpoint_confirmed, observed,
                revision, create_time, update_time)
            {numbers} SELECT 'tenant' || n, 'main', FALSE, '{{}}',
                CASE WHEN n <= 20 THEN n WHEN n BETWEEN 101 AND 120 THEN 1000 + n ELSE 1000000000 + n END,
                TRUE, '{{}}', 1, 0, 0 FROM numbers"
        ),
        format!(
            "INSERT INTO user_syncs (tenant, id, directory, disabled, auto_sync, settings, revision, scope_revision,
                applied_scope_revision, last_complete_pull_time, next_run_time, health, create_time, update_time)
            {numbers} SELECT 'tenant' || n, 'staff', 'main', FALSE, TRUE, '{{}}', 1, 1, 1,
                CASE WHEN n <= 20 THEN n WHEN n BETWEEN 201 AND 220 THEN NULL ELSE 1000 + n END,
                CASE WHEN n <= 20 THEN n WHEN n BETWEEN 301 AND 320 THEN 1000 + n ELSE 1000000000 + n END,
                '{{}}', 0, 0 FROM numbers"
        ),
        format!(
            "INSERT INTO sync_runs (tenant, user_sync, id, state, mode, initiator, started_by, counts, issue_counts, hold_reasons,
                complete, user_sync_revision, directory_revision, chunks, applied_chunks, issue_count, cancel_requested, create_time)
            {numbers} SELECT 'tenant' || n, 'staff', {uuid}, CASE WHEN n BETWEEN 401 AND 420 THEN 'HELD' ELSE 'SUCCEEDED' END,
                'APPLY', 'SCHEDULE', '', '{{}}', '{{}}', '[]', TRUE, 1, 1, 0, 0, 0, FALSE, 0 FROM numbers"
        ),
        format!(
            "INSERT INTO mail_outbox (tenant, message, attempts, next_attempt_time, create_time)
            {numbers} SELECT 'tenant' || n, '{{}}', 0, 1000000000 - n, 1000 + n FROM numbers WHERE n <= 1500"
        ),
    ] {
        writer.execute_unprepared(&sql).await.unwrap();
    }
    // As autovacuum does; SQLite has no such thing, and plans without knowing.
    if store.inner.database.engine == Engine::Postgres {
        writer.execute_unprepared("VACUUM ANALYZE").await.unwrap();
    }
}

/// Each line of the plan.
async fn plan(store: &Store) -> Vec<String> {
    let (sql, values) = statement(asked());
    let reader = &store.inner.database.reader;
    match store.inner.database.engine {
        Engine::Postgres => column(reader, &format!("EXPLAIN ANALYZE {sql}"), values)
            .await
            .unwrap(),
        Engine::Sqlite => {
            #[derive(FromQueryResult)]
            struct Step {
                detail: String,
            }
            let steps: Vec<Step> = rows(reader, &format!("EXPLAIN QUERY PLAN {sql}"), values)
                .await
                .unwrap();
            steps.into_iter().map(|step| step.detail).collect()
        }
    }
}

/// Rows that a step of PostgreSQL's plan gave, or read for nothing.
fn rows_of(step: &str) -> f64 {
    let number = |text: &str, after: &str| {
        let (_, rest) = text.split_once(after)?;
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.');
        rest[..end.unwrap_or(rest.len())].parse::<f64>().ok()
    };
    let given = step
        .split_once("(actual")
        .and_then(|(_, actual)| Some(number(actual, "rows=")? * number(actual, "loops=").unwrap_or(1.0)));
    given.or(number(step, "Removed by Filter: ")).unwrap_or(0.0)
}

async fn a_look_reads_what_it_counts(store: &Store) {
    fill(store).await;
    let figures = store.figures(asked()).await.unwrap();
    let at = |micros| Some(DateTime::UNIX_EPOCH + TimeDelta::microseconds(micros));
    assert_eq!(
        figures,
        Figures {
            held: 20,
            late: 20,
            never: 20,
            oldest_success: at(1021),
            // As far as is counted.
            mails: 1_000,
            oldest_mail: at(1001),
            old_passwords: 20,
            oldest_password: at(1101),
        }
    );
    assert_eq!(store.scheduled_user_syncs().await.unwrap(), i64::from(TENANTS));
    let plan = plan(store).await;
    let said = plan.join("\n");
    match store.inner.database.engine {
        Engine::Sqlite => {
            // The outbox is read in the order of its positions, and no further than is counted; the others are of one row.
            let short = ["SCAN mail_outbox", "SCAN counted", "SCAN CONSTANT ROW"];
            let whole = |step: &&String| {
                step.starts_with("SCAN") && !short.iter().any(|known| step.starts_with(known))
            };
            assert_eq!(plan.iter().find(whole), None, "{said}");
            assert!(!said.contains("TEMP B-TREE"), "{said}");
            for index in [
                "user_syncs_due",
                "user_syncs_by_success",
                "directories_by_password_age",
                "sync_runs_by_state",
            ] {
                assert!(said.contains(index), "{index} is not in\n{said}");
            }
        }
        Engine::Postgres => {
            let many = |step: &&String| rows_of(step) > MOST_ROWS && !step.contains("mail_outbox");
            let mails = |step: &String| rows_of(step) == f64::from(MOST);
            let many: Vec<&String> = plan.iter().filter(many).filter(|step| !mails(step)).collect();
            assert!(many.is_empty(), "{many:#?}\n{said}");
        }
    }
}

#[tokio::test]
async fn a_look_reads_what_it_counts_on_sqlite() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", dir.path().join("rollcall.db").display());
    a_look_reads_what_it_counts(&store(&url).await).await;
}

#[tokio::test]
async fn a_look_reads_what_it_counts_on_postgresql() {
    let database = TestDatabase::new().unwrap();
    a_look_reads_what_it_counts(&store(database.url()).await).await;
}
