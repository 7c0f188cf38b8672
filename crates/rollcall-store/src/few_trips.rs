//! A transaction in few messages to the database. A message costs more than most of a login's statements: on
//! SQLite, a change of threads there and back; on PostgreSQL, a round trip. So on SQLite all that is read travels
//! with the BEGIN and all that is written with the COMMIT, and on PostgreSQL all that is written is one statement.

use futures::TryStreamExt;
use sea_orm::sqlx::pool::PoolConnection;
use sea_orm::sqlx::{AssertSqlSafe, Either, Executor, Sqlite, query};
use sea_orm::{DatabaseTransaction, FromQueryResult, QueryResult, RuntimeErr, SqlxError, Value};

use crate::database::{Database, Engine, execute, query_all};
use crate::error::{Result, StoreError};

/// A statement with its parameters.
pub(crate) type Parts = (String, Vec<Value>);

/// Statements, in their order.
pub(crate) struct Statements {
    engine: Engine,
    /// They travel together, so that their parameters are numbered through.
    together: bool,
    statements: Vec<Parts>,
    parameters: usize,
}

/// Where among its like a statement stands; `None` if there was nothing to do.
pub(crate) type Position = Option<usize>;

/// What statements that read returned, each for itself.
pub(crate) struct Found(Vec<Vec<QueryResult>>);

/// A transaction that has begun. Rolled back unless committed.
pub(crate) enum FewTrips {
    Sqlite(OpenConnection),
    Postgres(DatabaseTransaction),
}

/// A connection within a transaction that its pool knows nothing of: it is closed, and the transaction with it,
/// unless it is given back.
pub(crate) struct OpenConnection(Option<PoolConnection<Sqlite>>);

impl Statements {
    /// For [`FewTrips::begin`].
    pub(crate) fn that_read(engine: Engine) -> Self {
        Self::new(engine, engine == Engine::Sqlite)
    }

    /// For [`FewTrips::commit`].
    pub(crate) fn that_write(engine: Engine) -> Self {
        Self::new(engine, true)
    }

    fn new(engine: Engine, together: bool) -> Self {
        Self {
            engine,
            together,
            statements: Vec::new(),
            parameters: 0,
        }
    }

    /// Adds what `build` makes, if anything, of the number that its first parameter has.
    pub(crate) fn push(
        &mut self,
        build: impl FnOnce(Engine, usize) -> Result<Option<Parts>>,
    ) -> Result<Position> {
        let first = if self.together { self.parameters + 1 } else { 1 };
        Ok(build(self.engine, first)?.map(|parts| {
            self.parameters += parts.1.len();
            self.statements.push(parts);
            self.statements.len() - 1
        }))
    }
}

impl Found {
    /// The rows of one statement.
    pub(crate) fn rows<T: FromQueryResult>(&self, position: Position) -> Result<Vec<T>> {
        let rows = position.and_then(|position| self.0.get(position));
        let read = |row| T::from_query_result(row, "").map_err(StoreError::from);
        rows.into_iter().flatten().map(read).collect()
    }
}

impl FewTrips {
    /// Begins, and reads.
    pub(crate) async fn begin(database: &Database, reads: Statements) -> Result<(Self, Found)> {
        match database.engine {
            Engine::Postgres => {
                let tx = database.begin().await?;
                let mut found = Vec::with_capacity(reads.statements.len());
                for (sql, values) in reads.statements {
                    found.push(query_all(&tx, &sql, values).await?);
                }
                Ok((Self::Postgres(tx), Found(found)))
            }
            Engine::Sqlite => {
                let pool = database.writer.get_sqlite_connection_pool();
                let mut connection = OpenConnection(Some(pool.acquire().await.map_err(failed)?));
                let mut script = vec![("BEGIN IMMEDIATE".to_owned(), Vec::new())];
                script.extend(reads.statements);
                let mut found = connection.run(script).await?;
                found.remove(0);
                Ok((Self::Sqlite(connection), Found(found)))
            }
        }
    }

    /// The rows of one statement.
    pub(crate) async fn rows<T: FromQueryResult>(
        &mut self,
        sql: String,
        values: Vec<Value>,
    ) -> Result<Vec<T>> {
        let found = match self {
            Self::Postgres(tx) => vec![query_all(tx, &sql, values).await?],
            Self::Sqlite(connection) => connection.run(vec![(sql, values)]).await?,
        };
        Found(found).rows(Some(0))
    }

    /// Writes, each statement to a table of its own, and commits.
    pub(crate) async fn commit(self, writes: Statements) -> Result<()> {
        match self {
            Self::Postgres(tx) => {
                if let Some((sql, values)) = one_statement(writes.statements) {
                    execute(&tx, &sql, values).await?;
                }
                Ok(tx.commit().await?)
            }
            Self::Sqlite(mut connection) => {
                let mut script = writes.statements;
                script.push(("COMMIT".to_owned(), Vec::new()));
                connection.run(script).await?;
                connection.give_back();
                Ok(())
            }
        }
    }
}

/// Statements that write, as one for PostgreSQL: all but the last as WITH queries, which all of them see the
/// tables as they were before.
fn one_statement(mut statements: Vec<Parts>) -> Option<Parts> {
    let (last, last_values) = statements.pop()?;
    let (mut with, mut values) = (Vec::new(), Vec::new());
    for (number, (sql, own)) in statements.into_iter().enumerate() {
        with.push(format!("w{number} AS ({sql})"));
        values.extend(own);
    }
    values.extend(last_values);
    let sql = match with.is_empty() {
        true => last,
        false => format!("WITH {} {last}", with.join(", ")),
    };
    Some((sql, values))
}

impl OpenConnection {
    async fn run(&mut self, script: Vec<Parts>) -> Result<Vec<Vec<QueryResult>>> {
        let result = self.try_run(script).await;
        if result.is_err()
            && let Some(connection) = self.0.take()
        {
            // Ends the transaction, so that the next one need not wait for its lock. It is broken in any case.
            let _ = connection.close().await;
        }
        result
    }

    async fn try_run(&mut self, script: Vec<Parts>) -> Result<Vec<Vec<QueryResult>>> {
        let connection = self
            .0
            .as_mut()
            .ok_or(StoreError::corrupt("a transaction goes on after its end"))?;
        let (sql, values): (Vec<String>, Vec<Vec<Value>>) = script.into_iter().unzip();
        let mut query = query(AssertSqlSafe(sql.join("; ")));
        for value in values.into_iter().flatten() {
            let Value::String(text) = value else {
                return Err(StoreError::corrupt("a login's parameter is no text"));
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

    fn give_back(&mut self) {
        self.0 = None;
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        if let Some(connection) = &mut self.0 {
            connection.close_on_drop();
        }
    }
}

fn failed(error: SqlxError) -> StoreError {
    sea_orm::DbErr::Query(RuntimeErr::SqlxError(error.into())).into()
}
