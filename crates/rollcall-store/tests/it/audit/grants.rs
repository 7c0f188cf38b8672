//! The services' role, with the grants of docs/operations.md.

use rollcall_core::audit::AuditFilter;
use rollcall_store::{Store, StoreOptions};

use super::sealing::{full, listed, seal};
use crate::engine::{Engine, KEY, keyring};
use crate::fixture::*;

const DOCS: &str = include_str!("../../../../../docs/operations.md");

/// The statements that the docs give, for a role of this test's own.
fn grants(role: &str) -> String {
    let blocks = DOCS.split("```sql\n").skip(1);
    let block = blocks
        .filter_map(|rest| rest.split_once("```"))
        .find(|(sql, _)| sql.contains("ON audit_events"));
    block.unwrap().0.replace("rollcall_service", role)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_services_role_touches_no_sealed_event_on_postgresql() {
    let engine = Engine::postgres();
    let owner = engine.store().await;
    let database = engine.url();
    let role = format!("service_of_{}", database.rsplit('/').next().unwrap());
    engine.sql(&format!("CREATE ROLE {role} LOGIN")).await;
    engine.sql(&grants(&role)).await;

    let (_, server) = database.split_once('@').unwrap();
    let url = format!("postgres://{role}@{server}");
    let keys = keyring(&format!("k1 {KEY}"));
    let store = Store::open(&url, keys, StoreOptions::default()).await.unwrap();
    set_up(&store).await;
    store.record_audit(&full()).await.unwrap();
    let head = seal(&store).await.unwrap().head;
    let refused = [
        "UPDATE audit_events SET caller = 'x'",
        "DELETE FROM audit_events",
        "TRUNCATE audit_events",
        "ALTER TABLE audit_events DISABLE TRIGGER USER",
        "DROP TRIGGER audit_events_stay ON audit_events",
    ];
    for sql in refused {
        let error = engine
            .try_sql(&format!("SET ROLE {role}; {sql}"))
            .await
            .unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("permission denied") || text.contains("must be owner"),
            "{sql}: {text}"
        );
    }
    // As EraseUser does.
    let payloads = format!(
        "SET ROLE {role}; UPDATE audit_payloads SET payload = payload WHERE position = {}",
        head.position
    );
    engine.sql(&payloads).await;
    let deleted = store.delete_old_audit(at(3), 100).await.unwrap();
    assert!(deleted > 0);
    let kept = store
        .list_audit(Some(&acme()), &AuditFilter::default(), &all())
        .await
        .unwrap();
    assert_eq!(kept.items.len(), 1, "what is of no tenant is not there");
    assert_eq!(listed(&owner).await.len() as u64 + deleted, head.position as u64);
    store
        .verify_audit(Some(&head), |fault| panic!("{fault:?}"))
        .await
        .unwrap();
    store.close().await;
    owner.close().await;
    engine
        .sql(&format!("DROP OWNED BY {role}; DROP ROLE {role}"))
        .await;
}
