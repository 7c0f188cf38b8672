//! A transaction in as few messages to the database as possible.
//!
//! On PostgreSQL a message costs more than most of a login's statements, so all writes are one statement. The transaction uses a
//! [`DedicatedConnection`], since a pool would send one message more to test a returned connection.

use sea_orm::Value;

use crate::db::dedicated_connection::DedicatedConnection;
use crate::db::engine::Engine;
use crate::db::query::Statement;
use crate::db::row::{FromRow, Row};
use crate::error::Result;

/// Statements to send, in their order.
pub(crate) struct Script {
    engine: Engine,
    /// The statements become one, so their parameters are numbered through.
    one_statement: bool,
    statements: Vec<Statement>,
    parameters: usize,
}

/// Which failures a commit survives.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// A crash of this process. If the machine or the database server fails, the last commits may be lost.
    ProcessCrash,
    /// A crash of the machine too: the commit is on the disk before it is answered.
    MachineCrash,
}

/// Which statement of a script; `None` if there was nothing to send.
pub(crate) type StatementIndex = Option<usize>;

/// The rows that a script of reads returned, by statement.
pub(crate) struct Results(Vec<Vec<Row>>);

/// A transaction that has begun. If it is dropped before its commit, it ends with its connection.
pub(crate) struct PipelinedTransaction<'c> {
    connection: &'c mut DedicatedConnection,
    ended: bool,
}

impl Script {
    /// For [`PipelinedTransaction::begin`].
    pub(crate) fn of_reads(engine: Engine) -> Self {
        Self::new(engine, false)
    }

    /// For [`PipelinedTransaction::commit`].
    pub(crate) fn of_writes(engine: Engine) -> Self {
        Self::new(engine, engine == Engine::Postgres)
    }

    fn new(engine: Engine, one_statement: bool) -> Self {
        Self {
            engine,
            one_statement,
            statements: Vec::new(),
            parameters: 0,
        }
    }

    /// Adds the statement that `build` makes, if any. `build` gets the number of the statement's first parameter.
    pub(crate) fn push(
        &mut self,
        build: impl FnOnce(Engine, usize) -> Result<Option<Statement>>,
    ) -> Result<StatementIndex> {
        let first = if self.one_statement {
            self.parameters + 1
        } else {
            1
        };
        Ok(build(self.engine, first)?.map(|parts| {
            self.parameters += parts.1.len();
            self.statements.push(parts);
            self.statements.len() - 1
        }))
    }
}

impl Results {
    /// Returns the rows of one statement.
    pub(crate) fn rows<T: FromRow>(&self, statement: StatementIndex) -> Result<Vec<T>> {
        let rows = statement.and_then(|index| self.0.get(index));
        rows.into_iter().flatten().map(T::from_row).collect()
    }
}

impl<'c> PipelinedTransaction<'c> {
    /// Begins the transaction and sends the reads.
    pub(crate) async fn begin(
        connection: &'c mut DedicatedConnection,
        durability: Durability,
        reads: Script,
    ) -> Result<(Self, Results)> {
        let begin: &[&str] = match (reads.engine, durability) {
            (Engine::Sqlite, Durability::MachineCrash) => &["PRAGMA synchronous = FULL", "BEGIN IMMEDIATE"],
            (Engine::Sqlite, Durability::ProcessCrash) => &["PRAGMA synchronous = NORMAL", "BEGIN IMMEDIATE"],
            (Engine::Postgres, Durability::MachineCrash) => &["BEGIN"],
            (Engine::Postgres, Durability::ProcessCrash) => &["BEGIN; SET LOCAL synchronous_commit = off"],
        };
        let begin = begin.iter().map(|&sql| (sql.to_owned(), Vec::new()));
        let count = begin.len();
        let script: Vec<_> = begin.chain(reads.statements).collect();
        let mut found = connection.send_first(&script).await?;
        found.drain(..count);
        let begun = Self {
            connection,
            ended: false,
        };
        Ok((begun, Results(found)))
    }

    /// Sends one more statement and returns its rows.
    pub(crate) async fn rows<T: FromRow>(&mut self, sql: String, values: Vec<Value>) -> Result<Vec<T>> {
        Results(self.connection.send(&[(sql, values)]).await?).rows(Some(0))
    }

    /// Sends the writes and commits. Each write must be to a table of its own.
    pub(crate) async fn commit(mut self, writes: Script) -> Result<()> {
        let mut script = match writes.engine {
            Engine::Postgres => one_statement(writes.statements).into_iter().collect(),
            Engine::Sqlite => writes.statements,
        };
        script.push(("COMMIT".to_owned(), Vec::new()));
        self.end(script).await
    }

    /// Rolls the transaction back and keeps the connection.
    pub(crate) async fn roll_back(mut self) -> Result<()> {
        self.end(vec![("ROLLBACK".to_owned(), Vec::new())]).await
    }

    async fn end(&mut self, script: Vec<Statement>) -> Result<()> {
        self.connection.send(&script).await?;
        self.ended = true;
        Ok(())
    }
}

impl Drop for PipelinedTransaction<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.connection.close();
        }
    }
}

/// Statements that write, as one for PostgreSQL: all but the last as WITH queries, which all of them see the
/// tables as they were before.
fn one_statement(mut statements: Vec<Statement>) -> Option<Statement> {
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
