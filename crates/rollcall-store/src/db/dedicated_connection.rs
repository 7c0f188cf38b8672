//! A connection that belongs to one task, outside of the pools, and is opened anew when it breaks.

use std::sync::Arc;
use std::time::Duration;

use futures::{TryFutureExt, TryStreamExt};
use rollcall_metrics::Statement as Kind;
use sea_orm::sea_query::ArrayType;
use sea_orm::sqlx::postgres::PgArguments;
use sea_orm::sqlx::query::Query;
use sea_orm::sqlx::{
    AssertSqlSafe, Connection, Either, Executor, PgConnection, Postgres, SqliteConnection, query,
};
use sea_orm::{QueryResult, RuntimeErr, SqlxError, Value};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::db::database::{BUSY_TIMEOUT, Database};
use crate::db::deadline::within;
use crate::db::engine::Engine;
use crate::db::measure::measured;
use crate::db::query::Statement;
use crate::error::{Result, StoreError};

/// The interval at which to ask for SQLite's write lock.
const LOCK_POLL_INTERVAL: Duration = Duration::from_millis(1);

/// A login's statements take milliseconds. If PostgreSQL has not answered after this, its machine has vanished.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// A process that freezes within a login's transaction holds rows of others. PostgreSQL ends it after this.
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
}

enum Open {
    Sqlite(SqliteConnection),
    Postgres(Box<PgConnection>),
}

impl DedicatedConnection {
    /// A connection that is opened when it is first needed.
    pub(crate) fn new(database: Arc<Database>, purpose: Purpose) -> Self {
        Self {
            database,
            purpose,
            open: None,
        }
    }

    pub(crate) fn engine(&self) -> Engine {
        self.database.engine
    }

    /// Sends statements and returns the rows of each. If the connection was lost since it was last used, sends them
    /// again on a new one. So they must change nothing that would stay when the connection breaks.
    pub(crate) async fn send_first(&mut self, script: Vec<Statement>) -> Result<Vec<Vec<QueryResult>>> {
        measured(self.kind(), self.send_on_any(script)).await
    }

    fn kind(&self) -> Kind {
        match self.purpose {
            Purpose::Reading => Kind::LoginRead,
            Purpose::Writing { .. } => Kind::LoginCommit,
        }
    }

    async fn send_on_any(&mut self, script: Vec<Statement>) -> Result<Vec<Vec<QueryResult>>> {
        let was_open = self.open.is_some();
        if !was_open {
            self.open = Some(self.connect().await?);
        }
        match self.run_when_free(&script).await {
            Err(StoreError::Unavailable(_)) if was_open => {
                self.open = Some(self.connect().await?);
                self.run_when_free(&script).await
            }
            result => result,
        }
    }

    /// On SQLite, waits while another process writes. Its transactions are short, and it lets others pass between them.
    /// SQLite's own busy handler asks at longer and longer intervals, for which it would wait.
    async fn run_when_free(&mut self, script: &[Statement]) -> Result<Vec<Vec<QueryResult>>> {
        let give_up = Instant::now() + BUSY_TIMEOUT;
        let mut waiting = None;
        loop {
            if let Some(Open::Sqlite(connection)) = &mut self.open
                && Instant::now() < give_up
            {
                match on_sqlite(connection, script.to_vec()).await {
                    Err(StoreError::Contended) => {
                        waiting = waiting.or_else(|| self.database.wait_to_write());
                        sleep(LOCK_POLL_INTERVAL).await;
                    }
                    Err(error) => {
                        self.close();
                        return Err(error);
                    }
                    found => return found,
                }
            } else {
                return self.run(script.to_vec()).await;
            }
        }
    }

    /// Sends more statements on the same connection and returns the rows of each.
    pub(crate) async fn send(&mut self, script: Vec<Statement>) -> Result<Vec<Vec<QueryResult>>> {
        measured(self.kind(), self.run(script)).await
    }

