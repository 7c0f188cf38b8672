//! Each filter is served by its index, in order, whatever else is in the record.
#![allow(clippy::unwrap_used)]

use rollcall_core::id::UserId;
use rollcall_testkit::TestDatabase;
use sea_orm::{ConnectionTrait, DatabaseConnection};
use uuid::Uuid;

use super::*;
use crate::db::engine::Engine;
use crate::db::explain::{assert_by_index, plan};
use crate::{Keyring, StoreOptions};

/// So many that reading them all is never the better plan.
const EVENTS: u32 = 60_000;
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

/// Logins of twenty tenants, a change in every hundred, a failure in every thirty.
async fn fill(store: &Store) {
    let writer: &DatabaseConnection = &store.inner.database.writer;
    let (numbers, uuid) = match store.inner.database.engine {
        Engine::Sqlite => (
            format!(
                "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {EVENTS})"
            ),
            "unhex(printf('%032x', n % 5000))",
        ),
        Engine::Postgres => (
            format!("WITH numbers(n) AS (SELECT * FROM generate_series(1, {EVENTS}))"),
            "CAST(lpad(to_hex(n % 5000), 32, '0') AS uuid)",
        ),
    };
    let events = format!(
        "INSERT INTO audit_events (position, id, time, tenant, caller, credential, method, resource, outcome, reason,
            user_id, user_sync, directory, digest, hash)
        {numbers} SELECT n, n, n * 1000, 'tenant' || (n % 20), 'caller' || (n % 300), '',
            CASE WHEN n % 100 = 0 THEN 'Service.Method' || (n % 3000) END,
            CASE WHEN n % 100 = 0 THEN 'tenants/tenant' || (n % 20) || '/runs/' || (n % 7000) END,
            CASE WHEN n % 100 = 0 THEN NULL WHEN n % 3000 = 1 THEN 'ERROR' WHEN n % 30 = 1 THEN 'DENIED'
                ELSE 'AUTHENTICATED' END,
            CASE WHEN n % 100 = 0 THEN NULL WHEN n % 30 = 1 THEN 'REASON' || (n % 900) ELSE 'AUTHENTICATED' END,
            {uuid}, 'sync' || (n % 40), 'directory' || (n % 60), '', '' FROM numbers"
    );
    // Written as the former release did it: a trigger sets the tenant.
    let payloads = format!(
        "INSERT INTO audit_payloads (position, id, time, actor, client_address, salt, payload)
        {numbers} SELECT n, n, n * 1000, CASE WHEN n % 7 = 3 THEN 'support' WHEN n % 100 = 0 THEN 'actor' || (n % 900) END,
            CASE WHEN n % 7 = 4 THEN '203.0.113.9' WHEN n % 100 > 0 THEN '192.0.2.' || (n % 2000) END, '', '{{}}' FROM numbers"
    );
    for sql in [&events, &payloads] {
        writer.execute_unprepared(sql).await.unwrap();
    }
    if store.inner.database.engine == Engine::Postgres {
        // Autovacuum does this in production.
        writer
            .execute_unprepared("ANALYZE audit_events, audit_payloads")
            .await
            .unwrap();
    }
}

