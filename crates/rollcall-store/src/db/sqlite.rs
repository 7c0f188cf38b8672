//! A connection to SQLite that is used in the calling thread. Each connection of a pool has its own thread, and
//! switching to it and back costs a login ten times what its statements cost.
//!
//! The connection never waits for another process: if the database is locked, it fails as [`StoreError::Contended`] at
//! once.

use std::path::Path;
use std::sync::Arc;

use rusqlite::{CachedStatement, Connection, OpenFlags};
use sea_orm::Value;

use crate::db::database::{SQLITE_PRAGMAS, SQLITE_READER_PRAGMAS, SQLITE_WRITER_PRAGMAS};
use crate::db::query::Statement;
use crate::db::row::{Row, SqliteRow};
use crate::error::{Result, StoreError};

/// Statements that are kept prepared.
const PREPARED: usize = 100;

/// A connection that is used in the calling thread.
pub(crate) struct Sqlite(Connection);

impl Sqlite {
    /// Opens a database that exists and is in WAL mode.
    pub(crate) fn open(path: &Path, writes: bool) -> Result<Self> {
        // The connection has one user at a time, so SQLite need not lock it.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.set_prepared_statement_cache_capacity(PREPARED);
        let own = match writes {
            true => SQLITE_WRITER_PRAGMAS,
            false => SQLITE_READER_PRAGMAS,
        };
        for (name, value) in SQLITE_PRAGMAS.iter().chain(own) {
            connection.execute_batch(&format!("PRAGMA {name} = {value}"))?;
        }
        connection.busy_timeout(std::time::Duration::ZERO)?;
        Ok(Self(connection))
    }

    /// Executes statements in their order and returns the rows of each.
    pub(crate) fn run(&mut self, script: &[Statement]) -> Result<Vec<Vec<Row>>> {
        script.iter().map(|statement| self.execute(statement)).collect()
    }

    fn execute(&self, (sql, values): &Statement) -> Result<Vec<Row>> {
        let mut statement = self.0.prepare_cached(sql)?;
        bind(&mut statement, values)?;
        let count = statement.column_count();
        let mut columns: Option<Arc<[String]>> = None;
        let mut found = Vec::new();
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next()? {
            let columns = columns.get_or_insert_with(|| names(row.as_ref()));
            let values = (0..count).map(|index| row.get(index));
            let values = values.collect::<rusqlite::Result<_>>()?;
            found.push(Row::Sqlite(SqliteRow::new(Arc::clone(columns), values)));
        }
        Ok(found)
    }
}

fn names(statement: &rusqlite::Statement<'_>) -> Arc<[String]> {
    statement.column_names().into_iter().map(str::to_owned).collect()
}

/// Binds the parameters `$1` and so on. SQLite takes these for names, and numbers them itself.
fn bind(statement: &mut CachedStatement<'_>, values: &[Value]) -> Result<()> {
    for index in 1..=statement.parameter_count() {
        let number = statement.parameter_name(index).and_then(|name| name.get(1..));
        let number: Option<usize> = number.and_then(|number| number.parse().ok());
        let value = number.and_then(|number| values.get(number.checked_sub(1)?));
        let Some(Value::String(Some(text))) = value else {
            return Err(StoreError::corrupt("a login's parameter is of no known type"));
        };
        statement.raw_bind_parameter(index, text)?;
    }
    Ok(())
}
