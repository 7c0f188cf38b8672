//! Soft locks that are cheap to change, since each login changes them twice.

use sea_orm_migration::sea_orm::ConnectionTrait;
use sea_orm_migration::{DbErr, MigrationName, MigrationTrait, SchemaManager, async_trait};

use crate::db::engine::Engine;

pub(super) struct Throttles;

impl MigrationName for Throttles {
    fn name(&self) -> &str {
        "m0004_throttles"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Throttles {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        let statements = match Engine::of(connection) {
            Engine::Sqlite => SQLITE,
            Engine::Postgres => POSTGRES,
        };
        for statement in statements {
            connection.execute_unprepared(statement).await?;
        }
        Ok(())
    }
}

/// Each row is one entry of one tree.
const SQLITE: &[&str] = &[
    "ALTER TABLE login_throttles RENAME TO old_login_throttles",
    "CREATE TABLE login_throttles (
        tenant TEXT NOT NULL,
        subject TEXT NOT NULL,
        window_start BIGINT NOT NULL,
        last_time BIGINT NOT NULL,
        failures BIGINT NOT NULL,
        reserved BIGINT NOT NULL,
        PRIMARY KEY (tenant, subject)
    ) WITHOUT ROWID",
    "INSERT INTO login_throttles SELECT tenant, subject, window_start, last_time, failures, reserved
    FROM old_login_throttles",
    "DROP TABLE old_login_throttles",
];

/// A new version of a row stays on its page and changes no index.
const POSTGRES: &[&str] = &[
    "DROP INDEX login_throttles_by_age",
    "ALTER TABLE login_throttles SET (fillfactor = 50)",
];
