//! Indexes for lists, and for rows that are deleted by age.

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
        let level = health_level(Engine::of(connection));
        // User syncs that are not healthy, of all tenants.
        let by_health = format!("CREATE INDEX user_syncs_by_health ON user_syncs (({level}), tenant, id)");
        connection.execute_unprepared(&by_health).await?;
        for statement in STATEMENTS {
            connection.execute_unprepared(statement).await?;
        }
        Ok(())
    }
}

/// The level in `user_syncs.health`, as the index has it. PostgreSQL's JSON functions fail at U+0000, which a directory's words in it
/// may have; the level comes first.
pub(crate) fn health_level(engine: Engine) -> &'static str {
    match engine {
        Engine::Sqlite => "json_extract(health, '$.level')",
        Engine::Postgres => "split_part(health, '\"', 4)",
    }
}

const STATEMENTS: &[&str] = &[
    // The runs of all of a tenant's user syncs.
    "CREATE INDEX sync_runs_of_tenant ON sync_runs (tenant, create_time, id)",
    "CREATE INDEX sync_runs_by_end ON sync_runs (end_time) WHERE end_time IS NOT NULL",
];
