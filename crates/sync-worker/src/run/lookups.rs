//! What planning asks the directory and the store about people whom the entries alone do not explain.

pub(crate) mod absences;
pub(crate) mod known;
pub(crate) mod neighbours;
pub(crate) mod relinking;
pub(crate) mod shared_ids;
pub(crate) mod takeover;
