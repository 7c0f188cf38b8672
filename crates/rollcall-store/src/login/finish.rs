//! The end of a login attempt, and what the store answers to it.

use rollcall_core::soft_lock::{Settlement, SoftLockSubject};
use rollcall_core::user::User;

use crate::audit::NewAuditEvent;
use crate::login::soft_lock::HeldSlot;
use crate::login::target::LoginTarget;
use rollcall_core::id::TenantId;

/// The end of a login attempt.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FinishLogin {
    /// The tenant that the slots and the user belong to; `None` if the attempt names no known tenant, and so has
    /// neither.
    pub tenant: Option<TenantId>,
    /// The audit row.
    pub audit: NewAuditEvent,
    /// The slots of the attempt.
    pub slots: Vec<HeldSlot>,
    /// What becomes of the slots.
    pub settlement: Settlement,
    /// The user at the address where the password was right. From now on the address counts as known to be theirs.
    pub proven_at: Option<SoftLockSubject>,
    /// What the verdict relies on.
    pub expect: Option<LoginTarget>,
}

/// What the store found when it recorded the end of a login attempt.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FinishOutcome {
    /// Nothing that the verdict relies on has changed. The end is recorded.
    Unchanged,
    /// The user changed, but in nothing that decides a login; this is the user now. The end is recorded.
    UserChanged(Box<User>),
    /// Something that decides the login changed; this is the target now, or `None` if the user is gone. Nothing is
    /// recorded, and the slots stay reserved.
    TargetChanged(Option<Box<LoginTarget>>),
}
