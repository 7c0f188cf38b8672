//! Connections, and the few calls through which every statement goes.
//!
//! One SQL text serves both engines: parameters are `$1`, times and counts are BIGINT. Where the engines
//! differ, [`Engine`] says how.

use std::path::Path;
use std::time::Duration;

use sea_orm::sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database as SeaDatabase, DatabaseConnection, DatabaseTransaction,
    DbBackend, DbErr, FromQueryResult, QueryResult, SqliteTransactionMode, Statement, TransactionOptions,
    TransactionTrait, TryGetable, Value,
};

use crate::error::{Result, StoreError};
use crate::store::StoreOptions;

/// How long a write waits for another process's write on SQLite.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// A process that is frozen within a transaction keeps its locks, a lease's row among them, and stops whoever
/// wants to take over. After so long PostgreSQL ends the transaction; no healthy one pauses that long.
const FROZEN_AFTER: &str = "10s";
/// A statement whose parameters are arrays PostgreSQL plans anew at each execution, which takes longer than to execute
/// it. Each of ours has one good plan, whatever its parameters are.
const PLAN_ONCE: &str = "force_generic_plan";
/// Connections that read from SQLite; each is a thread.
const SQLITE_READERS: u32 = 4;
/// Memory for pages that the connection that writes to SQLite has: negative, as SQLite wants KiB.
const WRITER_CACHE_KIB: &str = "-32768";
/// How long others have for it: several times the intervals at which logins ask.
const WAY: Duration = Duration::from_millis(5);
/// After so many pages, of 4 KiB, the log is copied into the database. Logins write the same pages again and again;
/// the longer the log, the fewer are copied.
const WAL_PAGES: &str = "4000";
/// Idle connections to PostgreSQL older than this are tried before use.
const TEST_IF_IDLE: Duration = Duration::from_secs(15);

/// A server of PostgreSQL that vanishes says nothing, and the kernel asks for it for a quarter of an hour. None of our
/// statements takes so long; the longest wait is for somebody who froze.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
#[error("PostgreSQL did not answer in time")]
struct Silent;

/// The database's kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Engine {
    Sqlite,
    Postgres,
}

/// Where reads and writes go. On SQLite there is one connection that writes, so that writers of this process
/// queue fairly instead of polling a lock; readers do not wait for it.
pub(crate) struct Database {
    pub(crate) engine: Engine,
    pub(crate) reader: DatabaseConnection,
    pub(crate) writer: DatabaseConnection,
}

impl Engine {
    pub(crate) fn of(connection: &impl ConnectionTrait) -> Self {
        match connection.get_database_backend() {
            DbBackend::Sqlite => Engine::Sqlite,
            _ => Engine::Postgres,
        }
    }

    /// Makes a SELECT lock its rows. On SQLite the transaction that writes is alone anyhow.
    pub(crate) fn for_update(self) -> &'static str {
        match self {
            Engine::Sqlite => "",
            Engine::Postgres => " FOR UPDATE",
        }
    }

    /// The same for the rows of one table, in the order in which they are looked up.
    pub(crate) fn for_update_of(self, alias: &str) -> String {
        match self {
            Engine::Sqlite => String::new(),
            Engine::Postgres => format!(" FOR UPDATE OF {alias}"),
        }
    }

    /// Joins a table to the rows of a [`Bulk`](crate::db::bulk::Bulk), looking each of them up by all of `condition`.
    /// Left to themselves, both engines may read a whole table, or all of a tenant's rows, instead: SQLite takes the
    /// order of a CROSS JOIN as it is written, and what stands before an OFFSET, PostgreSQL evaluates for each row.
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

impl Database {
    pub(crate) async fn connect(url: &str, options: &StoreOptions) -> Result<Self> {
        if let Some(path) = url.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            create_private_file(path.split('?').next().unwrap_or(path).as_ref())?;
            let writer = sqlite(url, 1, options, false).await?;
            let reader = sqlite(url, SQLITE_READERS, options, true).await?;
            return Ok(Self {
                engine: Engine::Sqlite,
                reader,
                writer,
            });
        }
        let mut connect = ConnectOptions::new(url);
        connect
            .max_connections(options.max_connections)
            .acquire_timeout(options.acquire_timeout)
            .connect_timeout(options.acquire_timeout)
            .test_before_acquire_if_idle_for(TEST_IF_IDLE)
            .set_application_name("rollcall")
            .sqlx_logging(false)
            .record_stmt_in_spans(false)
            .map_sqlx_postgres_opts(|options| {
                options.statement_cache_capacity(500).options([
                    ("idle_in_transaction_session_timeout", FROZEN_AFTER),
                    ("plan_cache_mode", PLAN_ONCE),
                ])
            });
        let pool = SeaDatabase::connect(connect).await?;
        Ok(Self {
            engine: Engine::Postgres,
            reader: pool.clone(),
            writer: pool,
        })
    }

    /// Has PostgreSQL look at the tables of users, and plan anew what it planned while they were empty: any index was
    /// good then, and for as long as nobody looks, so until autovacuum does, it would read all of a tenant's users
    /// through it to find one.
    pub(crate) async fn gather_statistics(&self) -> Result<()> {
        if self.engine == Engine::Postgres {
            execute(&self.writer, "ANALYZE users, user_identifiers", vec![]).await?;
        }
        Ok(())
    }

    /// Lets other processes write between two of many transactions, for which SQLite has no queue.
    pub(crate) async fn give_way(&self) {
        if self.engine == Engine::Sqlite {
            tokio::time::sleep(WAY).await;
        }
    }

    /// Begins a transaction that writes. On SQLite it takes the write lock at once, so that it never has to
    /// give up half way because it read something old.
    pub(crate) async fn begin(&self) -> Result<DatabaseTransaction> {
        let options = TransactionOptions {
            sqlite_transaction_mode: (self.engine == Engine::Sqlite)
                .then_some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        in_time(&self.writer, self.writer.begin_with_options(options)).await
    }
}

