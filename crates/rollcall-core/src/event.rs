//! The feed of what happened to users.

use chrono::{DateTime, Utc};

use crate::audit::AskedBy;
use crate::feed::Mark;
use crate::id::{RunId, TenantId, UserId, UserSyncId};
use crate::user::{FieldChange, User, UserState};
use crate::vocabulary::vocabulary;

vocabulary! {
    /// What happened.
    pub enum EventType {
        /// The user is new.
        Created = "CREATED",
        /// Fields changed.
        Updated = "UPDATED",
        /// A LOCAL user became a synced one.
        Linked = "LINKED",
        /// A synced user became LOCAL again.
        Unlinked = "UNLINKED",
        /// May not log in any more, keeps its identifiers.
        Deactivated = "DEACTIVATED",
        /// May log in again.
        Reactivated = "REACTIVATED",
        /// May not log in any more, its identifiers are free.
        Archived = "ARCHIVED",
        /// Another user sync owns the user now.
        Transferred = "TRANSFERRED",
        /// An admin blocked the user.
        Blocked = "BLOCKED",
        /// An admin lifted the block.
        Unblocked = "UNBLOCKED",
        /// The product deleted the LOCAL user.
        Deleted = "DELETED",
        /// The person was erased, everywhere.
        Erased = "ERASED",
    }
}

impl EventType {
    /// The type of an event about a user that was `before` and is `after`. A deletion has no `after`: its caller names
    /// the type.
    pub fn of(before: Option<&User>, after: &User) -> Self {
        let Some(before) = before else {
            return EventType::Created;
        };
        let moved = match (&before.origin, &after.origin) {
            (None, Some(_)) => Some(EventType::Linked),
            (Some(_), None) => Some(EventType::Unlinked),
            (Some(old), Some(new)) if old.user_sync != new.user_sync => Some(EventType::Transferred),
            _ => None,
        };
        let state = (before.state != after.state).then_some(match after.state {
            UserState::Active => EventType::Reactivated,
            UserState::Deactivated => EventType::Deactivated,
            UserState::Archived => EventType::Archived,
        });
        let block = (before.block != after.block).then_some(match after.block {
            Some(_) => EventType::Blocked,
            None => EventType::Unblocked,
        });
        moved.or(state).or(block).unwrap_or(EventType::Updated)
    }
}

/// One event. Consumers apply the user as it is; the rest tells why.
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
    /// Whom it is about.
    pub user: UserId,
    /// The user after it. Once the person was erased, only the id is left, here and in all earlier events.
    pub after: Option<User>,
    /// The fields that changed, with their previous values.
    pub changes: Vec<FieldChange>,
    /// The user sync that the user was of.
    pub user_sync: Option<UserSyncId>,
    /// The run that did it, if one did.
    pub run: Option<RunId>,
    /// Who asked for it, if a call did it. Who asked for a run, the run tells.
    pub asked_by: Option<AskedBy>,
    /// When it was committed.
    pub time: DateTime<Utc>,
    /// Tells this event from any other that might stand at its positions; see [`Mark`].
    pub digest: i64,
}

impl Event {
    /// Behind this event in the deployment's feed.
    pub fn mark(&self) -> Mark {
        Mark {
            position: self.position,
            digest: self.digest,
        }
    }

    /// Behind this event in the tenant's feed.
    pub fn tenant_mark(&self) -> Mark {
        Mark {
            position: self.tenant_position,
            digest: self.digest,
        }
    }

    /// True if readers are told of this event. The events of an erased person are passed over, except the last one.
    pub fn is_told(&self) -> bool {
        self.after.is_some() || self.event_type == EventType::Erased
    }
}
