//! The gRPC services, one file each. Every method goes the same way: may the caller do this at all, is the request well
//! formed, may the caller act for this tenant; then it is carried out and recorded, in one transaction.

pub(crate) mod audit;
pub(crate) mod directories;
pub(crate) mod runs;
pub(crate) mod tenants;
pub(crate) mod user_syncs;
