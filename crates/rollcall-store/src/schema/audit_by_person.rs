//! Which tenant an audit event's payload belongs to: the events of one actor or one address in a tenant are found by
//! index.

use sea_orm_migration::sea_orm::ConnectionTrait;
use sea_orm_migration::{DbErr, MigrationName, MigrationTrait, SchemaManager, async_trait};

use crate::db::engine::Engine;

pub(super) struct AuditByPerson;

impl MigrationName for AuditByPerson {
    fn name(&self) -> &str {
        "m0036_audit_by_person"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for AuditByPerson {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        let trigger = match Engine::of(connection) {
            Engine::Sqlite => SQLITE,
            Engine::Postgres => POSTGRES,
        };
        for statement in STATEMENTS.iter().chain(trigger) {
            connection.execute_unprepared(statement).await?;
        }
        Ok(())
    }
}

// One expression of two columns, as in the indexes of `audit_events`.
const STATEMENTS: &[&str] = &[
    "ALTER TABLE audit_payloads ADD COLUMN tenant TEXT",
    "UPDATE audit_payloads
        SET tenant = (SELECT e.tenant FROM audit_events e WHERE e.position = audit_payloads.position)",
    "CREATE INDEX audit_payloads_by_tenant_actor ON audit_payloads ((tenant || '/' || actor), time, id)
        WHERE actor IS NOT NULL",
    "CREATE INDEX audit_payloads_by_tenant_address
        ON audit_payloads ((tenant || '/' || client_address), time, id)
        WHERE client_address IS NOT NULL",
];

// Triggers set the tenant, since the former release, which does not, seals too while both run.

const SQLITE: &[&str] = &[
    "CREATE TRIGGER audit_payloads_of_tenant AFTER INSERT ON audit_payloads
    WHEN NEW.tenant IS NULL
    BEGIN
        UPDATE audit_payloads SET tenant = (SELECT tenant FROM audit_events WHERE position = NEW.position)
        WHERE position = NEW.position;
    END",
];

const POSTGRES: &[&str] = &[
    "CREATE FUNCTION audit_payload_of_tenant() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        NEW.tenant := (SELECT tenant FROM audit_events WHERE position = NEW.position);
        RETURN NEW;
    END $$",
    "CREATE TRIGGER audit_payloads_of_tenant BEFORE INSERT ON audit_payloads
    FOR EACH ROW WHEN (NEW.tenant IS NULL) EXECUTE FUNCTION audit_payload_of_tenant()",
];
