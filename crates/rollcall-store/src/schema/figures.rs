//! Indexes for the figures of a deployment, which cost the same however many healthy user syncs and directories there
//! are.

use sea_orm_migration::sea_orm::ConnectionTrait;
use sea_orm_migration::{DbErr, MigrationName, MigrationTrait, SchemaManager, async_trait};

pub(super) struct Figures;

impl MigrationName for Figures {
    fn name(&self) -> &str {
        "m0031_figures"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Figures {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for statement in INDEXES {
            manager.get_connection().execute_unprepared(statement).await?;
        }
        Ok(())
    }
}

const INDEXES: [&str; 2] = [
    "CREATE INDEX user_syncs_by_success ON user_syncs (last_complete_pull_time) WHERE next_run_time IS NOT NULL",
    "CREATE INDEX directories_by_password_age ON directories (bind_password_update_time)
    WHERE bind_password_update_time IS NOT NULL",
];
