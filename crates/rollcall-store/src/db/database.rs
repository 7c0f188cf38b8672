//! The pools of connections, and how a transaction begins.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::TryFutureExt;
use rollcall_metrics::Statement;
use sea_orm::sqlx::postgres::PgConnectOptions;
use sea_orm::sqlx::sqlite::SqliteJournalMode;
use sea_orm::sqlx::{ConnectOptions as _, Connection as _, PgConnection};
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database as SeaDatabase, DatabaseConnection, DatabaseTransaction,
    RuntimeErr, SqliteTransactionMode, SqlxError, TransactionOptions, TransactionTrait, Value,
};

use crate::db::deadline::{in_time, within};
use crate::db::engine::Engine;
use crate::db::measure::measured;
use crate::db::query::{execute, executed};
use crate::db::turnstile::{Turnstile, Waiting};
use crate::error::{Result, StoreError};

/// How long a write waits for another process's write on SQLite.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// PostgreSQL ends a transaction that pauses for this long. A process that freezes within a transaction keeps its
/// locks, a lease's row among them, and so no other worker could take over. A healthy transaction never pauses that
/// long.
const IDLE_TRANSACTION_TIMEOUT: &str = "10s";
/// PostgreSQL plans a statement with array parameters anew at each execution, which takes longer than the execution.
/// Each of our statements has one good plan, whatever its parameters are.
const PLAN_CACHE_MODE: &str = "force_generic_plan";
/// How long a connection may take to show that it works.
const TRIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// How many connections read from SQLite. Each has a thread.
const SQLITE_READERS: u32 = 4;
/// What every connection to SQLite has.
pub(crate) const SQLITE_PRAGMAS: &[(&str, &str)] = &[
    // What was answered survives a crash of the machine, as on PostgreSQL. Concurrent logins share a commit, and so the
    // cost of the sync.
    ("synchronous", "FULL"),
    ("foreign_keys", "ON"),
    // Statement journals in memory; otherwise each is a file.
    ("temp_store", "MEMORY"),
    // Deleted and replaced values are overwritten in the file: an erased person leaves nothing there.
    ("secure_delete", "ON"),
];
/// Settings of a connection that only reads.
pub(crate) const SQLITE_READER_PRAGMAS: &[(&str, &str)] = &[("query_only", "ON")];
/// Settings of a connection that writes.
pub(crate) const SQLITE_WRITER_PRAGMAS: &[(&str, &str)] = &[
    // The page cache. Negative because SQLite counts in KiB then.
    ("cache_size", "-32768"),
    // SQLite copies its log into the database after this many pages of 4 KiB. Logins write the same pages again and again, so
    // a longer log means fewer copies.
    ("wal_autocheckpoint", "4000"),
];
/// A connection to PostgreSQL that was idle for longer than this is tested before use.
const TEST_IF_IDLE: Duration = Duration::from_secs(15);

/// The pools for reading and writing. On SQLite one connection writes, so that writers of this process queue fairly
/// instead of polling a lock; readers do not wait for it.
pub(crate) struct Database {
    pub(crate) engine: Engine,
    pub(crate) reader: DatabaseConnection,
    pub(crate) writer: DatabaseConnection,
    /// On SQLite.
    turnstile: Option<Arc<Turnstile>>,
}

