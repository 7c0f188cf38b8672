//! Indexes for lists, and for what is deleted by its age.

use sea_orm_migration::sea_orm::ConnectionTrait;
use sea_orm_migration::{DbErr, MigrationName, MigrationTrait, SchemaManager, async_trait};

use crate::db::engine::Engine;

pub(super) struct ListIndexes;

impl MigrationName for ListIndexes {
    fn name(&self) -> &str {
        "m0032_list_indexes"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for ListIndexes {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        // SQLite adds no stored column to a table that exists. PostgreSQL's JSON functions fail at U+0000, which a directory's
        // words in it may have; the level comes first.
        let level = match Engine::of(connection) {
            Engine::Sqlite => "json_extract(health, '$.level')) VIRTUAL",
            Engine::Postgres => "split_part(health, '\"', 4)) STORED",
        };
        let level =
            format!("ALTER TABLE user_syncs ADD COLUMN health_level TEXT GENERATED ALWAYS AS ({level}");
        connection.execute_unprepared(&level).await?;
        for statement in STATEMENTS {
            connection.execute_unprepared(statement).await?;
        }
        Ok(())
    }
}

const STATEMENTS: &[&str] = &[
    // Those that do not work, of all tenants.
    "CREATE INDEX user_syncs_by_health ON user_syncs (health_level, tenant, id)",
    // The runs of all of a tenant's user syncs.
    "CREATE INDEX sync_runs_of_tenant ON sync_runs (tenant, create_time, id)",
    "CREATE INDEX sync_runs_by_end ON sync_runs (end_time) WHERE end_time IS NOT NULL",
];
