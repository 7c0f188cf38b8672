//! What a login reads before its bind, and what it commits: soft locks, audit rows and refusals. The hot path.

pub(crate) mod cache;
pub(crate) mod group_commit;
mod optimistic_commit;
mod refusals;
mod request_ids;
pub(crate) mod soft_lock;
pub(crate) mod target;
