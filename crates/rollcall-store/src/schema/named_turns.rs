//! Turns of tenants are written by the names of their columns on SQLite, so that a later release can add one.

use sea_orm_migration::sea_orm::ConnectionTrait;
use sea_orm_migration::{DbErr, MigrationName, MigrationTrait, SchemaManager, async_trait};

use crate::db::engine::Engine;

pub(super) struct NamedTurns;

impl MigrationName for NamedTurns {
    fn name(&self) -> &str {
        "m0035_named_turns"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for NamedTurns {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        // PostgreSQL fills columns that an INSERT leaves out with their defaults.
        if Engine::of(connection) == Engine::Sqlite {
            for statement in STATEMENTS {
                connection.execute_unprepared(statement).await?;
            }
        }
        Ok(())
    }
}

// As in `tenant_turns.rs`, with the names of the columns.
const STATEMENTS: [&str; 4] = [
    "DROP TRIGGER user_syncs_created_turn",
    "DROP TRIGGER user_syncs_updated_turn",
    "CREATE TRIGGER user_syncs_created_turn AFTER INSERT ON user_syncs
    WHEN NEW.next_run_time IS NOT NULL
    BEGIN
        INSERT INTO tenant_turns (tenant, turn) VALUES (NEW.tenant, NEW.next_run_time)
        ON CONFLICT (tenant) DO UPDATE SET turn = MIN(COALESCE(turn, excluded.turn), excluded.turn);
    END",
    "CREATE TRIGGER user_syncs_updated_turn
    AFTER UPDATE OF next_run_time, claim_end, auto_sync, disabled ON user_syncs
    WHEN NEW.next_run_time IS NOT NULL
    BEGIN
        INSERT INTO tenant_turns (tenant, turn)
        VALUES (NEW.tenant, MAX(NEW.next_run_time, COALESCE(NEW.claim_end, NEW.next_run_time)))
        ON CONFLICT (tenant) DO UPDATE SET turn = MIN(COALESCE(turn, excluded.turn), excluded.turn);
    END",
];
