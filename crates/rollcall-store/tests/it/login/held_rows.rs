//! Sessions that hold the rows of one tenant's logins, on PostgreSQL: nobody else waits for them.

use std::time::Duration;

use chrono::TimeDelta;
use futures::future::join_all;
use rollcall_core::audit::{AuditKind, LoginOutcome, OwnReason};
use rollcall_core::id::TenantId;
use rollcall_core::soft_lock::{Settlement, SoftLockPolicy, SoftLockSubject};
use rollcall_store::{FinishLogin, NewAuditEvent, Reservation, Reserved, StoreError};
use rollcall_testkit::{IdleSession, wait_for};

use crate::engine::{Engine, Gateway};
use crate::fixture::*;
use crate::login::commit::finish;

/// More than there are queues of tenants.
const MANY: usize = 12;

fn beta() -> TenantId {
    tenant_id("beta")
}

fn slot(user: u128) -> [Reservation; 1] {
    [Reservation {
        subject: SoftLockSubject::User(user_id(user)),
        policy: SoftLockPolicy {
            limit: 1_000,
            window: TimeDelta::minutes(15),
            lock: TimeDelta::minutes(15),
            fixed: false,
        },
        shared: None,
        own: None,
    }]
}

/// A login from beginning to end.
async fn log_in(store: &Gateway, tenant: &TenantId, user: u128) -> Result<(), StoreError> {
    let reserved = store.logins.reserve(tenant, &slot(user)).await?;
    let Reserved::Taken(slots) = reserved else {
        panic!("no slot");
    };
    let mut end = finish("login", None);
    end.audit.tenant = Some(tenant.clone());
    let end = FinishLogin {
        tenant: Some(tenant.clone()),
        slots,
        settlement: Settlement::Success,
        ..end
    };
    store.logins.finish(end).await?;
    Ok(())
}

async fn refuse(store: &Gateway, tenant: &TenantId) -> Result<(), StoreError> {
    let event = NewAuditEvent {
        time: at(0),
        tenant: Some(tenant.clone()),
        caller: "product".into(),
        actor: Default::default(),
        kind: AuditKind::Login {
            outcome: LoginOutcome::Denied,
            reason: OwnReason::TooManyAttempts.into(),
            user: Some(user_id(1)),
            user_sync: None,
            directory: None,
            unknown_login: None,
            client_address: None,
            flood: None,
        },
    };
    let subject = SoftLockSubject::User(user_id(1));
    store.logins.record_refusal(tenant, &subject, event).await
}

/// A session that locks these rows and then does nothing.
fn hold(engine: &Engine, table: &str, tenants: &str) -> IdleSession {
    let Engine::Postgres(database) = engine else {
        panic!("rows are not locked on SQLite");
    };
    let sql = format!("SELECT 1 FROM {table} WHERE {tenants} ORDER BY tenant, subject FOR UPDATE");
    database.hold(&sql).unwrap()
}

/// The server takes a moment to notice that a session is gone.
async fn goes_on(works: impl AsyncFnMut() -> bool) {
    wait_for("it works again", Duration::from_secs(30), works)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_counter_keeps_nobody_else_s_logins_waiting() {
    let engine = Engine::postgres();
    let store = engine.gateway().await;
    for tenant in [acme(), beta()] {
        log_in(&store, &tenant, 1).await.unwrap();
    }
    let holder = hold(&engine, "login_throttles", "tenant = 'acme'");
    // At once, so that they share a batch.
    let (acme, beta) = (acme(), beta());
    let (held, others) = tokio::join!(
        join_all((0..20).map(|_| log_in(&store, &acme, 1))),
        join_all((0..20).map(|user| log_in(&store, &beta, user % 3 + 1))),
    );
    assert!(
        held.iter().all(|told| matches!(told, Err(StoreError::Locked))),
        "{held:?}"
    );
    assert!(others.iter().all(Result::is_ok), "{others:?}");
    // While acme has its queue, beta goes on.
    let waiting = tokio::spawn({
        let (store, acme) = (store.clone(), acme.clone());
        async move { log_in(&store, &acme, 1).await }
    });
    for _ in 0..50 {
        log_in(&store, &beta, 1).await.unwrap();
    }
    drop(holder);
    let _ = waiting.await.unwrap();
    goes_on(async || log_in(&store, &acme, 1).await.is_ok()).await;
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn held_refusals_keep_neither_logins_nor_others_refusals_waiting() {
    let engine = Engine::postgres();
    let store = engine.gateway().await;
    for tenant in [acme(), beta()] {
        log_in(&store, &tenant, 1).await.unwrap();
        refuse(&store, &tenant).await.unwrap();
    }
    let holder = hold(&engine, "login_refusals", "tenant = 'acme'");
    let (acme, beta) = (acme(), beta());
    let (held, others, logins) = tokio::join!(
        join_all((0..20).map(|_| refuse(&store, &acme))),
        join_all((0..20).map(|_| refuse(&store, &beta))),
        join_all((0..20).map(|_| log_in(&store, &beta, 1))),
    );
    assert!(
        held.iter().all(|told| matches!(told, Err(StoreError::Locked))),
        "{held:?}"
    );
    assert!(others.iter().all(Result::is_ok), "{others:?}");
    assert!(logins.iter().all(Result::is_ok), "{logins:?}");
    drop(holder);
    goes_on(async || refuse(&store, &acme).await.is_ok()).await;
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_held_tenants_than_lanes_fail_and_keep_nobody_waiting() {
    let engine = Engine::postgres();
    let store = engine.gateway().await;
    let tenants: Vec<TenantId> = (0..MANY)
        .map(|number| tenant_id(&format!("held-{number}")))
        .collect();
    for tenant in &tenants {
        log_in(&store, tenant, 1).await.unwrap();
    }
    log_in(&store, &beta(), 1).await.unwrap();
    let holder = hold(&engine, "login_throttles", "tenant LIKE 'held-%'");
    let told = join_all(tenants.iter().map(|tenant| log_in(&store, tenant, 1)));
    let beta = beta();
    let of_beta = join_all((0..20).map(|_| log_in(&store, &beta, 1)));
    let (told, of_beta) = tokio::join!(told, of_beta);
    assert!(
        told.iter().all(|told| matches!(told, Err(StoreError::Locked))),
        "{told:?}"
    );
    assert!(of_beta.iter().all(Result::is_ok), "{of_beta:?}");
    drop(holder);
    goes_on(async || {
        let told = join_all(tenants.iter().map(|tenant| log_in(&store, tenant, 1))).await;
        told.iter().all(Result::is_ok)
    })
    .await;
    store.close().await;
}
