//! Request ids of logins, for all replicas.

use sea_orm_migration::sea_orm::ConnectionTrait;
use sea_orm_migration::{DbErr, MigrationName, MigrationTrait, SchemaManager, async_trait};

pub(super) struct LoginRequests;

impl MigrationName for LoginRequests {
    fn name(&self) -> &str {
        "m0005_login_requests"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for LoginRequests {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for statement in STATEMENTS {
            manager.get_connection().execute_unprepared(statement).await?;
        }
        Ok(())
    }
}

const STATEMENTS: &[&str] = &[
    "CREATE TABLE login_requests (
        request TEXT NOT NULL PRIMARY KEY,
        expire_time BIGINT NOT NULL
    )",
    "CREATE INDEX login_requests_by_age ON login_requests (expire_time)",
];
