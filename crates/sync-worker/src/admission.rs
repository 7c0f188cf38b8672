//! Which user syncs run when, who starts them, and how many at a time. In this order:
//!
//! 1. `next_run.rs`: when a user sync is due.
//! 2. `due.rs`: many schedulers and callers look for what is due; one of them starts its run. `queue.rs` says in which
//!    order a caller starts runs; the scheduler goes by the turns in the store. `due_permits.rs` says how many run at a
//!    time.
//! 3. `scheduler.rs`: looks for due syncs periodically, in every replica.
//! 4. `crate::run`'s `admission.rs` and `permits.rs`: a run that was started waits until its directory and this worker
//!    have room for it.

mod due;
mod due_permits;
mod next_run;
mod queue;
mod scheduler;

pub(crate) use due::{DueCounts, DueResult};
pub(crate) use next_run::next_run_time;
pub use scheduler::Scheduler;
