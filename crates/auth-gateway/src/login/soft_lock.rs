//! What a process keeps of the soft lock. The counts themselves are the store's, shared by all replicas.

pub mod queue;
pub mod unsettled;
pub mod wrong_passwords;
