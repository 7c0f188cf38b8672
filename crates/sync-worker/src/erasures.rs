//! Erases users who left as long ago as `erase_after` of their user sync says. Also removes what runs and calls wrote about
//! people while these were erased.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rollcall_core::audit::{Actor, AuditCaller, AuditKind, AuditedFieldChange};
use rollcall_core::id::TenantId;
use rollcall_proto::resource_name;
use rollcall_store::{EraseUser, LeaseName, Left, NewAuditEvent, StoreError};

use crate::worker::Worker;

/// People who are erased between two sweeps.
const PEOPLE: u32 = 100;
/// A worker that has not finished a sweep by then is gone.
const LEASE: Duration = Duration::from_secs(600);

impl Worker {
    /// Erases some of those who left long ago; returns how many.
    pub(crate) async fn erase_left(&self, now: DateTime<Utc>) -> Result<u64, StoreError> {
        let mut tenants = BTreeSet::new();
        let mut erased = 0;
        for left in self.store.left_for_good(now, PEOPLE).await? {
            let erase = EraseUser {
                tenant: &left.tenant,
                user: left.user,
                expected_revision: None,
                exclude: false,
                left_before: Some(left.before),
            };
            match self.store.erase_user(erase, &record(&left, now)).await {
                Ok(()) => {
                    erased += 1;
                    tenants.insert(left.tenant);
                }
                // The user came back, or another worker erased the user, a moment ago.
                Err(StoreError::NotFound(_) | StoreError::NotInState) => {}
                Err(error) => return Err(error),
            }
        }
        self.sweep(tenants, now).await?;
        Ok(erased)
    }

    /// Sweeps once more for people who were erased while a run or a login was under way that has ended since.
    pub(crate) async fn sweep_after_erasures(&self, now: DateTime<Utc>) -> Result<(), StoreError> {
        let tenants = self.store.tenants_to_sweep(now).await?;
        if tenants.is_empty() {
            return Ok(());
        }
        let name = LeaseName::job("erasures");
        let Some(lease) = self.store.acquire_lease(&name, "scheduler", LEASE).await? else {
            return Ok(());
        };
        let swept = self.sweep(tenants, now).await;
        self.store.release_lease(&lease).await?;
        swept
    }

    async fn sweep(&self, tenants: BTreeSet<TenantId>, now: DateTime<Utc>) -> Result<(), StoreError> {
        for tenant in tenants {
            self.store.sweep_erased(&tenant, None, now).await?;
        }
        Ok(())
    }
}

/// No call caused this: the user sync's setting did.
fn record(left: &Left, now: DateTime<Utc>) -> NewAuditEvent {
    NewAuditEvent {
        time: now,
        tenant: Some(left.tenant.clone()),
        caller: AuditCaller::default(),
        actor: Actor::default(),
        kind: AuditKind::Change {
            method: "UserService.EraseUser".into(),
            resource: resource_name::user(&left.tenant, left.user),
            changes: vec![AuditedFieldChange::asked("erase_after", "over")],
        },
    }
}
