//! Deletions of tenants that may be repeated after they broke off.

use sea_orm_migration::sea_orm::ConnectionTrait;
use sea_orm_migration::{DbErr, MigrationName, MigrationTrait, SchemaManager, async_trait};

pub(super) struct TenantDeletions;

impl MigrationName for TenantDeletions {
    fn name(&self) -> &str {
        "m0013_tenant_deletions"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for TenantDeletions {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(STATEMENT).await?;
        Ok(())
    }
}

/// The revision for which a deletion was asked that did not finish.
const STATEMENT: &str = "ALTER TABLE tenants ADD COLUMN deleting_revision BIGINT";
