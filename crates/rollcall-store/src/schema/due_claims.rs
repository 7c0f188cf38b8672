//! Which process starts a user sync that is due.

use sea_orm_migration::sea_orm::ConnectionTrait;
use sea_orm_migration::{DbErr, MigrationName, MigrationTrait, SchemaManager, async_trait};

pub(super) struct DueClaims;

impl MigrationName for DueClaims {
    fn name(&self) -> &str {
        "m0017_due_claims"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for DueClaims {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(CLAIM_END).await?;
        Ok(())
    }
}

// The end of a process's claim on starting the user sync; empty if there is no claim.
const CLAIM_END: &str = "ALTER TABLE user_syncs ADD COLUMN claim_end BIGINT";
