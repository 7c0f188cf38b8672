//! A transaction in few messages to the database. A message costs more than most of a login's statements: on
//! SQLite, a change of threads there and back; on PostgreSQL, a round trip. So on SQLite all that is read travels
//! with the BEGIN and all that is written with the COMMIT, and on PostgreSQL all that is written is one statement.
//! The connection is one of [`OwnConnection`]: a pool would send one message more, to try what it gets back.

use sea_orm::{FromQueryResult, QueryResult, Value};

use crate::db::database::Engine;
use crate::db::own_connection::OwnConnection;
use crate::error::Result;

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

/// What a commit survives.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// The end of this process, whatever it is. If the machine or the database's server fails, the last moment may be
    /// lost.
    OfProcess,
    /// That too: it is on the disk when it is answered.
    OfMachine,
}

/// Where among its like a statement stands; `None` if there was nothing to do.
pub(crate) type Position = Option<usize>;

/// What statements that read returned, each for itself.
pub(crate) struct Found(Vec<Vec<QueryResult>>);

/// A transaction that has begun. Dropped before it was committed, it ends with its connection.
pub(crate) struct FewTrips<'c> {
    connection: &'c mut OwnConnection,
    ended: bool,
}

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
        let read = |row| Ok(T::from_query_result(row, "")?);
        rows.into_iter().flatten().map(read).collect()
    }
}

impl<'c> FewTrips<'c> {
    /// Begins, and reads.
    pub(crate) async fn begin(
        connection: &'c mut OwnConnection,
        durability: Durability,
        reads: Statements,
    ) -> Result<(Self, Found)> {
        let begin: &[&str] = match (reads.engine, durability) {
            (Engine::Sqlite, Durability::OfMachine) => &["PRAGMA synchronous = FULL", "BEGIN IMMEDIATE"],
            (Engine::Sqlite, Durability::OfProcess) => &["PRAGMA synchronous = NORMAL", "BEGIN IMMEDIATE"],
            (Engine::Postgres, Durability::OfMachine) => &["BEGIN"],
            (Engine::Postgres, Durability::OfProcess) => &["BEGIN; SET LOCAL synchronous_commit = off"],
        };
        let begin = begin.iter().map(|&sql| (sql.to_owned(), Vec::new()));
        let count = begin.len();
        let mut found = connection.start(begin.chain(reads.statements).collect()).await?;
        found.drain(..count);
        let begun = Self {
            connection,
            ended: false,
        };
        Ok((begun, Found(found)))
    }

    /// The rows of one statement.
    pub(crate) async fn rows<T: FromQueryResult>(
        &mut self,
        sql: String,
        values: Vec<Value>,
    ) -> Result<Vec<T>> {
        Found(self.connection.go_on(vec![(sql, values)]).await?).rows(Some(0))
    }

    /// Writes, each statement to a table of its own, and commits.
    pub(crate) async fn commit(mut self, writes: Statements) -> Result<()> {
        let mut script = match writes.engine {
            Engine::Postgres => one_statement(writes.statements).into_iter().collect(),
            Engine::Sqlite => writes.statements,
        };
        script.push(("COMMIT".to_owned(), Vec::new()));
        self.end(script).await
    }

    /// Takes back what was done; the connection stays.
    pub(crate) async fn roll_back(mut self) -> Result<()> {
        self.end(vec![("ROLLBACK".to_owned(), Vec::new())]).await
    }

    async fn end(&mut self, script: Vec<Parts>) -> Result<()> {
        self.connection.go_on(script).await?;
        self.ended = true;
        Ok(())
    }
}

impl Drop for FewTrips<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.connection.close();
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
