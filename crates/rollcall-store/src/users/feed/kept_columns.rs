//! The columns of an event that are never erased, and that tell it from any other event.

use rollcall_core::feed::Mark;
use rollcall_core::id::Uuid;
use sea_orm::FromQueryResult;

use crate::digest::digest;

/// The columns of a [`KeptColumns`], of `user_events e`.
pub(super) const COLUMNS: &str =
    "e.position, e.tenant, e.tenant_position, e.event_type, e.user_id, e.run, e.time";

#[derive(FromQueryResult)]
pub(super) struct KeptColumns {
    pub(super) position: i64,
    pub(super) tenant: String,
    pub(super) tenant_position: i64,
    pub(super) event_type: String,
    pub(super) user_id: Uuid,
    pub(super) run: Option<Uuid>,
    pub(super) time: i64,
}

impl KeptColumns {
    /// The place behind this event in its tenant's feed, or in the deployment's.
    pub(super) fn mark(&self, of_tenant: bool) -> Mark {
        let position = if of_tenant {
            self.tenant_position
        } else {
            self.position
        };
        Mark {
            position,
            digest: self.digest(),
        }
    }

    pub(super) fn digest(&self) -> i64 {
        let Self {
            position,
            tenant,
            tenant_position,
            event_type,
            user_id,
            run,
            time,
        } = self;
        digest(&[
            &position.to_be_bytes(),
            tenant.as_bytes(),
            &tenant_position.to_be_bytes(),
            event_type.as_bytes(),
            user_id.as_bytes(),
            run.as_ref().map_or(&[], |run| run.as_bytes()),
            &time.to_be_bytes(),
        ])
    }
}
