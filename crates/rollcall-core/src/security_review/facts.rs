//! What a review looks at.

use std::net::IpAddr;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::check::CheckReport;
use crate::directory::Directory;
use crate::run::Run;
use crate::user_sync::UserSync;

/// A directory with its last CheckConnection.
#[derive(Clone, Debug)]
pub struct ReviewedDirectory {
    /// The directory.
    pub directory: Directory,
    /// When it was last checked, and what came out.
    pub last_check: Option<(DateTime<Utc>, CheckReport)>,
    /// When the first certificate of its hosts ends, as seen in use since. `None` if none was seen.
    pub certificate_end: Option<DateTime<Utc>>,
    /// When the last of the certificate authorities ends that are trusted for it; `None` if those are the public ones.
    pub ca_certificate_end: Option<DateTime<Utc>>,
    /// When Rollcall's own certificate for it ends, if it has one.
    pub client_certificate_end: Option<DateTime<Utc>>,
}

/// A user sync with its newest run.
#[derive(Clone, Debug)]
pub struct ReviewedSync {
    /// The user sync.
    pub user_sync: UserSync,
    /// Its newest run.
    pub last_run: Option<Run>,
}

/// Users with a privileged role who have not logged in for [`IDLE_AFTER`], and are users for as long.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct IdlePrivileged {
    /// The logins of the first of them, each with the role.
    pub named: Vec<(String, String)>,
    /// How many there are in all.
    pub count: u64,
}

/// A privileged account that is not used for so long is one that nobody would miss.
pub const IDLE_AFTER: TimeDelta = TimeDelta::days(90);

/// What a review looks at.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// The addresses that Rollcall connects from.
    pub egress_addresses: &'a [IpAddr],
    /// The tenant's directories.
    pub directories: &'a [ReviewedDirectory],
    /// The tenant's user syncs.
    pub user_syncs: &'a [ReviewedSync],
    /// Who has a privileged role and does not use it; `None` if no role is privileged.
    pub idle: Option<IdlePrivileged>,
    /// When a review was last recorded.
    pub last_review: Option<DateTime<Utc>>,
    /// A bind password older than this should be replaced.
    pub bind_password_age: Duration,
    /// A review is due so long after the last one.
    pub review_interval: Duration,
}

pub(super) fn is_older(time: DateTime<Utc>, limit: Duration, now: DateTime<Utc>) -> bool {
    TimeDelta::from_std(limit).is_ok_and(|limit| now - time > limit)
}
