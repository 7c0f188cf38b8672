//! Connections to SQLite and PostgreSQL, and the ways in which statements reach them. It knows no table.

pub(crate) mod batcher;
pub(crate) mod bulk;
pub(crate) mod database;
pub(crate) mod deadline;
pub(crate) mod dedicated_connection;
pub(crate) mod engine;
#[cfg(test)]
pub(crate) mod explain;
pub(crate) mod measure;
pub(crate) mod pipeline;
pub(crate) mod query;
pub(crate) mod row;
pub(crate) mod sqlite;
pub(crate) mod timestamp;
pub(crate) mod turnstile;
