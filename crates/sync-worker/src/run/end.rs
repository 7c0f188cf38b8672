//! How runs end or come to wait, and what becomes of plans that wait.

pub(crate) mod ending;
pub(crate) mod expiry;
pub(crate) mod superseded;
