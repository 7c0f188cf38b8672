//! Connections to SQLite and PostgreSQL, and the ways in which statements reach them. It knows no table.

pub(crate) mod batcher;
pub(crate) mod bulk;
pub(crate) mod database;
pub(crate) mod own_connection;
pub(crate) mod pipeline;
pub(crate) mod timestamp;