async fn sqlite(
    url: &str,
    connections: u32,
    options: &StoreOptions,
    reads: bool,
) -> Result<DatabaseConnection> {
    let mut connect = ConnectOptions::new(url);
    connect
        .max_connections(connections)
        .acquire_timeout(options.acquire_timeout)
        .test_before_acquire(false)
        .sqlx_logging(false)
        .record_stmt_in_spans(false)
        .map_sqlx_sqlite_opts(move |options| {
            // FULL: what was answered survives the machine's crash too, as on PostgreSQL. Concurrent logins share a
            // commit, and so the sync.
            let options = options
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full)
                .foreign_keys(true)
                // Where a statement keeps what it may have to take back; else that is a file for each.
                .pragma("temp_store", "MEMORY")
                .busy_timeout(BUSY_TIMEOUT)
                .statement_cache_capacity(500);
            match reads {
                true => options.pragma("query_only", "ON"),
                // What it reads is what it wrote, so pages that it has stay good.
                false => options
                    .pragma("cache_size", WRITER_CACHE_KIB)
                    .pragma("wal_autocheckpoint", WAL_PAGES),
            }
        });
    Ok(SeaDatabase::connect(connect).await?)
}

/// The file holds people's data: nobody but the service's account may read it. One that is there is left alone: closing
/// it would give up all locks of this process on it, those of open connections among them.
fn create_private_file(path: &Path) -> Result<()> {
    let mut open = std::fs::OpenOptions::new();
    open.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut open, 0o600);
    match open.open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(StoreError::Unavailable(error.into())),
    }
}

/// What a server of PostgreSQL says, if it says it within this time.
pub(crate) async fn answered<T, E>(
    within: Duration,
    answer: impl Future<Output = std::result::Result<T, E>>,
) -> Result<T>
where
    StoreError: From<E>,
{
    let answer = tokio::time::timeout(within, answer).await;
    Ok(answer.map_err(|_| StoreError::Unavailable(Silent.into()))??)
}

async fn in_time<T>(
    connection: &impl ConnectionTrait,
    answer: impl Future<Output = std::result::Result<T, DbErr>>,
) -> Result<T> {
    match Engine::of(connection) {
        Engine::Sqlite => Ok(answer.await?),
        Engine::Postgres => answered(ANSWER_TIMEOUT, answer).await,
    }
}

fn statement(connection: &impl ConnectionTrait, sql: &str, values: Vec<Value>) -> Statement {
    Statement::from_sql_and_values(connection.get_database_backend(), sql, values)
}

/// All rows. A bound LIMIT makes SQLite prepare the statement anew at each call: write limits into the text.
pub(crate) async fn rows<T: FromQueryResult>(
    connection: &impl ConnectionTrait,
    sql: &str,
    values: Vec<Value>,
) -> Result<Vec<T>> {
    let found = query_all(connection, sql, values).await?;
    found
        .iter()
        .map(|row| T::from_query_result(row, "").map_err(StoreError::from))
        .collect()
}

/// All rows, unread.
pub(crate) async fn query_all(
    connection: &impl ConnectionTrait,
    sql: &str,
    values: Vec<Value>,
) -> Result<Vec<QueryResult>> {
    let statement = statement(connection, sql, values);
    in_time(connection, connection.query_all_raw(statement)).await
}

/// The only row, if there is one.
pub(crate) async fn row<T: FromQueryResult>(
    connection: &impl ConnectionTrait,
    sql: &str,
    values: Vec<Value>,
) -> Result<Option<T>> {
    Ok(rows(connection, sql, values).await?.into_iter().next())
}

/// The first column of all rows.
pub(crate) async fn column<T: TryGetable>(
    connection: &impl ConnectionTrait,
    sql: &str,
    values: Vec<Value>,
) -> Result<Vec<T>> {
    let found = query_all(connection, sql, values).await?;
    found.iter().map(|row| Ok(row.try_get_by_index(0)?)).collect()
}

/// The first column of the only row.
pub(crate) async fn scalar<T: TryGetable>(
    connection: &impl ConnectionTrait,
    sql: &str,
    values: Vec<Value>,
) -> Result<Option<T>> {
    Ok(column(connection, sql, values).await?.into_iter().next())
}

/// Executes a statement; returns how many rows it touched.
pub(crate) async fn execute(connection: &impl ConnectionTrait, sql: &str, values: Vec<Value>) -> Result<u64> {
    let statement = statement(connection, sql, values);
    let done = in_time(connection, connection.execute_raw(statement)).await?;
    Ok(done.rows_affected())
}

/// A text that a person or a caller wrote. PostgreSQL's TEXT cannot hold U+0000.
pub(crate) fn text(value: &str) -> Value {
    value.replace('\0', "\u{fffd}").into()
}
