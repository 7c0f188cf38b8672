//! Many rows as one parameter or a few, for bulk statements.
//!
//! On PostgreSQL each column is sent as an array and read by UNNEST. On SQLite all columns are sent as one JSON text and
//! read by `json_each`. In both cases one prepared statement serves any number of rows.

use sea_orm::Value;
use sea_orm::sea_query::ArrayType;
use serde_json::json;
use uuid::Uuid;

use crate::db::engine::Engine;

/// The type of a column.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    Text,
    BigInt,
    Bool,
    Uuid,
    Bytes,
}

/// A column. The driver's arrays hold no NULL, so a nullable column sends in its place a value that it never has
/// otherwise: the empty text or bytes, the smallest number, the nil UUID.
pub(crate) struct Column {
    name: &'static str,
    column_type: Type,
    nullable: bool,
}

/// Rows to send to the database, stored by column. A row has as many values as there are columns, or does not compile.
pub(crate) struct Bulk<const N: usize> {
    columns: [Column; N],
    cells: [Vec<Value>; N],
}

impl Column {
    pub(crate) const fn new(name: &'static str, column_type: Type) -> Self {
        Self {
            name,
            column_type,
            nullable: false,
        }
    }

    pub(crate) const fn nullable(name: &'static str, column_type: Type) -> Self {
        Self {
            name,
            column_type,
            nullable: true,
        }
    }
}

impl<const N: usize> Bulk<N> {
    pub(crate) fn new(columns: [Column; N]) -> Self {
        let cells = std::array::from_fn(|_| Vec::new());
        Self { columns, cells }
    }

    /// Adds a row; the values in the order and of the types of the columns.
    pub(crate) fn push(&mut self, row: [Value; N]) {
        for (cells, value) in self.cells.iter_mut().zip(row) {
            cells.push(value);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.cells.first().map_or(0, Vec::len)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The column names, for an INSERT.
    pub(crate) fn names(&self) -> String {
        let names: Vec<&str> = self.columns.iter().map(|column| column.name).collect();
        names.join(", ")
    }

    /// `(SELECT …) AS input`, whose first parameter is `$first`, and the parameters.
    pub(crate) fn source(self, engine: Engine, first: usize) -> (String, Vec<Value>) {
        match engine {
            Engine::Sqlite => self.json_source(first),
            Engine::Postgres => self.unnest_source(first),
        }
    }

    fn json_source(self, first: usize) -> (String, Vec<Value>) {
        let selected: Vec<String> = self
            .columns
            .iter()
            .enumerate()
            .map(|(index, column)| match column.column_type {
                Type::Uuid | Type::Bytes => format!("unhex(value ->> {index}) AS {}", column.name),
                Type::Text | Type::BigInt | Type::Bool => format!("value ->> {index} AS {}", column.name),
            })
            .collect();
        let sql = format!(
            "(SELECT {} FROM json_each(${first})) AS input",
            selected.join(", ")
        );
        let rows: Vec<serde_json::Value> = (0..self.len())
            .map(|row| self.cells.iter().map(|cells| to_json(&cells[row])).collect())
            .collect();
        (sql, vec![serde_json::Value::Array(rows).to_string().into()])
    }

    fn unnest_source(self, first: usize) -> (String, Vec<Value>) {
        let mut selected = Vec::new();
        let mut arrays = Vec::new();
        let mut names = Vec::new();
        let mut values = Vec::new();
        for (index, (column, mut cells)) in self.columns.into_iter().zip(self.cells).enumerate() {
            let Column { name, nullable, .. } = column;
            let (array_type, sql_type, null, null_sql) = match column.column_type {
                Type::Text => (ArrayType::String, "text", Value::from(""), "''"),
                Type::BigInt => (
                    ArrayType::BigInt,
                    "bigint",
                    Value::from(i64::MIN),
                    "-9223372036854775808",
                ),
                Type::Bool => (ArrayType::Bool, "boolean", Value::from(false), "NULL"),
                Type::Uuid => (
                    ArrayType::Uuid,
                    "uuid",
                    Value::from(Uuid::nil()),
                    "CAST('00000000-0000-0000-0000-000000000000' AS uuid)",
                ),
                Type::Bytes => (
                    ArrayType::Bytes,
                    "bytea",
                    Value::from(Vec::<u8>::new()),
                    "CAST('' AS bytea)",
                ),
            };
            for cell in &mut cells {
                if *cell == cell.as_null() {
                    *cell = null.clone();
                }
            }
            selected.push(match nullable {
                true => format!("NULLIF({name}, {null_sql}) AS {name}"),
                false => name.to_owned(),
            });
            arrays.push(format!("CAST(${} AS {sql_type}[])", first + index));
            names.push(name);
            values.push(Value::Array(array_type, Some(Box::new(cells))));
        }
        let sql = format!(
            "(SELECT {} FROM UNNEST({}) AS arrays({})) AS input",
            selected.join(", "),
            arrays.join(", "),
            names.join(", ")
        );
        (sql, values)
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "of sea-orm: columns are of these types"
)]
fn to_json(value: &Value) -> serde_json::Value {
    match value {
        Value::String(Some(text)) => json!(text),
        Value::BigInt(Some(number)) => json!(number),
        Value::Bool(Some(flag)) => json!(flag),
        Value::Uuid(Some(id)) => json!(id.simple().to_string()),
        Value::Bytes(Some(bytes)) => json!(hex(bytes)),
        _ => serde_json::Value::Null,
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
