//! The gRPC services, one file each. Every method goes the same way: may the caller do this at all, is the
//! request well formed, may the caller act for this tenant; then do it and record it, in one transaction.

pub(crate) mod audit;
pub(crate) mod directories;
pub(crate) mod runs;
pub(crate) mod tenants;
pub(crate) mod user_syncs;
