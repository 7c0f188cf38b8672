//! Logins: what one reads before its bind and what it commits after it, shared by all replicas. The hot path.
//!
//! Read first: `store.rs` (a login's steps), `group_commit.rs` (how logins share a commit), `snapshot.rs` (how a batch is
//! decided), then the two ways to commit it.

pub(crate) mod cache;
mod commits;
pub(crate) mod finish;
mod group_commit;
mod job;
mod last_logins;
mod locking_commit;
mod optimistic_commit;
mod reader;
mod refusals;
mod request_ids;
mod snapshot;
pub(crate) mod soft_lock;
pub(crate) mod store;
pub(crate) mod target;
mod target_rows;
mod tenant_queues;
