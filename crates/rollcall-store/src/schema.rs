//! The schema: migrations under a lock, and the check that a service makes before it works.

use sea_orm::{ConnectionTrait, TransactionTrait};
use sea_orm_migration::{MigrationTrait, MigratorTrait, async_trait};

use crate::db::database::Database;
use crate::db::engine::Engine;
use crate::db::query::column;
use crate::error::{Result, StoreError};

mod actors;
mod audit_by_person;
mod create_requests;
mod credentials;
mod deletions;
mod due_claims;
mod erasures;
mod figures;
mod first;
mod idle_users;
mod in_force;
mod last_logins;
mod lean_imports;
pub(crate) mod list_indexes;
mod login_requests;
mod mail_budgets;
mod marks;
mod named_turns;
mod own_counts;
mod pending_passwords;
mod purpose_keys;
mod reminders;
mod sealed_audit;
mod soft_locks;
mod tenant_deletions;
mod tenant_turns;
mod throttles;
mod user_lists;
pub(crate) mod user_roles;
mod who_asked;

/// Names the advisory lock under which PostgreSQL migrates: "rollcall" in ASCII.
const MIGRATION_LOCK: i64 = 0x726f_6c6c_6361_6c6c;

struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    // A database keeps the names of the migrations that it had, so none is ever renamed, although two have the number
    // 13 and two 34.
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(first::First),
            Box::new(soft_locks::SoftLocks),
            Box::new(deletions::Deletions),
            Box::new(throttles::Throttles),
            Box::new(login_requests::LoginRequests),
            Box::new(in_force::InForce),
            Box::new(own_counts::OwnCounts),
            Box::new(create_requests::CreateRequests),
            Box::new(credentials::Credentials),
            Box::new(actors::Actors),
            Box::new(due_claims::DueClaims),
            Box::new(purpose_keys::PurposeKeys),
            Box::new(tenant_deletions::TenantDeletions),
            Box::new(who_asked::WhoAsked),
            Box::new(erasures::Erasures),
            Box::new(tenant_turns::TenantTurns),
            Box::new(marks::Marks),
            Box::new(mail_budgets::MailBudgets),
            Box::new(sealed_audit::SealedAudit),
            Box::new(last_logins::LastLogins),
            Box::new(list_indexes::ListIndexes),
            Box::new(pending_passwords::PendingPasswords),
            Box::new(user_lists::UserLists),
            Box::new(reminders::Reminders),
            Box::new(figures::Figures),
            Box::new(named_turns::NamedTurns),
            Box::new(audit_by_person::AuditByPerson),
            Box::new(idle_users::IdleUsers),
            Box::new(lean_imports::LeanImports),
            Box::new(user_roles::UserRoles),
        ]
    }
}

/// Brings the schema up to date. Several processes may call it at once: one migrates, the others wait.
pub(crate) async fn migrate(database: &Database) -> Result<()> {
    let tx = match database.engine {
        // The write lock of SQLite is the lock; what the migrator does is part of this transaction.
        Engine::Sqlite => database.begin().await?,
        Engine::Postgres => {
            let tx = database.writer.begin().await?;
            // Waits for as long as another replica migrates.
            tx.execute_unprepared(&format!("SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"))
                .await?;
            tx
        }
    };
    if status(&tx).await? == Status::Newer {
        return Err(StoreError::SchemaUnknown);
    }
    Migrator::up(&tx, None).await?;
    tx.commit().await?;
    Ok(())
}

/// Checks that the schema is exactly this release's.
pub(crate) async fn check(database: &Database) -> Result<()> {
    match status(&database.reader).await? {
        Status::Current => Ok(()),
        Status::Older => Err(StoreError::SchemaOutdated),
        Status::Newer => Err(StoreError::SchemaUnknown),
    }
}

#[derive(PartialEq, Eq)]
enum Status {
    Older,
    Current,
    Newer,
}

async fn status(connection: &impl ConnectionTrait) -> Result<Status> {
    let exists = match Engine::of(connection) {
        Engine::Sqlite => "SELECT name FROM sqlite_master WHERE type = 'table' AND name = 'seaql_migrations'",
        Engine::Postgres => {
            "SELECT CAST(relname AS text) FROM pg_class WHERE oid = to_regclass('seaql_migrations')"
        }
    };
    if column::<String>(connection, exists, vec![]).await?.is_empty() {
        return Ok(Status::Older);
    }
    let applied: Vec<String> = column(connection, "SELECT version FROM seaql_migrations", vec![]).await?;
    let known: Vec<String> = Migrator::migrations()
        .iter()
        .map(|migration| migration.name().to_owned())
        .collect();
    if applied.iter().any(|name| !known.contains(name)) {
        return Ok(Status::Newer);
    }
    Ok(if known.iter().all(|name| applied.contains(name)) {
        Status::Current
    } else {
        Status::Older
    })
}
