//! A connection that belongs to one task, outside of the pools, and is opened anew when it breaks.

use std::sync::Arc;
use std::time::Duration;

use futures::TryFutureExt;
use rollcall_metrics::Statement as Kind;
use sea_orm::sea_query::ArrayType;
use sea_orm::sqlx::postgres::PgArguments;
use sea_orm::sqlx::query::Query;
use sea_orm::sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Postgres, query};
use sea_orm::{RuntimeErr, SqlxError, Value};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::db::database::{BUSY_TIMEOUT, Database};
use crate::db::deadline::within;
use crate::db::engine::Engine;
use crate::db::measure::measured;
use crate::db::query::Statement;
use crate::db::row::Row;
use crate::db::sqlite::Sqlite;
use crate::error::{Result, StoreError};

/// The interval at which to ask for SQLite's write lock.
const LOCK_POLL_INTERVAL: Duration = Duration::from_millis(1);

/// Statements on SQLite that take longer than this count as slow. A login's statements take a tenth of a millisecond,
/// and a commit takes what the disk needs to keep it.
const SLOW: Duration = Duration::from_millis(10);

/// If PostgreSQL has not answered after this, its machine has vanished: a login's statements take milliseconds.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// PostgreSQL ends a login's transaction that pauses for this long. A process that freezes within one holds rows that
/// others need.
const IDLE_TRANSACTION_TIMEOUT: &str = "3s";

/// What the connection is used for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Reading,
    Writing {
        /// How long a statement waits on PostgreSQL for a row that another session has locked, as its `lock_timeout`.
        lock_timeout: &'static str,
    },
}

/// A connection that belongs to one task.
pub(crate) struct DedicatedConnection {
    database: Arc<Database>,
    purpose: Purpose,
    open: Option<Open>,
    /// The last statements on SQLite took longer than a thread may be blocked that others need.
    disk_is_slow: bool,
}

enum Open {
    Sqlite(Sqlite),
    Postgres(Box<PgConnection>),
}

impl DedicatedConnection {
    /// A connection that is opened when it is first needed.
    pub(crate) fn new(database: Arc<Database>, purpose: Purpose) -> Self {
        Self {
            database,
            purpose,
            open: None,
            disk_is_slow: false,
        }
    }

    pub(crate) fn engine(&self) -> Engine {
        self.database.engine
    }

    /// Sends statements and returns the rows of each. If the connection was lost since it was last used, sends them
    /// again on a new one. So the statements must change nothing that would stay if the connection breaks.
    pub(crate) async fn send_first(&mut self, script: &[Statement]) -> Result<Vec<Vec<Row>>> {
        measured(self.kind(), self.send_on_any(script)).await
    }

    fn kind(&self) -> Kind {
        match self.purpose {
            Purpose::Reading => Kind::LoginRead,
            Purpose::Writing { .. } => Kind::LoginCommit,
        }
    }

    async fn send_on_any(&mut self, script: &[Statement]) -> Result<Vec<Vec<Row>>> {
        let was_open = self.open.is_some();
        if !was_open {
            self.open = Some(self.connect().await?);
        }
        match self.run_when_free(script).await {
            Err(StoreError::Unavailable(_)) if was_open => {
                self.open = Some(self.connect().await?);
                self.run_when_free(script).await
            }
            result => result,
        }
    }

    /// On SQLite, waits while another process writes. The transactions of a process are short, and it lets others write
    /// between them. SQLite's own busy handler polls at longer and longer intervals, and so would miss these gaps.
    async fn run_when_free(&mut self, script: &[Statement]) -> Result<Vec<Vec<Row>>> {
        let give_up = Instant::now() + BUSY_TIMEOUT;
        let mut waiting = None;
        loop {
            match self.run_once(script).await {
                Err(StoreError::Contended)
                    if self.database.engine == Engine::Sqlite && Instant::now() < give_up =>
                {
                    waiting = waiting.or_else(|| self.database.wait_to_write());
                    sleep(LOCK_POLL_INTERVAL).await;
                }
                Err(error) => {
                    self.close();
                    return Err(error);
                }
                found => return found,
            }
        }
    }

    /// Sends more statements on the same connection and returns the rows of each.
    pub(crate) async fn send(&mut self, script: &[Statement]) -> Result<Vec<Vec<Row>>> {
        measured(self.kind(), self.run(script)).await
    }

    /// Ends the connection and any transaction on it.
    pub(crate) fn close(&mut self) {
        self.open = None;
    }

