//! A connection that one task has for itself, and opens anew when it breaks.

use std::sync::Arc;
use std::time::Duration;

use futures::{TryFutureExt, TryStreamExt};
use sea_orm::sea_query::ArrayType;
use sea_orm::sqlx::postgres::PgArguments;
use sea_orm::sqlx::query::Query;
use sea_orm::sqlx::{
    AssertSqlSafe, Connection, Either, Executor, PgConnection, Postgres, SqliteConnection, query,
};
use sea_orm::{QueryResult, RuntimeErr, SqlxError, Value};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::db::database::{BUSY_TIMEOUT, Database, Engine, answered};
use crate::db::pipeline::Parts;
use crate::error::{Result, StoreError};

/// How often to ask whether SQLite may be written to.
const ASK_AGAIN: Duration = Duration::from_millis(1);

/// Within this time PostgreSQL has answered a login's statements, which take milliseconds, or it has vanished.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// What is for this connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Reading,
    Writing,
}

pub(crate) struct OwnConnection {
    database: Arc<Database>,
    purpose: Purpose,
    open: Option<Open>,
}

enum Open {
    Sqlite(SqliteConnection),
    Postgres(Box<PgConnection>),
}

impl OwnConnection {
    /// Opened when it is needed. Not counted by the pools.
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

    /// Sends statements that change nothing which would stay if the connection broke; what each returned. If the
    /// connection was lost since it was last used, they are sent on a new one.
    pub(crate) async fn start(&mut self, script: Vec<Parts>) -> Result<Vec<Vec<QueryResult>>> {
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

    /// On SQLite another process may be writing. Its transactions are short, and the pauses between them too: who asks
    /// at ever longer intervals, as SQLite by itself does, misses them for long.
    async fn run_when_free(&mut self, script: &[Parts]) -> Result<Vec<Vec<QueryResult>>> {
        let give_up = Instant::now() + BUSY_TIMEOUT;
        loop {
            if let Some(Open::Sqlite(connection)) = &mut self.open
                && Instant::now() < give_up
            {
                match on_sqlite(connection, script.to_vec()).await {
                    Err(StoreError::Contended) => sleep(ASK_AGAIN).await,
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

    /// Sends more statements on the connection of those before.
    pub(crate) async fn go_on(&mut self, script: Vec<Parts>) -> Result<Vec<Vec<QueryResult>>> {
        self.run(script).await
    }

    /// Ends the connection and any transaction on it.
    pub(crate) fn close(&mut self) {
        self.open = None;
    }

    async fn connect(&self) -> Result<Open> {
        let pool = match self.purpose {
            Purpose::Reading => &self.database.reader,
            Purpose::Writing => &self.database.writer,
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
                // Not one of the pool's, which may have lost their server unnoticed.
                let options = pool.get_postgres_connection_pool().connect_options();
                let connection = PgConnection::connect_with(&options).map_err(failed);
                Open::Postgres(Box::new(answered(ANSWER_TIMEOUT, connection).await?))
            }
        })
    }

    async fn run(&mut self, script: Vec<Parts>) -> Result<Vec<Vec<QueryResult>>> {
        let result = match &mut self.open {
            Some(Open::Sqlite(connection)) => on_sqlite(connection, script).await,
            Some(Open::Postgres(connection)) => {
                answered(ANSWER_TIMEOUT, on_postgres(connection, script)).await
            }
            None => Err(StoreError::corrupt("a transaction goes on after its end")),
        };
        if result.is_err() {
            self.close();
        }
        result
    }
}

/// All statements in one message.
async fn on_sqlite(connection: &mut SqliteConnection, script: Vec<Parts>) -> Result<Vec<Vec<QueryResult>>> {
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

async fn on_postgres(connection: &mut PgConnection, script: Vec<Parts>) -> Result<Vec<Vec<QueryResult>>> {
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

/// Arrays of a [`Bulk`](crate::db::bulk::Bulk).
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
