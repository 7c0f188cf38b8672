//! Digests of rows, for the marks of feeds.

use ring::digest::{Context, SHA256};

/// The digest of a row's columns, which tells it from any other row. Lengths are hashed too, so that columns cannot run
/// into each other.
pub(crate) fn digest(columns: &[&[u8]]) -> i64 {
    let mut context = Context::new(&SHA256);
    for column in columns {
        context.update(&(column.len() as u64).to_be_bytes());
        context.update(column);
    }
    let mut first = [0; 8];
    first.copy_from_slice(&context.finish().as_ref()[..8]);
    i64::from_be_bytes(first)
}