    async fn connect(&mut self) -> Result<Open> {
        let pool = match self.purpose {
            Purpose::Reading => &self.database.reader,
            Purpose::Writing { .. } => &self.database.writer,
        };
        Ok(match self.database.engine {
            Engine::Sqlite => {
                let options = pool.get_sqlite_connection_pool().connect_options();
                let writes = self.purpose != Purpose::Reading;
                Open::Sqlite(Sqlite::open(options.get_filename(), writes)?)
            }
            Engine::Postgres => {
                // Not a connection of the pool: it may have lost its server unnoticed.
                let options = pool.get_postgres_connection_pool().connect_options();
                let options = match self.purpose {
                    Purpose::Reading => options,
                    Purpose::Writing { lock_timeout } => Arc::new((*options).clone().options([
                        ("lock_timeout", lock_timeout),
                        ("idle_in_transaction_session_timeout", IDLE_TRANSACTION_TIMEOUT),
                    ])),
                };
                let connection = PgConnection::connect_with(&options).map_err(failed);
                Open::Postgres(Box::new(within(ANSWER_TIMEOUT, connection).await?))
            }
        })
    }

    async fn run(&mut self, script: &[Statement]) -> Result<Vec<Vec<Row>>> {
        let result = self.run_once(script).await;
        if result.is_err() {
            self.close();
        }
        result
    }

    async fn run_once(&mut self, script: &[Statement]) -> Result<Vec<Vec<Row>>> {
        match self.open.take() {
            Some(Open::Postgres(mut connection)) => {
                let result = within(ANSWER_TIMEOUT, on_postgres(&mut connection, script)).await;
                self.open = Some(Open::Postgres(connection));
                result
            }
            Some(Open::Sqlite(connection)) => {
                let (connection, result) = self.on_sqlite(connection, script).await?;
                self.open = Some(Open::Sqlite(connection));
                result
            }
            None => Err(StoreError::corrupt("a transaction goes on after its end")),
        }
    }

    /// Runs statements in this thread. If the disk was slow, runs them in a thread that may block, until the disk is
    /// fast again.
    async fn on_sqlite(
        &mut self,
        mut connection: Sqlite,
        script: &[Statement],
    ) -> Result<(Sqlite, Result<Vec<Vec<Row>>>)> {
        let begin = Instant::now();
        let done = if self.disk_is_slow {
            let script = script.to_vec();
            let work = move || {
                let result = connection.run(&script);
                (connection, result)
            };
            let done = tokio::task::spawn_blocking(work).await;
            done.map_err(|error| StoreError::Unavailable(error.into()))?
        } else {
            let result = connection.run(script);
            (connection, result)
        };
        self.disk_is_slow = begin.elapsed() > SLOW;
        Ok(done)
    }
}

async fn on_postgres(connection: &mut PgConnection, script: &[Statement]) -> Result<Vec<Vec<Row>>> {
    let mut found = Vec::with_capacity(script.len());
    for (sql, values) in script {
        let sql = AssertSqlSafe(sql.as_str());
        let rows = if values.is_empty() {
            connection.fetch_all(sql).await
        } else {
            let mut query = query(sql);
            for value in values {
                query = bind(query, value)?;
            }
            connection.fetch_all(query).await
        };
        let rows = rows.map_err(failed)?;
        found.push(rows.into_iter().map(|row| Row::Postgres(row.into())).collect());
    }
    Ok(found)
}

/// Binds an array of a [`Bulk`](crate::db::bulk::Bulk).
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "of sea-orm: columns are of these types"
)]
fn bind<'q>(
    query: Query<'q, Postgres, PgArguments>,
    value: &Value,
) -> Result<Query<'q, Postgres, PgArguments>> {
    let Value::Array(array_type, Some(cells)) = value else {
        return Err(unknown_parameter());
    };
    macro_rules! bind {
        ($kind:ident, $element:ty, $read:expr) => {{
            let cells = cells.iter().map(|cell| match cell {
                Value::$kind(Some(value)) => Ok($read(value)),
                _ => Err(unknown_parameter()),
            });
            query.bind(cells.collect::<Result<Vec<$element>>>()?)
        }};
    }
    Ok(match array_type {
        ArrayType::String => bind!(String, &str, String::as_str),
        ArrayType::BigInt => bind!(BigInt, i64, i64::clone),
        ArrayType::Uuid => bind!(Uuid, Uuid, Uuid::clone),
        _ => return Err(unknown_parameter()),
    })
}

fn unknown_parameter() -> StoreError {
    StoreError::corrupt("a login's parameter is of no known type")
}

fn failed(error: SqlxError) -> StoreError {
    sea_orm::DbErr::Query(RuntimeErr::SqlxError(error.into())).into()
}
