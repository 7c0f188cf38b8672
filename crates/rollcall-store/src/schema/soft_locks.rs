//! Soft locks that count from the last failure on, and refusals that are counted before they are audited.

use sea_orm_migration::sea_orm::ConnectionTrait;
use sea_orm_migration::{DbErr, MigrationName, MigrationTrait, SchemaManager, async_trait};

pub(super) struct SoftLocks;

impl MigrationName for SoftLocks {
    fn name(&self) -> &str {
        "m0002_soft_locks"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for SoftLocks {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for statement in STATEMENTS {
            manager.get_connection().execute_unprepared(statement).await?;
        }
        Ok(())
    }
}

const STATEMENTS: &[&str] = &[
    "ALTER TABLE login_throttles ADD COLUMN last_time BIGINT NOT NULL DEFAULT 0",
    "UPDATE login_throttles SET last_time = window_start",
    "DROP INDEX login_throttles_by_age",
    "CREATE INDEX login_throttles_by_age ON login_throttles (last_time)",
    "CREATE TABLE login_refusals (
        tenant TEXT NOT NULL,
        subject TEXT NOT NULL,
        attempts BIGINT NOT NULL,
        since BIGINT NOT NULL,
        first_time BIGINT NOT NULL,
        last_time BIGINT NOT NULL,
        caller TEXT NOT NULL,
        details TEXT NOT NULL,
        PRIMARY KEY (tenant, subject)
    )",
    "CREATE INDEX login_refusals_by_age ON login_refusals (since)",
];
