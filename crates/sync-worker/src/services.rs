//! The gRPC services, one file each. Every method goes the same way: may the caller do this at all, is the
//! request well formed, may the caller act for this tenant; then do it; then record it.

pub(crate) mod audit;
pub(crate) mod directories;
pub(crate) mod runs;
pub(crate) mod tenants;
pub(crate) mod user_syncs;

use rollcall_core::error::Error;
use rollcall_core::id::TenantId;
use rollcall_runtime::caller::Caller;
use rollcall_service::record::{Changed, Details, record};

use crate::worker::Worker;

impl Worker {
    /// Records a change that was made now.
    pub(crate) async fn record(
        &self,
        caller: &Caller,
        tenant: &TenantId,
        method: &'static str,
        resource: String,
        details: Details,
    ) -> Result<(), Error> {
        let changed = Changed {
            time: self.now(),
            tenant,
            method,
            resource,
            details,
        };
        record(&self.store, caller, changed).await
    }
}
