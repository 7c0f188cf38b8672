//! Sync runs: their lease, their life from creation to end, their plans and issues, and how a plan is applied.

pub(crate) mod apply;
pub(crate) mod deletion;
pub(crate) mod execution;
mod guard_counts;
pub(crate) mod handle;
pub(crate) mod in_force;
pub(crate) mod issues;
pub(crate) mod leases;
pub(crate) mod lifecycle;
mod neighbours;
pub(crate) mod plan;
mod prepared;
pub(crate) mod started_chunk;
