//! Deletions of user syncs that may be repeated after they broke off.

use sea_orm_migration::sea_orm::ConnectionTrait;
use sea_orm_migration::{DbErr, MigrationName, MigrationTrait, SchemaManager, async_trait};

pub(super) struct Deletions;

impl MigrationName for Deletions {
    fn name(&self) -> &str {
        "m0003_deletions"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Deletions {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(STATEMENT).await?;
        Ok(())
    }
}

/// The revision for which a deletion was asked that did not finish.
const STATEMENT: &str = "ALTER TABLE user_syncs ADD COLUMN deleting_revision BIGINT";
