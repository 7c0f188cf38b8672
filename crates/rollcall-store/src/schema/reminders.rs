//! What reminders have told, and when each tenant is looked at next.

use sea_orm_migration::{DbErr, MigrationName, MigrationTrait, SchemaManager, async_trait};

use sea_orm_migration::sea_orm::ConnectionTrait;

pub(super) struct Reminders;

impl MigrationName for Reminders {
    fn name(&self) -> &str {
        "m0034_reminders"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Reminders {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for statement in STATEMENTS {
            manager.get_connection().execute_unprepared(statement).await?;
        }
        Ok(())
    }
}

const STATEMENTS: [&str; 4] = [
    "CREATE TABLE reminders (
        tenant TEXT NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
        topic TEXT NOT NULL,
        stage BIGINT NOT NULL,
        message TEXT NOT NULL,
        tell_time BIGINT NOT NULL,
        state TEXT NOT NULL,
        PRIMARY KEY (tenant, topic)
    )",
    "ALTER TABLE tenants ADD COLUMN reminder_look_time BIGINT NOT NULL DEFAULT 0",
    "ALTER TABLE tenants ADD COLUMN reminder_summary_time BIGINT",
    "CREATE INDEX tenants_by_reminder_look ON tenants (reminder_look_time, id)",
];