/// Filters, whether they are asked of one tenant, and the indexes of which one has to serve it.
fn cases() -> Vec<(AuditFilter, bool, &'static [&'static str])> {
    let none = AuditFilter::default;
    let text = |text: &str| Some(text.to_owned());
    let class = AuditFilter {
        class: Some(AuditClass::Change),
        ..none()
    };
    let method = AuditFilter {
        method: text("Service.Method300"),
        ..none()
    };
    let user = AuditFilter {
        user: Some(UserId(Uuid::from_u128(7))),
        ..none()
    };
    let actor = AuditFilter {
        actor: text("actor300"),
        ..none()
    };
    // Of all tenants.
    let support = AuditFilter {
        actor: text("support"),
        ..none()
    };
    let office = AuditFilter {
        client_address: text("203.0.113.9"),
        ..none()
    };
    let caller = AuditFilter {
        caller: text("caller7"),
        ..none()
    };
    let address = AuditFilter {
        client_address: text("192.0.2.7"),
        ..none()
    };
    let reason = AuditFilter {
        reason: text("REASON31"),
        ..none()
    };
    let outcome = AuditFilter {
        outcomes: vec![LoginOutcome::Error],
        ..none()
    };
    let about = |name, below| AuditFilter {
        about: About::new(name, below),
        ..none()
    };
    let time = AuditFilter {
        from: chrono::DateTime::from_timestamp_micros(30_000_000),
        to: chrono::DateTime::from_timestamp_micros(31_000_000),
        ..none()
    };
    vec![
        (none(), true, &["audit_events_by_tenant"]),
        (none(), false, &["audit_events_by_time"]),
        (time.clone(), true, &["audit_events_by_tenant"]),
        (time, false, &["audit_events_by_time"]),
        (class.clone(), true, &["audit_changes_by_tenant"]),
        (class, false, &["audit_changes_by_time"]),
        (method.clone(), true, &["audit_changes_by_tenant_method"]),
        (method, false, &["audit_changes_by_method"]),
        (user.clone(), true, &["audit_events_by_user"]),
        (user, false, &["audit_events_by_user"]),
        (actor.clone(), true, &["audit_payloads_by_tenant_actor"]),
        (actor, false, &["audit_payloads_by_actor"]),
        (support, true, &["audit_payloads_by_tenant_actor"]),
        (office, true, &["audit_payloads_by_tenant_address"]),
        (caller.clone(), true, &["audit_events_by_tenant_caller"]),
        (caller, false, &["audit_events_by_caller"]),
        (address.clone(), true, &["audit_payloads_by_tenant_address"]),
        (address, false, &["audit_payloads_by_address"]),
        (reason.clone(), true, &["audit_failures_by_tenant_reason"]),
        (reason, false, &["audit_failures_by_reason"]),
        (outcome.clone(), true, &["audit_failures_by_tenant_outcome"]),
        (outcome, false, &["audit_failures_by_outcome"]),
        (
            about("tenants/tenant7/userSyncs/sync7", false),
            true,
            &["audit_events_by_user_sync"],
        ),
        (
            about("tenants/tenant7/userSyncs/sync7", true),
            true,
            &["audit_events_by_user_sync"],
        ),
        (
            about("tenants/tenant7/directories/directory7", false),
            true,
            &["audit_events_by_directory"],
        ),
        (
            about("tenants/tenant7/userSyncs/sync7/runs/7", false),
            true,
            &["audit_changes_by_resource"],
        ),
        (
            about("tenants/tenant7", false),
            true,
            &["audit_changes_by_resource"],
        ),
    ]
}

async fn each_filter_has_its_index(store: &Store) {
    fill(store).await;
    let tenant = TenantId::parse("tenant7").unwrap();
    let engine = store.inner.database.engine;
    for (mut filter, of_tenant, indexes) in cases() {
        for order in [AuditOrder::NewestFirst, AuditOrder::OldestFirst] {
            filter.order = order;
            for after in [None, Some((30_000_000, 30_000))] {
                let outcome = filter.outcomes.first().copied();
                let whose = of_tenant.then_some(&tenant);
                let query = SealedQuery::new(store, whose, &filter, outcome, after);
                let (sql, values) = query.statement(&PageRequest::first(50));
                let what = format!("{filter:?} of a tenant: {of_tenant}\n{sql}");
                let reader = &store.inner.database.in_index_order().await.unwrap();
                let plan = plan(reader, (sql, values)).await;
                assert_by_index(engine, &plan, indexes, MOST_ROWS, &what);
            }
        }
    }
}

#[tokio::test]
async fn each_filter_has_its_index_on_sqlite() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", dir.path().join("rollcall.db").display());
    each_filter_has_its_index(&store(&url).await).await;
}

#[tokio::test]
async fn each_filter_has_its_index_on_postgresql() {
    let database = TestDatabase::new().unwrap();
    each_filter_has_its_index(&store(database.url()).await).await;
}
