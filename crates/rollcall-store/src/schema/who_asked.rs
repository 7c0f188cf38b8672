//! Runs, user events and recorded reviews name the caller who asked for them, and the actor for whom the caller says
//! that it acts.

use sea_orm_migration::sea_orm::ConnectionTrait;
use sea_orm_migration::{DbErr, MigrationName, MigrationTrait, SchemaManager, async_trait};

pub(super) struct WhoAsked;

impl MigrationName for WhoAsked {
    fn name(&self) -> &str {
        "m0015_who_asked"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for WhoAsked {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for statement in STATEMENTS {
            manager.get_connection().execute_unprepared(statement).await?;
        }
        Ok(())
    }
}

/// JSON; absent if the caller named no actor, or if nobody decided anything.
const STATEMENTS: &[&str] = &[
    "ALTER TABLE sync_runs ADD COLUMN actor TEXT",
    "ALTER TABLE sync_runs ADD COLUMN released_by TEXT",
    "ALTER TABLE sync_runs ADD COLUMN cancelled_by TEXT",
    "ALTER TABLE user_events ADD COLUMN asked_by TEXT",
    "ALTER TABLE security_reviews ADD COLUMN actor TEXT",
];
