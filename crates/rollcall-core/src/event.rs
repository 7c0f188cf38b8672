//! The feed of what happened to users.

use chrono::{DateTime, Utc};

use crate::id::{RunId, TenantId};
use crate::user::{FieldChange, User};

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum EventType {
    /// The user is new.
    Created,
    /// Fields changed.
    Updated,
    /// A LOCAL user became a synced one.
    Linked,
    /// A synced user became LOCAL again.
    Unlinked,
    /// May not log in any more, keeps its identifiers.
    Deactivated,
    /// May log in again.
    Reactivated,
    /// May not log in any more, its identifiers are free.
    Archived,
    /// Another user sync owns the user now.
    Transferred,
    /// An admin blocked the user.
    Blocked,
    /// An admin lifted the block.
    Unblocked,
    /// The product deleted the LOCAL user.
    Deleted,
}

/// One event. Consumers apply `user` as it is; the rest tells why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// Position in the deployment's feed: gapless, and visible in this order.
    pub position: i64,
    /// Position in the tenant's feed: gapless, and visible in this order.
    pub tenant_position: i64,
    /// The tenant.
    pub tenant: TenantId,
    /// What happened.
    pub event_type: EventType,
    /// The user after it.
    pub user: User,
    /// The fields that changed, with their previous values.
    pub changes: Vec<FieldChange>,
    /// The run that did it, if one did.
    pub run: Option<RunId>,
    /// When it was committed.
    pub time: DateTime<Utc>,
}
