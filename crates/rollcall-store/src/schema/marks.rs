//! The head of a feed knows the digest of the last event that was deleted.

use sea_orm_migration::sea_orm::ConnectionTrait;
use sea_orm_migration::{DbErr, MigrationName, MigrationTrait, SchemaManager, async_trait};

pub(super) struct Marks;

impl MigrationName for Marks {
    fn name(&self) -> &str {
        "m0011_marks"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Marks {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(STATEMENT).await?;
        Ok(())
    }
}

/// Zero before the first event.
const STATEMENT: &str = "ALTER TABLE feed_heads ADD COLUMN expired_digest BIGINT NOT NULL DEFAULT 0";
