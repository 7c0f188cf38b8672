//! Audit events name for whom a calling service said that it acts.

use sea_orm_migration::sea_orm::ConnectionTrait;
use sea_orm_migration::{DbErr, MigrationName, MigrationTrait, SchemaManager, async_trait};

pub(super) struct Actors;

impl MigrationName for Actors {
    fn name(&self) -> &str {
        "m0010_actors"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Actors {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(STATEMENT).await?;
        Ok(())
    }
}

/// JSON; absent where the caller named nobody.
const STATEMENT: &str = "ALTER TABLE audit_events ADD COLUMN actor TEXT";