    /// Ends the connection and any transaction on it.
    pub(crate) fn close(&mut self) {
        self.open = None;
    }

    async fn connect(&self) -> Result<Open> {
        let pool = match self.purpose {
            Purpose::Reading => &self.database.reader,
            Purpose::Writing { .. } => &self.database.writer,
        };
        Ok(match self.database.engine {
            Engine::Sqlite => {
                let connection = pool.get_sqlite_connection_pool().acquire().await;
                let mut connection = connection.map_err(failed)?.detach();
                connection
                    .execute("PRAGMA busy_timeout = 0")
                    .await
                    .map_err(failed)?;
                Open::Sqlite(connection)
            }
            Engine::Postgres => {
                // Not one from the pool: it may have lost its server unnoticed.
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

    async fn run(&mut self, script: Vec<Statement>) -> Result<Vec<Vec<QueryResult>>> {
        let result = match &mut self.open {
            Some(Open::Sqlite(connection)) => on_sqlite(connection, script).await,
            Some(Open::Postgres(connection)) => within(ANSWER_TIMEOUT, on_postgres(connection, script)).await,
            None => Err(StoreError::corrupt("a transaction goes on after its end")),
        };
        if result.is_err() {
            self.close();
        }
        result
    }
}

/// Sends all statements in one message to the connection's thread.
async fn on_sqlite(
    connection: &mut SqliteConnection,
    script: Vec<Statement>,
) -> Result<Vec<Vec<QueryResult>>> {
    let (sql, values): (Vec<String>, Vec<Vec<Value>>) = script.into_iter().unzip();
    let mut query = query(AssertSqlSafe(sql.join("; ")));
    for value in values.into_iter().flatten() {
        let Value::String(text) = value else {
            return Err(unknown_parameter());
        };
        query = query.bind(text);
    }
    let mut results = connection.fetch_many(query);
    let (mut found, mut rows) = (Vec::new(), Vec::new());
    while let Some(step) = results.try_next().await.map_err(failed)? {
        match step {
            Either::Right(row) => rows.push(row.into()),
            Either::Left(_) => found.push(std::mem::take(&mut rows)),
        }
    }
    Ok(found)
}

async fn on_postgres(connection: &mut PgConnection, script: Vec<Statement>) -> Result<Vec<Vec<QueryResult>>> {
    let mut found = Vec::with_capacity(script.len());
    for (sql, values) in script {
        let rows = if values.is_empty() {
            connection.fetch_all(AssertSqlSafe(sql)).await
        } else {
            let mut query = query(AssertSqlSafe(sql));
            for value in values {
                query = bind(query, value)?;
            }
            connection.fetch_all(query).await
        };
        found.push(rows.map_err(failed)?.into_iter().map(Into::into).collect());
    }
    Ok(found)
}

/// Binds an array of a [`Bulk`](crate::db::bulk::Bulk).
fn bind(query: Query<'_, Postgres, PgArguments>, value: Value) -> Result<Query<'_, Postgres, PgArguments>> {
    let Value::Array(array_type, Some(cells)) = value else {
        return Err(unknown_parameter());
    };
    macro_rules! bind {
        ($kind:ident, $element:ty) => {{
            let cells = cells.into_iter().map(|cell| match cell {
                Value::$kind(Some(value)) => Ok(value),
                _ => Err(unknown_parameter()),
            });
            query.bind(cells.collect::<Result<Vec<$element>>>()?)
        }};
    }
    Ok(match array_type {
        ArrayType::String => bind!(String, String),
        ArrayType::BigInt => bind!(BigInt, i64),
        ArrayType::Uuid => bind!(Uuid, Uuid),
        _ => return Err(unknown_parameter()),
    })
}

fn unknown_parameter() -> StoreError {
    StoreError::corrupt("a login's parameter is of no known type")
}

fn failed(error: SqlxError) -> StoreError {
    sea_orm::DbErr::Query(RuntimeErr::SqlxError(error.into())).into()
}
