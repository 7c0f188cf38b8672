//! The keys with which Rollcall hashes and signs, sealed by the keyring; and marks by which keys of the keyring are
//! recognised.

use sea_orm_migration::sea_orm::{ConnectionTrait, DatabaseBackend};
use sea_orm_migration::{DbErr, MigrationName, MigrationTrait, SchemaManager, async_trait};

pub(super) struct PurposeKeys;

impl MigrationName for PurposeKeys {
    fn name(&self) -> &str {
        "m0013_purpose_keys"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for PurposeKeys {
    #[expect(clippy::wildcard_enum_match_arm, reason = "of sea-orm: there are two")]
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        let bytes = match connection.get_database_backend() {
            DatabaseBackend::Postgres => "BYTEA",
            _ => "BLOB",
        };
        for table in TABLES {
            connection
                .execute_unprepared(&table.replace("{bytes}", bytes))
                .await?;
        }
        Ok(())
    }
}

const TABLES: [&str; 2] = [
    "CREATE TABLE purpose_keys (
        purpose TEXT NOT NULL PRIMARY KEY,
        sealed {bytes} NOT NULL
    )",
    // An empty text, sealed by each key: no other key opens it.
    "CREATE TABLE keyring_checks (
        key_id TEXT NOT NULL PRIMARY KEY,
        sealed {bytes} NOT NULL
    )",
];
