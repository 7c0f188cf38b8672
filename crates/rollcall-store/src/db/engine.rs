//! The two kinds of database, and where their SQL differs.
//!
//! One SQL text serves both engines: parameters are `$1`, times and counts are BIGINT. [`Engine`] supplies the parts
//! of a statement that have to differ.

use sea_orm::{ConnectionTrait, DbBackend};

/// A kind of database.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Engine {
    Sqlite,
    Postgres,
}

impl Engine {
    #[expect(clippy::wildcard_enum_match_arm, reason = "of sea-orm: there are two")]
    pub(crate) fn of(connection: &impl ConnectionTrait) -> Self {
        match connection.get_database_backend() {
            DbBackend::Sqlite => Engine::Sqlite,
            _ => Engine::Postgres,
        }
    }

    /// The suffix that makes a SELECT lock its rows. On SQLite a transaction that writes is alone anyway.
    pub(crate) fn for_update(self) -> &'static str {
        match self {
            Engine::Sqlite => "",
            Engine::Postgres => " FOR UPDATE",
        }
    }

    /// Locks the rows of one table only, in the order in which they are looked up.
    pub(crate) fn for_update_of(self, alias: &str) -> String {
        match self {
            Engine::Sqlite => String::new(),
            Engine::Postgres => format!(" FOR UPDATE OF {alias}"),
        }
    }

    /// The suffix that makes a SELECT lock rows and skip those that another transaction has locked.
    pub(crate) fn skip_locked(self) -> &'static str {
        match self {
            Engine::Sqlite => "",
            Engine::Postgres => " FOR UPDATE SKIP LOCKED",
        }
    }

    /// Joins a table to the rows of a [`Bulk`](crate::db::bulk::Bulk) by one index lookup for each row. Without this
    /// form both engines may choose to read a whole table, or all of a tenant's rows. SQLite keeps the order of a
    /// CROSS JOIN as written; PostgreSQL evaluates a subquery with OFFSET for each row.
    pub(crate) fn look_up(self, table: &str, alias: &str, condition: &str) -> String {
        match self {
            Engine::Sqlite => format!("CROSS JOIN {table} {alias} ON {condition}"),
            Engine::Postgres => format!(
                "CROSS JOIN LATERAL (SELECT * FROM {table} {alias} WHERE {condition} OFFSET 0) AS {alias}"
            ),
        }
    }

    /// The database's own clock, in microseconds.
    pub(crate) fn now(self) -> &'static str {
        match self {
            Engine::Sqlite => "CAST(unixepoch('now', 'subsec') * 1000000 AS INTEGER)",
            Engine::Postgres => "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)",
        }
    }
}