impl Database {
    /// Connects to `sqlite:PATH` or `postgres://…`. `max_connections` is for PostgreSQL; `acquire_timeout` is how long a
    /// call waits for a connection.
    pub(crate) async fn connect(url: &str, max_connections: u32, acquire_timeout: Duration) -> Result<Self> {
        if let Some(path) = url.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            let path: &Path = path.split('?').next().unwrap_or(path).as_ref();
            create_private_file(path)?;
            let writer = sqlite(url, 1, acquire_timeout, Access::Write).await?;
            let reader = sqlite(url, SQLITE_READERS, acquire_timeout, Access::Read).await?;
            return Ok(Self {
                engine: Engine::Sqlite,
                reader,
                writer,
                turnstile: Some(Arc::new(Turnstile::open(path)?)),
            });
        }
        let mut connect = ConnectOptions::new(url);
        connect
            .max_connections(max_connections)
            .acquire_timeout(acquire_timeout)
            .connect_timeout(acquire_timeout)
            .test_before_acquire_if_idle_for(TEST_IF_IDLE)
            .set_application_name("rollcall")
            .sqlx_logging(false)
            .record_stmt_in_spans(false)
            .map_sqlx_postgres_opts(ours);
        let pool = SeaDatabase::connect(connect).await?;
        Ok(Self {
            engine: Engine::Postgres,
            reader: pool.clone(),
            writer: pool,
            turnstile: None,
        })
    }

    /// Connects as another user, or with another password, from now on.
    pub(crate) async fn replace_credentials(&self, url: &str) -> Result<()> {
        if self.engine == Engine::Sqlite {
            return Ok(());
        }
        let pool = self.writer.get_postgres_connection_pool();
        let (now, then) = (pool.connect_options(), parsed(url)?);
        let place = |options: &PgConnectOptions| {
            let socket = options.get_socket().cloned();
            (options.get_host().to_owned(), options.get_port(), socket)
        };
        if place(&now) != place(&then) || now.get_database() != then.get_database() {
            return Err(StoreError::Unavailable(AnotherDatabase.into()));
        }
        let options = ours(then.application_name("rollcall").disable_statement_logging());
        try_connection(&options).await?;
        pool.set_connect_options(options);
        Ok(())
    }

    /// Whether PostgreSQL takes a connection with this URL. True for other URLs: connecting with one reports what is
    /// wrong.
    pub(crate) async fn answers(url: &str) -> Result<()> {
        match url.starts_with("postgres").then(|| parsed(url)) {
            Some(Ok(options)) => {
                try_connection(&options.application_name("rollcall").disable_statement_logging()).await
            }
            _ => Ok(()),
        }
    }

    /// Connections of the pools, and how many of them nobody uses.
    pub(crate) fn connections(&self) -> (u32, usize) {
        match self.engine {
            Engine::Sqlite => {
                let (reader, writer) = (
                    self.reader.get_sqlite_connection_pool(),
                    self.writer.get_sqlite_connection_pool(),
                );
                (
                    reader.size() + writer.size(),
                    reader.num_idle() + writer.num_idle(),
                )
            }
            Engine::Postgres => {
                let pool = self.writer.get_postgres_connection_pool();
                (pool.size(), pool.num_idle())
            }
        }
    }

    /// Makes PostgreSQL analyze the tables of users and plan its statements anew. It planned them while the tables were
    /// empty, when any index looked good. Without statistics it would read all of a tenant's users to find one, until
    /// autovacuum comes.
    pub(crate) async fn analyze_users(&self) -> Result<()> {
        if self.engine == Engine::Postgres {
            execute(&self.writer, "ANALYZE users, user_identifiers", vec![]).await?;
        }
        Ok(())
    }

    /// Waits, between two of many transactions, while others wait to write.
    pub(crate) async fn let_others_write(&self) {
        if let Some(turnstile) = &self.turnstile {
            turnstile.let_others_pass().await;
        }
    }

    /// Marks on SQLite, as long as the value lives, that somebody waits to write.
    pub(crate) fn wait_to_write(&self) -> Option<Waiting> {
        self.turnstile.as_ref().map(Turnstile::wait)
    }

    /// Executes one statement in a transaction of its own; returns how many rows it touched.
    pub(crate) async fn write(&self, sql: &str, values: Vec<Value>) -> Result<u64> {
        let tx = self.begin().await?;
        let touched = execute(&tx, sql, values).await?;
        tx.commit().await?;
        Ok(touched)
    }

    /// A transaction in which PostgreSQL reads in the order of an index. It expects few rows of the tenant that has
    /// most of a table, and would otherwise read and sort them all.
    pub(crate) async fn in_index_order(&self) -> Result<DatabaseTransaction> {
        let reading = self.reader.begin().await?;
        if self.engine == Engine::Postgres {
            let sql = "SET LOCAL enable_sort = off; SET LOCAL enable_bitmapscan = off";
            reading.execute_unprepared(sql).await?;
        }
        Ok(reading)
    }

    /// Begins a transaction that writes. On SQLite it takes the write lock at once: a transaction that reads first may
    /// have to give up half way because what it read is old.
    pub(crate) async fn begin(&self) -> Result<DatabaseTransaction> {
        let options = TransactionOptions {
            sqlite_transaction_mode: (self.engine == Engine::Sqlite)
                .then_some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        let _waiting = self.wait_to_write();
        let begun = in_time(&self.writer, self.writer.begin_with_options(options));
        let begun = measured(Statement::Begin, begun).await?;
        executed::<DatabaseTransaction>("BEGIN", 0);
        Ok(begun)
    }
}

/// The settings of each connection to PostgreSQL.
fn ours(options: PgConnectOptions) -> PgConnectOptions {
    options.statement_cache_capacity(500).options([
        ("idle_in_transaction_session_timeout", IDLE_TRANSACTION_TIMEOUT),
        ("plan_cache_mode", PLAN_CACHE_MODE),
    ])
}

/// Connects, only to see that it works.
async fn try_connection(options: &PgConnectOptions) -> Result<()> {
    let trial = PgConnection::connect_with(options);
    let trial = within(TRIAL_TIMEOUT, trial.map_err(unavailable)).await?;
    let _ = trial.close().await;
    Ok(())
}

fn parsed(url: &str) -> Result<PgConnectOptions> {
    url.parse().map_err(unavailable)
}

fn unavailable(error: SqlxError) -> StoreError {
    StoreError::from(sea_orm::DbErr::Conn(RuntimeErr::SqlxError(error.into())))
}

#[derive(Debug, thiserror::Error)]
#[error("the URL is of another database, host or port, which takes a restart")]
struct AnotherDatabase;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

async fn sqlite(
    url: &str,
    connections: u32,
    acquire_timeout: Duration,
    access: Access,
) -> Result<DatabaseConnection> {
    let mut connect = ConnectOptions::new(url);
    connect
        .max_connections(connections)
        .acquire_timeout(acquire_timeout)
        .test_before_acquire(false)
        .sqlx_logging(false)
        .record_stmt_in_spans(false)
        .map_sqlx_sqlite_opts(move |options| {
            let options = options
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                .busy_timeout(BUSY_TIMEOUT)
                .statement_cache_capacity(500);
            let own = match access {
                Access::Read => SQLITE_READER_PRAGMAS,
                Access::Write => SQLITE_WRITER_PRAGMAS,
            };
            let pragmas = SQLITE_PRAGMAS.iter().chain(own);
            pragmas.fold(options, |options, (name, value)| options.pragma(*name, *value))
        });
    Ok(SeaDatabase::connect(connect).await?)
}

/// Creates the database file for the service's account alone, since it holds personal data. Does not open a file that
/// exists: closing it again would release all locks that this process has on it, also those of open connections.
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
