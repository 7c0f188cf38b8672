//! What planning asks the directory and the store about people whom the entries alone do not explain.

pub(crate) mod absences;
pub(crate) mod known;
mod neighbours;
pub(crate) mod others;
pub(crate) mod relinking;
pub(crate) mod shared_ids;
mod takeover;
