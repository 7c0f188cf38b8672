//! Soft locks know from which addresses a user logged in lately.

use sea_orm_migration::sea_orm::ConnectionTrait;
use sea_orm_migration::{DbErr, MigrationName, MigrationTrait, SchemaManager, async_trait};

pub(super) struct OwnCounts;

impl MigrationName for OwnCounts {
    fn name(&self) -> &str {
        "m0007_own_counts"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for OwnCounts {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(STATEMENT).await?;
        Ok(())
    }
}

/// When a password was last right there; zero if never.
const STATEMENT: &str = "ALTER TABLE login_throttles ADD COLUMN proven_time BIGINT NOT NULL DEFAULT 0";
