//! How runs come to rest, and what becomes of plans that wait.

pub(crate) mod ending;
pub(crate) mod expiry;
pub(crate) mod superseded;
