//! The few calls through which every statement goes that is sent on a pooled connection or in a transaction of one.

use std::any::type_name;

use rollcall_metrics::Statement as Kind;
use sea_orm::{ConnectionTrait, DatabaseConnection, FromQueryResult, QueryResult, TryGetable, Value};

use crate::db::deadline::in_time;
use crate::db::measure::measured;
use crate::error::{Result, StoreError};

/// A statement with its parameters.
pub(crate) type Statement = (String, Vec<Value>);

/// Reports an executed statement to the counters: its text without values, the rows that it returned or touched, and
/// whether it was a transaction of its own, as statements on a pool are.
pub(crate) fn executed<C: ConnectionTrait>(sql: &str, rows: usize) {
    let alone = type_name::<C>() == type_name::<DatabaseConnection>();
    tracing::trace!(target: "rollcall_store::statement", sql, rows, alone);
}

fn statement(connection: &impl ConnectionTrait, sql: &str, values: Vec<Value>) -> sea_orm::Statement {
    sea_orm::Statement::from_sql_and_values(connection.get_database_backend(), sql, values)
}

/// Returns all rows. Write a LIMIT into the text: a bound one makes SQLite prepare the statement anew at each call.
pub(crate) async fn rows<T: FromQueryResult>(
    connection: &impl ConnectionTrait,
    sql: &str,
    values: Vec<Value>,
) -> Result<Vec<T>> {
    let found = query_all(connection, sql, values).await?;
    found
        .iter()
        .map(|row| T::from_query_result(row, "").map_err(StoreError::from))
        .collect()
}

/// Returns all rows, not yet converted.
async fn query_all<C: ConnectionTrait>(
    connection: &C,
    sql: &str,
    values: Vec<Value>,
) -> Result<Vec<QueryResult>> {
    let statement = statement(connection, sql, values);
    let found = in_time(connection, connection.query_all_raw(statement));
    let found = measured(Kind::Query, found).await?;
    executed::<C>(sql, found.len());
    Ok(found)
}

/// Returns the only row, if there is one.
pub(crate) async fn row<T: FromQueryResult>(
    connection: &impl ConnectionTrait,
    sql: &str,
    values: Vec<Value>,
) -> Result<Option<T>> {
    Ok(rows(connection, sql, values).await?.into_iter().next())
}

/// Returns the first column of all rows.
pub(crate) async fn column<T: TryGetable>(
    connection: &impl ConnectionTrait,
    sql: &str,
    values: Vec<Value>,
) -> Result<Vec<T>> {
    let found = query_all(connection, sql, values).await?;
    found.iter().map(|row| Ok(row.try_get_by_index(0)?)).collect()
}

/// Returns the first column of the only row.
pub(crate) async fn scalar<T: TryGetable>(
    connection: &impl ConnectionTrait,
    sql: &str,
    values: Vec<Value>,
) -> Result<Option<T>> {
    Ok(column(connection, sql, values).await?.into_iter().next())
}

/// Executes a statement; returns how many rows it touched.
pub(crate) async fn execute(connection: &impl ConnectionTrait, sql: &str, values: Vec<Value>) -> Result<u64> {
    execute_built(connection, statement(connection, sql, values)).await
}

/// Executes a statement that was built; returns how many rows it touched.
pub(crate) async fn execute_built<C: ConnectionTrait>(
    connection: &C,
    statement: sea_orm::Statement,
) -> Result<u64> {
    let sql = statement.sql.clone();
    let done = in_time(connection, connection.execute_raw(statement));
    let rows = measured(Kind::Change, done).await?.rows_affected();
    executed::<C>(&sql, usize::try_from(rows).unwrap_or(usize::MAX));
    Ok(rows)
}

/// A text that a person or a caller wrote, as a parameter. PostgreSQL's TEXT cannot hold U+0000.
pub(crate) fn text(value: &str) -> Value {
    value.replace('\0', "\u{fffd}").into()
}
