//! The audit log names the token or the certificate that a caller showed.

use sea_orm_migration::sea_orm::ConnectionTrait;
use sea_orm_migration::{DbErr, MigrationName, MigrationTrait, SchemaManager, async_trait};

pub(super) struct Credentials;

impl MigrationName for Credentials {
    fn name(&self) -> &str {
        "m0009_credentials"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Credentials {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for statement in STATEMENTS {
            manager.get_connection().execute_unprepared(statement).await?;
        }
        Ok(())
    }
}

const STATEMENTS: [&str; 2] = [
    "ALTER TABLE audit_events ADD COLUMN credential TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE login_refusals ADD COLUMN credential TEXT NOT NULL DEFAULT ''",
];
