//! The tenant for which something that is due is started next.

use sea_orm_migration::sea_orm::ConnectionTrait;
use sea_orm_migration::{DbErr, MigrationName, MigrationTrait, SchemaManager, async_trait};

use crate::db::engine::Engine;

pub(super) struct TenantTurns;

impl MigrationName for TenantTurns {
    fn name(&self) -> &str {
        "m0018_tenant_turns"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for TenantTurns {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        let triggers = match Engine::of(connection) {
            Engine::Sqlite => SQLITE,
            Engine::Postgres => POSTGRES,
        };
        for statement in TABLE.iter().chain(triggers) {
            connection.execute_unprepared(statement).await?;
        }
        Ok(())
    }
}

// `turn` is not later than the time at which a user sync of the tenant becomes due, with one exception: a tenant that
// was served goes behind the others that wait. It may be earlier: a scheduler that then finds nothing due moves it on.
const TABLE: &[&str] = &[
    "CREATE TABLE tenant_turns (
        tenant TEXT NOT NULL PRIMARY KEY REFERENCES tenants (id) ON DELETE CASCADE,
        turn BIGINT
    )",
    "INSERT INTO tenant_turns SELECT tenant, MIN(next_run_time) FROM user_syncs GROUP BY tenant",
    "CREATE INDEX tenant_turns_by_turn ON tenant_turns (turn, tenant)",
    "CREATE INDEX user_syncs_due_of_tenant ON user_syncs (tenant, next_run_time)",
    "DROP INDEX user_syncs_due",
    "CREATE INDEX user_syncs_due ON user_syncs (next_run_time, tenant, id)",
];

// Triggers do it, since the former release must move turns too while both run, and no statement may be forgotten. They
// write even if nothing may change: a process that moves a turn on waits for them, and sees what they saw.

const SQLITE: &[&str] = &[
    "CREATE TRIGGER user_syncs_created_turn AFTER INSERT ON user_syncs
    WHEN NEW.next_run_time IS NOT NULL
    BEGIN
        INSERT INTO tenant_turns VALUES (NEW.tenant, NEW.next_run_time)
        ON CONFLICT (tenant) DO UPDATE SET turn = MIN(COALESCE(turn, excluded.turn), excluded.turn);
    END",
    "CREATE TRIGGER user_syncs_updated_turn
    AFTER UPDATE OF next_run_time, claim_end, auto_sync, disabled ON user_syncs
    WHEN NEW.next_run_time IS NOT NULL
    BEGIN
        INSERT INTO tenant_turns
        VALUES (NEW.tenant, MAX(NEW.next_run_time, COALESCE(NEW.claim_end, NEW.next_run_time)))
        ON CONFLICT (tenant) DO UPDATE SET turn = MIN(COALESCE(turn, excluded.turn), excluded.turn);
    END",
    "CREATE TRIGGER tenants_enabled_turn AFTER UPDATE OF user_sync_enabled ON tenants
    WHEN NEW.user_sync_enabled AND NOT OLD.user_sync_enabled
    BEGIN
        UPDATE tenant_turns SET turn = 0 WHERE tenant = NEW.id;
    END",
    "CREATE TRIGGER directories_enabled_turn AFTER UPDATE OF disabled ON directories
    WHEN OLD.disabled AND NOT NEW.disabled
    BEGIN
        UPDATE tenant_turns SET turn = 0 WHERE tenant = NEW.tenant;
    END",
];

const POSTGRES: &[&str] = &[
    "CREATE FUNCTION user_sync_turn() RETURNS TRIGGER LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO tenant_turns
        VALUES (NEW.tenant, GREATEST(NEW.next_run_time, NEW.claim_end))
        ON CONFLICT (tenant) DO UPDATE SET turn = LEAST(tenant_turns.turn, excluded.turn);
        RETURN NULL;
    END $$",
    "CREATE TRIGGER user_syncs_turn
    AFTER INSERT OR UPDATE OF next_run_time, claim_end, auto_sync, disabled ON user_syncs
    FOR EACH ROW WHEN (NEW.next_run_time IS NOT NULL) EXECUTE FUNCTION user_sync_turn()",
    "CREATE FUNCTION tenant_enabled_turn() RETURNS TRIGGER LANGUAGE plpgsql AS $$
    BEGIN
        UPDATE tenant_turns SET turn = 0 WHERE tenant = NEW.id;
        RETURN NULL;
    END $$",
    "CREATE TRIGGER tenants_enabled_turn AFTER UPDATE OF user_sync_enabled ON tenants
    FOR EACH ROW WHEN (NEW.user_sync_enabled AND NOT OLD.user_sync_enabled)
    EXECUTE FUNCTION tenant_enabled_turn()",
    "CREATE FUNCTION directory_enabled_turn() RETURNS TRIGGER LANGUAGE plpgsql AS $$
    BEGIN
        UPDATE tenant_turns SET turn = 0 WHERE tenant = NEW.tenant;
        RETURN NULL;
    END $$",
    "CREATE TRIGGER directories_enabled_turn AFTER UPDATE OF disabled ON directories
    FOR EACH ROW WHEN (OLD.disabled AND NOT NEW.disabled) EXECUTE FUNCTION directory_enabled_turn()",
];
