//! Users: how they are read, the one way in which they are written, and the feed of what happened to them.

pub(crate) mod feed;
mod id_kinds;
pub(crate) mod identifiers;
pub(crate) mod known;
pub(crate) mod local;
pub(crate) mod read;
pub(crate) mod write;
