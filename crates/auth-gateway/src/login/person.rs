//! The user whom a login means.

use rollcall_core::audit::OwnReason;
use rollcall_core::error::Error;
use rollcall_core::id::TenantId;
use rollcall_core::soft_lock::{SoftLockRules, SoftLockSubject};
use rollcall_core::user::Origin;
use rollcall_store::{LoginSync, LoginTarget};

use super::memory::keyed_hash::Fingerprint;
use super::memory::tenant_view::Home;
use super::outcome::Denial;
use super::record::Who;

/// How a login ends before its last step.
pub(super) enum Stop {
    /// It is refused.
    Denied(Denial),
    /// There is no answer.
    Failed(Error),
}

/// The user whom a login means, or nobody, and what is to be done with the password.
pub(super) struct Person {
    pub(super) tenant: TenantId,
    pub(super) who: Who,
    /// What was typed, normalized.
    pub(super) typed: String,
    /// The subject whose failures are counted, and its text for hashes in memory.
    pub(super) counted: SoftLockSubject,
    pub(super) key: String,
    pub(super) fingerprint: Fingerprint,
    pub(super) lock: SoftLockRules,
    /// The user sync and directory of the user. For an unknown login, those that it is treated as belonging to.
    pub(super) home: Option<Home>,
    pub(super) trial: Trial,
}

/// A user whom a directory is asked about.
pub(super) struct BindTarget {
    pub(super) target: LoginTarget,
    pub(super) origin: Origin,
    pub(super) sync: LoginSync,
}

/// What is to be done with a password.
pub(super) enum Trial {
    /// The directory decides.
    Bind(Box<BindTarget>),
    /// The login is refused, whatever the password, after a wait.
    Wait(OwnReason),
}
