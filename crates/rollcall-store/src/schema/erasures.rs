//! People who are erased: how they are found in what is kept, and who must not be taken from a directory again.

use sea_orm_migration::sea_orm::ConnectionTrait;
use sea_orm_migration::{DbErr, MigrationName, MigrationTrait, SchemaManager, async_trait};

use crate::db::engine::Engine;

pub(super) struct Erasures;

impl MigrationName for Erasures {
    fn name(&self) -> &str {
        "m0016_erasures"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Erasures {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        let (bytes, uuid) = match Engine::of(connection) {
            Engine::Sqlite => ("BLOB", "BLOB"),
            Engine::Postgres => ("BYTEA", "UUID"),
        };
        for statement in STATEMENTS {
            let sql = statement.replace("{bytes}", bytes).replace("{uuid}", uuid);
            connection.execute_unprepared(&sql).await?;
        }
        Ok(())
    }
}

const STATEMENTS: &[&str] = &[
    // What a person who is erased is found by, sealed. The row goes once nothing can be written about the person any
    // more.
    "CREATE TABLE erasures (
        tenant TEXT NOT NULL,
        user_id {uuid} NOT NULL,
        person {bytes} NOT NULL,
        create_time BIGINT NOT NULL,
        PRIMARY KEY (tenant, user_id)
    )",
    // Keyed hashes of external ids.
    "CREATE TABLE exclusions (
        tenant TEXT NOT NULL,
        directory TEXT NOT NULL,
        person {bytes} NOT NULL,
        create_time BIGINT NOT NULL,
        PRIMARY KEY (tenant, directory, person),
        FOREIGN KEY (tenant, directory) REFERENCES directories (tenant, id) ON DELETE CASCADE
    )",
    // In microseconds; absent for never. It is in the settings too; this column is for the index by which users to
    // erase are found.
    "ALTER TABLE user_syncs ADD COLUMN erase_after BIGINT",
    "CREATE INDEX user_syncs_erasing ON user_syncs (tenant, id) WHERE erase_after IS NOT NULL",
    "CREATE INDEX users_left ON users (tenant, user_sync, update_time)
        WHERE state_reason IN ('GONE', 'OUT_OF_SCOPE')",
    "CREATE INDEX user_events_by_user ON user_events (tenant, user_id)",
    "CREATE INDEX user_events_asked ON user_events (tenant, position) WHERE asked_by IS NOT NULL",
];
