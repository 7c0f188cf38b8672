//! What UserService does, behind its adapter.

pub(crate) mod erasure;
pub(crate) mod feed;
pub(crate) mod filter;
