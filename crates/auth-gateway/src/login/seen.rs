//! What an attempt found out about a person, and where.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use rollcall_core::dialect::Dialect;
use rollcall_core::entry::Entry;
use rollcall_core::role::RoleFinding;
use rollcall_service::directories::OpenDirectory;
use rollcall_store::LoginConfig;

use super::outcome::Reading;

/// What trying a password found out. Several attempts may share it.
pub(super) struct Verified {
    /// What the directory's answer means.
    pub(super) reading: Reading,
    /// A bind was answered, or may have been received.
    pub(super) bind_sent: bool,
    /// When it was found out.
    pub(super) time: DateTime<Utc>,
    /// The person who was found there.
    pub(super) seen: Option<Seen>,
}

/// A person as the directory has them, and the sync by whose rules they were read.
#[derive(Clone)]
pub(super) struct Seen {
    pub(super) source: Source,
    pub(super) entry: Arc<Entry>,
    /// The role, if it was asked for, and the DN for which it was asked.
    pub(super) role: Option<(RoleFinding, String)>,
}

/// The directory to ask, and the sync by whose rules.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) config: LoginConfig,
    pub(super) opened: Arc<OpenDirectory>,
    pub(super) dialect: Dialect,
}
