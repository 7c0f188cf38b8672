//! The audit record in two steps. Rows are appended to `audit_unsealed`, which was the whole log before, as they
//! happen. Sealing moves them to `audit_events` (see `audit/seal.rs`). What can be erased is in a table of its own.
//! Triggers guard both tables against slips.

use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend};
use sea_orm_migration::{DbErr, MigrationName, MigrationTrait, SchemaManager, async_trait};

pub(super) struct SealedAudit;

impl MigrationName for SealedAudit {
    fn name(&self) -> &str {
        "m0019_sealed_audit"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for SealedAudit {
    #[expect(clippy::wildcard_enum_match_arm, reason = "of sea-orm: there are two")]
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        let (bytes, uuid, number, own) = match connection.get_database_backend() {
            DbBackend::Sqlite => ("BLOB", "BLOB", "INTEGER PRIMARY KEY", SQLITE),
            _ => ("BYTEA", "UUID", "BIGINT PRIMARY KEY", POSTGRES),
        };
        if connection.get_database_backend() == DbBackend::Postgres {
            // The new table gets a key of this name.
            let sql = "ALTER TABLE audit_events RENAME CONSTRAINT audit_events_pkey TO audit_unsealed_pkey";
            connection.execute_unprepared(sql).await?;
        }
        for statement in STATEMENTS.iter().chain(own) {
            let sql = statement
                .replace("{bytes}", bytes)
                .replace("{uuid}", uuid)
                .replace("{number}", number);
            connection.execute_unprepared(&sql).await?;
        }
        Ok(())
    }
}

const STATEMENTS: &[&str] = &[
    "DROP INDEX audit_events_by_tenant",
    "DROP INDEX audit_events_by_user",
    "ALTER TABLE audit_events RENAME TO audit_unsealed",
    "ALTER TABLE audit_unsealed RENAME COLUMN position TO id",
    // True if the personal data is erased.
    "ALTER TABLE audit_unsealed ADD COLUMN erased BOOLEAN NOT NULL DEFAULT FALSE",
    // A row has a method and a resource (a change) or an outcome and a reason (a login).
    "CREATE TABLE audit_events (
        position {number},
        id BIGINT NOT NULL,
        time BIGINT NOT NULL,
        tenant TEXT,
        caller TEXT NOT NULL,
        credential TEXT NOT NULL,
        method TEXT,
        resource TEXT,
        outcome TEXT,
        reason TEXT,
        user_id {uuid},
        user_sync TEXT,
        directory TEXT,
        digest {bytes} NOT NULL,
        hash {bytes} NOT NULL
    )",
    // For the feed of one tenant.
    "CREATE INDEX audit_events_by_position ON audit_events (tenant, position)",
    // For lists by time: each filter has an index in that order. The sum is for lists without a filter: PostgreSQL
    // would otherwise look through all events for those of a tenant to which nothing has happened for a while.
    "CREATE INDEX audit_events_by_time ON audit_events ((time + 0), id)",
    "CREATE INDEX audit_events_by_tenant ON audit_events (tenant, time, id)",
    "CREATE INDEX audit_events_by_user ON audit_events (user_id, time, id) WHERE user_id IS NOT NULL",
    "CREATE INDEX audit_events_by_caller ON audit_events (caller, time, id)",
    // One expression of two columns: PostgreSQL keeps statistics of it. For two separate columns that depend on each
    // other it would expect far too few rows, and sort all of them for each page.
    "CREATE INDEX audit_events_by_user_sync ON audit_events ((tenant || '/' || user_sync), time, id)
        WHERE user_sync IS NOT NULL",
    "CREATE INDEX audit_events_by_directory ON audit_events ((tenant || '/' || directory), time, id)
        WHERE directory IS NOT NULL",
    "CREATE INDEX audit_events_by_tenant_caller ON audit_events ((tenant || '/' || caller), time, id)",
    // Changes are few among the logins, so they have indexes of their own.
    "CREATE INDEX audit_changes_by_time ON audit_events ((time + 0), id) WHERE method IS NOT NULL",
    "CREATE INDEX audit_changes_by_tenant ON audit_events (tenant, time, id) WHERE method IS NOT NULL",
    "CREATE INDEX audit_changes_by_method ON audit_events (method, time, id) WHERE method IS NOT NULL",
    "CREATE INDEX audit_changes_by_tenant_method ON audit_events ((tenant || '/' || method), time, id)
        WHERE method IS NOT NULL",
    "CREATE INDEX audit_changes_by_resource ON audit_events (resource, time, id) WHERE method IS NOT NULL",
    // Failed logins are few as well.
    "CREATE INDEX audit_failures_by_outcome ON audit_events (outcome, time, id)
        WHERE outcome <> 'AUTHENTICATED'",
    "CREATE INDEX audit_failures_by_tenant_outcome ON audit_events ((tenant || '/' || outcome), time, id)
        WHERE outcome <> 'AUTHENTICATED'",
    "CREATE INDEX audit_failures_by_reason ON audit_events (reason, time, id)
        WHERE outcome <> 'AUTHENTICATED'",
    "CREATE INDEX audit_failures_by_tenant_reason ON audit_events ((tenant || '/' || reason), time, id)
        WHERE outcome <> 'AUTHENTICATED'",
    // The personal data of an event. It is erased by taking it and the salt out: without the salt, nobody can test
    // guesses against the digest. The mark of the erasure is keyed, so that nobody else can take something out
    // unnoticed.
    "CREATE TABLE audit_payloads (
        position {number},
        id BIGINT NOT NULL,
        time BIGINT NOT NULL,
        actor TEXT,
        client_address TEXT,
        salt {bytes} NOT NULL,
        erasure {bytes},
        payload TEXT NOT NULL
    )",
    "CREATE INDEX audit_payloads_by_actor ON audit_payloads (actor, time, id) WHERE actor IS NOT NULL",
    "CREATE INDEX audit_payloads_by_address ON audit_payloads (client_address, time, id)
        WHERE client_address IS NOT NULL",
    // The two ends of the chain: the newest sealed row, and the last row that retention deleted.
    "CREATE TABLE audit_ends (
        name TEXT PRIMARY KEY,
        position BIGINT NOT NULL,
        hash {bytes} NOT NULL,
        last_id BIGINT NOT NULL,
        signature {bytes} NOT NULL
    )",
    "INSERT INTO audit_ends VALUES ('head', 0, '', 0, ''), ('start', 0, '', 0, '')",
];

