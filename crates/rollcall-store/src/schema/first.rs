//! The first schema. Written as SQL, since it is read more often than it is changed; `{bytes}` and `{uuid}`
//! stand for the engine's types.
//!
//! Texts that a directory or a person wrote are inside JSON columns: PostgreSQL's TEXT refuses U+0000, which
//! JSON escapes, so no entry of a hostile directory can make a statement fail.

use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend};
use sea_orm_migration::{DbErr, MigrationName, MigrationTrait, SchemaManager, async_trait};

pub(super) struct First;

impl MigrationName for First {
    fn name(&self) -> &str {
        "m0001_first"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for First {
    #[expect(clippy::wildcard_enum_match_arm, reason = "of sea-orm: there are two")]
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        let (bytes, uuid, serial) = match connection.get_database_backend() {
            DbBackend::Sqlite => ("BLOB", "BLOB", "INTEGER PRIMARY KEY AUTOINCREMENT"),
            _ => ("BYTEA", "UUID", "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"),
        };
        for statement in STATEMENTS {
            let sql = statement
                .replace("{bytes}", bytes)
                .replace("{uuid}", uuid)
                .replace("{serial}", serial);
            connection.execute_unprepared(&sql).await?;
        }
        Ok(())
    }
}

const STATEMENTS: &[&str] = &[
    "CREATE TABLE tenants (
        id TEXT PRIMARY KEY,
        display_name TEXT NOT NULL,
        user_sync_enabled BOOLEAN NOT NULL,
        revision BIGINT NOT NULL,
        create_time BIGINT NOT NULL,
        update_time BIGINT NOT NULL
    )",
    // A verified domain sends logins to its tenant, so it belongs to one tenant of the whole deployment.
    "CREATE TABLE tenant_domains (
        domain TEXT PRIMARY KEY,
        tenant TEXT NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
        ordinal BIGINT NOT NULL
    )",
    "CREATE INDEX tenant_domains_by_tenant ON tenant_domains (tenant, ordinal)",
    "CREATE TABLE directories (
        tenant TEXT NOT NULL REFERENCES tenants (id),
        id TEXT NOT NULL,
        disabled BOOLEAN NOT NULL,
        settings TEXT NOT NULL,
        bind_password {bytes},
        bind_password_update_time BIGINT,
        bind_password_strength TEXT,
        client_key {bytes},
        endpoint_confirmed BOOLEAN NOT NULL,
        observed TEXT NOT NULL,
        observe_time BIGINT,
        revision BIGINT NOT NULL,
        create_time BIGINT NOT NULL,
        update_time BIGINT NOT NULL,
        PRIMARY KEY (tenant, id)
    )",
    "CREATE TABLE user_syncs (
        tenant TEXT NOT NULL REFERENCES tenants (id),
        id TEXT NOT NULL,
        directory TEXT NOT NULL,
        disabled BOOLEAN NOT NULL,
        auto_sync BOOLEAN NOT NULL,
        settings TEXT NOT NULL,
        revision BIGINT NOT NULL,
        scope_revision BIGINT NOT NULL,
        applied_scope_revision BIGINT NOT NULL,
        last_complete_pull_time BIGINT,
        last_run {uuid},
        next_run_time BIGINT,
        health TEXT NOT NULL,
        create_time BIGINT NOT NULL,
        update_time BIGINT NOT NULL,
        PRIMARY KEY (tenant, id),
        FOREIGN KEY (tenant, directory) REFERENCES directories (tenant, id)
    )",
    "CREATE INDEX user_syncs_by_directory ON user_syncs (tenant, directory)",
    "CREATE INDEX user_syncs_due ON user_syncs (next_run_time)",
    "CREATE TABLE users (
        tenant TEXT NOT NULL REFERENCES tenants (id),
        id {uuid} NOT NULL,
        user_sync TEXT,
        directory TEXT,
        id_kind TEXT,
        external_id {bytes},
        linked BOOLEAN NOT NULL,
        details TEXT NOT NULL,
        state TEXT NOT NULL,
        state_reason TEXT,
        owner BOOLEAN NOT NULL,
        block_time BIGINT,
        fingerprint {bytes},
        revision BIGINT NOT NULL,
        create_time BIGINT NOT NULL,
        update_time BIGINT NOT NULL,
        PRIMARY KEY (tenant, id)
    )",
    "CREATE UNIQUE INDEX users_by_external_id ON users (tenant, directory, id_kind, external_id)",
    "CREATE INDEX users_by_user_sync ON users (tenant, user_sync, id)",
    // Logins and e-mail addresses share one space. `scope` is the tenant, or empty where identifiers are
    // unique in the whole deployment.
    "CREATE TABLE user_identifiers (
        scope TEXT NOT NULL,
        identifier TEXT NOT NULL,
        tenant TEXT NOT NULL,
        user_id {uuid} NOT NULL,
        PRIMARY KEY (scope, identifier)
    )",
    "CREATE INDEX user_identifiers_by_user ON user_identifiers (tenant, user_id)",
    // The newest position of each feed, and the newest position whose event was deleted. '' is the deployment's feed.
    "CREATE TABLE feed_heads (
        feed TEXT PRIMARY KEY,
        position BIGINT NOT NULL,
        expired BIGINT NOT NULL
    )",
    "CREATE TABLE user_events (
        position BIGINT PRIMARY KEY,
        tenant TEXT NOT NULL,
        tenant_position BIGINT NOT NULL,
        event_type TEXT NOT NULL,
        user_id {uuid} NOT NULL,
        user_after TEXT NOT NULL,
        changes TEXT NOT NULL,
        run {uuid},
        user_sync TEXT,
        time BIGINT NOT NULL
    )",
    "CREATE UNIQUE INDEX user_events_by_tenant ON user_events (tenant, tenant_position)",
    "CREATE INDEX user_events_by_user_sync ON user_events (tenant, user_sync, time)",
    "CREATE TABLE leases (
        name TEXT PRIMARY KEY,
        holder TEXT NOT NULL,
        token BIGINT NOT NULL,
        expire_time BIGINT NOT NULL
    )",
    "CREATE TABLE sync_runs (
        tenant TEXT NOT NULL REFERENCES tenants (id),
        user_sync TEXT NOT NULL,
        id {uuid} NOT NULL,
        state TEXT NOT NULL,
        mode TEXT NOT NULL,
        initiator TEXT NOT NULL,
        started_by TEXT NOT NULL,
        counts TEXT NOT NULL,
        issue_counts TEXT NOT NULL,
        hold_reasons TEXT NOT NULL,
        failure TEXT,
        complete BOOLEAN NOT NULL,
        user_sync_revision BIGINT NOT NULL,
        directory_revision BIGINT NOT NULL,
        chunks BIGINT NOT NULL,
        applied_chunks BIGINT NOT NULL,
        issue_count BIGINT NOT NULL,
        cancel_requested BOOLEAN NOT NULL,
        create_time BIGINT NOT NULL,
        plan_time BIGINT,
        end_time BIGINT,
        expire_time BIGINT,
        PRIMARY KEY (tenant, user_sync, id)
    )",
    "CREATE INDEX sync_runs_by_time ON sync_runs (tenant, user_sync, create_time, id)",
    "CREATE INDEX sync_runs_by_state ON sync_runs (state, expire_time)",
    "CREATE TABLE sync_plan_chunks (
        tenant TEXT NOT NULL,
        user_sync TEXT NOT NULL,
        run {uuid} NOT NULL,
        chunk BIGINT NOT NULL,
        kinds BIGINT NOT NULL,
        changes {bytes} NOT NULL,
        PRIMARY KEY (tenant, user_sync, run, chunk),
        FOREIGN KEY (tenant, user_sync, run) REFERENCES sync_runs (tenant, user_sync, id) ON DELETE CASCADE
    )",
    "CREATE TABLE sync_run_issues (
        tenant TEXT NOT NULL,
        user_sync TEXT NOT NULL,
        run {uuid} NOT NULL,
        issue BIGINT NOT NULL,
        kind TEXT NOT NULL,
        details TEXT NOT NULL,
        PRIMARY KEY (tenant, user_sync, run, issue),
        FOREIGN KEY (tenant, user_sync, run) REFERENCES sync_runs (tenant, user_sync, id) ON DELETE CASCADE
    )",
    "CREATE TABLE login_throttles (
        tenant TEXT NOT NULL,
        subject TEXT NOT NULL,
        window_start BIGINT NOT NULL,
        failures BIGINT NOT NULL,
        reserved BIGINT NOT NULL,
        PRIMARY KEY (tenant, subject)
    )",
    "CREATE INDEX login_throttles_by_age ON login_throttles (window_start)",
    "CREATE TABLE audit_events (
        position {serial},
        time BIGINT NOT NULL,
        tenant TEXT,
        caller TEXT NOT NULL,
        user_id {uuid},
        details TEXT NOT NULL
    )",
    "CREATE INDEX audit_events_by_tenant ON audit_events (tenant, position)",
    "CREATE INDEX audit_events_by_user ON audit_events (tenant, user_id, position)",
    "CREATE TABLE check_results (
        tenant TEXT NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
        subject TEXT NOT NULL,
        report TEXT NOT NULL,
        time BIGINT NOT NULL,
        PRIMARY KEY (tenant, subject)
    )",
    "CREATE TABLE security_reviews (
        position {serial},
        tenant TEXT NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
        reviewer TEXT NOT NULL,
        seen TEXT NOT NULL,
        time BIGINT NOT NULL
    )",
    "CREATE INDEX security_reviews_by_tenant ON security_reviews (tenant, position)",
    "CREATE TABLE mail_outbox (
        position {serial},
        tenant TEXT NOT NULL,
        message TEXT NOT NULL,
        attempts BIGINT NOT NULL,
        next_attempt_time BIGINT NOT NULL,
        create_time BIGINT NOT NULL
    )",
    "CREATE INDEX mail_outbox_due ON mail_outbox (next_attempt_time)",
];
