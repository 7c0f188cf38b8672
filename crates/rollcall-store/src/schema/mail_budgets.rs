//! What mails may cost a tenant in a day, what admins were told last, and which mails about a run were not sent.

use sea_orm_migration::sea_orm::ConnectionTrait;
use sea_orm_migration::{DbErr, MigrationName, MigrationTrait, SchemaManager, async_trait};

pub(super) struct MailBudgets;

impl MigrationName for MailBudgets {
    fn name(&self) -> &str {
        "m0012_mail_budgets"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for MailBudgets {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for statement in STATEMENTS {
            manager.get_connection().execute_unprepared(statement).await?;
        }
        Ok(())
    }
}

const STATEMENTS: [&str; 3] = [
    "CREATE TABLE mail_budgets (
        tenant TEXT NOT NULL,
        purpose TEXT NOT NULL,
        day BIGINT NOT NULL,
        mails BIGINT NOT NULL,
        PRIMARY KEY (tenant, purpose)
    )",
    "ALTER TABLE user_syncs ADD COLUMN told TEXT NOT NULL DEFAULT '{}'",
    "ALTER TABLE sync_runs ADD COLUMN mails_withheld BIGINT NOT NULL DEFAULT 0",
];
