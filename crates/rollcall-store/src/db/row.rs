//! Rows that a [`DedicatedConnection`](crate::db::dedicated_connection::DedicatedConnection) returned, whichever driver read them.

use std::cell::Cell;
use std::sync::Arc;

use rusqlite::types::Value;
use sea_orm::{QueryResult, TryGetable};
use uuid::Uuid;

use crate::error::{Result, StoreError};

/// A row as its driver read it.
pub(crate) enum Row {
    Postgres(QueryResult),
    Sqlite(SqliteRow),
}

/// A row of SQLite.
pub(crate) struct SqliteRow {
    columns: Arc<[String]>,
    values: Vec<Value>,
    /// Where the next column to be read probably is, since columns are read in their order.
    next: Cell<usize>,
}

/// What can be read from a row; see [`from_row`].
pub(crate) trait FromRow: Sized {
    fn from_row(row: &Row) -> Result<Self>;
}

/// A column's type.
pub(crate) trait Column: TryGetable {
    /// `None` if the value is of another type.
    fn of_sqlite(value: &Value) -> Option<Self>;
}

/// Reads a struct from a row whose columns have the names of its fields.
macro_rules! from_row {
    ($name:ident { $($field:ident),+ $(,)? }) => {
        impl $crate::db::row::FromRow for $name {
            fn from_row(row: &$crate::db::row::Row) -> $crate::error::Result<Self> {
                Ok(Self { $($field: row.get(stringify!($field))?),+ })
            }
        }
    };
}
pub(crate) use from_row;

impl Row {
    pub(crate) fn get<T: Column>(&self, column: &str) -> Result<T> {
        match self {
            Row::Postgres(row) => Ok(row.try_get("", column)?),
            Row::Sqlite(row) => {
                let value = row.value(column);
                let value = value.and_then(T::of_sqlite);
                value.ok_or(StoreError::corrupt("a column is missing or of another type"))
            }
        }
    }
}

impl SqliteRow {
    pub(crate) fn new(columns: Arc<[String]>, values: Vec<Value>) -> Self {
        Self {
            columns,
            values,
            next: Cell::new(0),
        }
    }

    fn value(&self, column: &str) -> Option<&Value> {
        let next = self.next.get();
        let index = match self.columns.get(next) {
            Some(name) if name == column => next,
            _ => self.columns.iter().position(|name| name == column)?,
        };
        self.next.set(index + 1);
        self.values.get(index)
    }
}

impl Column for i64 {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "of rusqlite: a value of another type"
    )]
    fn of_sqlite(value: &Value) -> Option<Self> {
        match value {
            Value::Integer(number) => Some(*number),
            _ => None,
        }
    }
}

impl Column for bool {
    fn of_sqlite(value: &Value) -> Option<Self> {
        i64::of_sqlite(value).map(|number| number != 0)
    }
}

impl Column for String {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "of rusqlite: a value of another type"
    )]
    fn of_sqlite(value: &Value) -> Option<Self> {
        match value {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        }
    }
}

impl Column for Vec<u8> {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "of rusqlite: a value of another type"
    )]
    fn of_sqlite(value: &Value) -> Option<Self> {
        match value {
            Value::Blob(bytes) => Some(bytes.clone()),
            _ => None,
        }
    }
}

impl Column for Uuid {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "of rusqlite: a value of another type"
    )]
    fn of_sqlite(value: &Value) -> Option<Self> {
        match value {
            Value::Blob(bytes) => Uuid::from_slice(bytes).ok(),
            _ => None,
        }
    }
}

impl<T: Column> Column for Option<T> {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "of rusqlite: all but NULL is a value"
    )]
    fn of_sqlite(value: &Value) -> Option<Self> {
        match value {
            Value::Null => Some(None),
            value => T::of_sqlite(value).map(Some),
        }
    }
}