const SQLITE: &[&str] = &[
    "CREATE TRIGGER audit_events_stay_as_they_are BEFORE UPDATE ON audit_events
        BEGIN SELECT RAISE(ABORT, 'an audit event is never changed'); END",
    "CREATE TRIGGER audit_events_stay BEFORE DELETE ON audit_events
        WHEN OLD.position > (SELECT position FROM audit_ends WHERE name = 'start')
        BEGIN SELECT RAISE(ABORT, 'only retention deletes an audit event'); END",
    "CREATE TRIGGER audit_unsealed_stay_as_they_are BEFORE UPDATE ON audit_unsealed
        WHEN NOT NEW.erased OR NEW.id <> OLD.id OR NEW.time <> OLD.time OR NEW.tenant IS NOT OLD.tenant
            OR NEW.caller <> OLD.caller OR NEW.credential <> OLD.credential OR NEW.user_id IS NOT OLD.user_id
        BEGIN SELECT RAISE(ABORT, 'an audit event is never changed'); END",
    "CREATE TRIGGER audit_unsealed_stay BEFORE DELETE ON audit_unsealed
        WHEN OLD.id > (SELECT last_id FROM audit_ends WHERE name = 'head')
        BEGIN SELECT RAISE(ABORT, 'only sealing moves an audit event'); END",
];

const POSTGRES: &[&str] = &[
    "CREATE FUNCTION audit_events_guard() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF TG_OP = 'DELETE' THEN
            IF OLD.position <= (SELECT position FROM audit_ends WHERE name = 'start') THEN
                RETURN OLD;
            END IF;
        END IF;
        RAISE 'an audit event is never changed, and only retention deletes it';
    END $$",
    "CREATE TRIGGER audit_events_stay BEFORE UPDATE OR DELETE ON audit_events
        FOR EACH ROW EXECUTE FUNCTION audit_events_guard()",
    "CREATE TRIGGER audit_events_are_not_truncated BEFORE TRUNCATE ON audit_events
        FOR EACH STATEMENT EXECUTE FUNCTION audit_events_guard()",
    "CREATE FUNCTION audit_unsealed_guard() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF TG_OP = 'DELETE' THEN
            IF OLD.id <= (SELECT last_id FROM audit_ends WHERE name = 'head') THEN
                RETURN OLD;
            END IF;
        ELSIF TG_OP = 'UPDATE' THEN
            IF NEW.erased AND (NEW.id, NEW.time, NEW.tenant, NEW.caller, NEW.credential, NEW.user_id)
                IS NOT DISTINCT FROM (OLD.id, OLD.time, OLD.tenant, OLD.caller, OLD.credential, OLD.user_id) THEN
                RETURN NEW;
            END IF;
        END IF;
        RAISE 'an audit event is never changed, and only sealing moves it';
    END $$",
    "CREATE TRIGGER audit_unsealed_stay BEFORE UPDATE OR DELETE ON audit_unsealed
        FOR EACH ROW EXECUTE FUNCTION audit_unsealed_guard()",
    "CREATE TRIGGER audit_unsealed_are_not_truncated BEFORE TRUNCATE ON audit_unsealed
        FOR EACH STATEMENT EXECUTE FUNCTION audit_unsealed_guard()",
    // Retention calls this function, so that its role needs no right to delete an event. As its owner it deletes what
    // the start of the chain covers, and nothing else. The search path keeps a caller from putting its own tables in
    // the way.
    "DO $do$ BEGIN EXECUTE format($sql$
        CREATE FUNCTION audit_expire() RETURNS BIGINT LANGUAGE plpgsql SECURITY DEFINER
        SET search_path = %I, pg_temp AS $$ DECLARE deleted BIGINT; BEGIN
            DELETE FROM audit_events
                WHERE position <= (SELECT position FROM audit_ends WHERE name = 'start');
            GET DIAGNOSTICS deleted = ROW_COUNT;
            RETURN deleted;
        END $$
    $sql$, current_schema()); END $do$",
    "REVOKE ALL ON FUNCTION audit_expire() FROM PUBLIC",
];
