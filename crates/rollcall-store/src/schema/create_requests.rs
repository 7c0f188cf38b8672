//! Request ids of calls that create something, for all replicas.

use sea_orm_migration::sea_orm::{ConnectionTrait, DatabaseBackend};
use sea_orm_migration::{DbErr, MigrationName, MigrationTrait, SchemaManager, async_trait};

pub(super) struct CreateRequests;

impl MigrationName for CreateRequests {
    fn name(&self) -> &str {
        "m0008_create_requests"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateRequests {
    #[expect(clippy::wildcard_enum_match_arm, reason = "of sea-orm: there are two")]
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        let bytes = match connection.get_database_backend() {
            DatabaseBackend::Postgres => "BYTEA",
            _ => "BLOB",
        };
        connection
            .execute_unprepared(&TABLE.replace("{bytes}", bytes))
            .await?;
        connection.execute_unprepared(INDEX).await?;
        Ok(())
    }
}

const TABLE: &str = "CREATE TABLE create_requests (
    request TEXT NOT NULL PRIMARY KEY,
    tenant TEXT NOT NULL,
    content {bytes} NOT NULL,
    resource TEXT NOT NULL,
    expire_time BIGINT NOT NULL
)";
const INDEX: &str = "CREATE INDEX create_requests_by_age ON create_requests (expire_time)";
