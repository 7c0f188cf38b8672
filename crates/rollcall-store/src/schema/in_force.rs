//! The configuration in force, what the guard has counted, and why a user sync is held.

use sea_orm_migration::sea_orm::ConnectionTrait;
use sea_orm_migration::{DbErr, MigrationName, MigrationTrait, SchemaManager, async_trait};

pub(super) struct InForce;

impl MigrationName for InForce {
    fn name(&self) -> &str {
        "m0006_in_force"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for InForce {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for statement in STATEMENTS {
            manager.get_connection().execute_unprepared(statement).await?;
        }
        Ok(())
    }
}

const STATEMENTS: &[&str] = &[
    // The settings that runs used, once for all runs of one revision, which `sync_runs.user_sync_revision` names.
    "CREATE TABLE user_sync_settings (
        tenant TEXT NOT NULL,
        user_sync TEXT NOT NULL,
        revision BIGINT NOT NULL,
        settings TEXT NOT NULL,
        PRIMARY KEY (tenant, user_sync, revision),
        FOREIGN KEY (tenant, user_sync) REFERENCES user_syncs (tenant, id) ON DELETE CASCADE
    )",
    "ALTER TABLE user_syncs ADD COLUMN in_force_revision BIGINT",
    // Why the newest plan waits for a person; an empty list if it does not.
    "ALTER TABLE user_syncs ADD COLUMN hold TEXT NOT NULL DEFAULT '[]'",
    // For a held run that applies its leavers first: the chunk before which it waits again.
    "ALTER TABLE sync_runs ADD COLUMN hold_at BIGINT",
    // Changes without a person's release, by the minute. In a table of its own, since events may be kept for a shorter
    // time than the guard looks back.
    "CREATE TABLE guard_counts (
        tenant TEXT NOT NULL,
        user_sync TEXT NOT NULL,
        minute BIGINT NOT NULL,
        watched TEXT NOT NULL,
        count BIGINT NOT NULL,
        PRIMARY KEY (tenant, user_sync, minute, watched),
        FOREIGN KEY (tenant, user_sync) REFERENCES user_syncs (tenant, id) ON DELETE CASCADE
    )",
    // What former releases counted from the events.
    "INSERT INTO guard_counts (tenant, user_sync, minute, watched, count)
    SELECT e.tenant, e.user_sync, e.time / 60000000, 'REMOVAL', COUNT(*) FROM user_events e
    JOIN user_syncs s ON s.tenant = e.tenant AND s.id = e.user_sync
    WHERE e.run IS NOT NULL AND e.event_type IN ('DEACTIVATED', 'ARCHIVED')
      AND NOT EXISTS (SELECT 1 FROM sync_runs r
        WHERE r.tenant = e.tenant AND r.user_sync = e.user_sync AND r.id = e.run
          AND (r.mode <> 'APPLY' OR r.hold_reasons <> '[]'))
    GROUP BY e.tenant, e.user_sync, e.time / 60000000",
];
