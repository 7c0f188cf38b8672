//! What a process keeps in memory for the soft lock. The counts themselves are in the store, shared by all replicas.

pub mod queue;
pub mod unsettled;
pub mod wrong_passwords;
