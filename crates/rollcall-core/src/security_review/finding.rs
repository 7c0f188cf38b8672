//! What a review finds.

use chrono::{DateTime, Utc};

use crate::check::StageResult;
use crate::id::{DirectoryId, UserSyncId};

/// A practice that keeps a directory safe.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Practice {
    /// The firewall lets only Rollcall's addresses through, and Rollcall's own egress policy is on.
    Egress,
    /// The bind account can only read.
    LeastPrivilege,
    /// Connections are protected by TLS.
    Transport,
    /// Certificates are valid for a good while.
    Certificates,
    /// The bind password is long and random.
    PasswordStrength,
    /// The bind password is replaced on schedule.
    PasswordRotation,
    /// No person is claimed by several user syncs.
    Overlap,
    /// User syncs run, and succeed.
    Runs,
    /// Nothing is configured that is no longer used.
    Unused,
    /// All of this is looked at regularly.
    Review,
    /// Logins are refused before wrong passwords lock an account in the directory.
    SoftLock,
    /// Users with a privileged role use it.
    IdlePrivilege,
}

/// What a finding, or a reminder, is about.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Subject {
    /// The tenant as a whole.
    Tenant,
    /// One of its directories.
    Directory(DirectoryId),
    /// One of its user syncs.
    UserSync(UserSyncId),
}

/// How one subject stands against one practice.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// The practice.
    pub practice: Practice,
    /// How it stands; SKIPPED if that is not known.
    pub result: StageResult,
    /// What it is about.
    pub subject: Subject,
    /// What was found, in a sentence.
    pub message: String,
    /// What to do; empty if nothing.
    pub hint: String,
    /// When that was found out; `None` if it was never looked into.
    pub observe_time: Option<DateTime<Utc>>,
}

/// The worst result of any finding.
pub fn worst(findings: &[Finding]) -> StageResult {
    let worst = findings
        .iter()
        .map(|finding| finding.result)
        .min_by_key(|result| severity(*result));
    worst.unwrap_or(StageResult::Skipped)
}

pub(super) fn severity(result: StageResult) -> u8 {
    match result {
        StageResult::Fail => 0,
        StageResult::Warn => 1,
        StageResult::Skipped => 2,
        StageResult::Pass => 3,
    }
}

/// Builds findings about one subject that were made at one time.
pub(super) struct About {
    pub(super) subject: Subject,
    pub(super) time: Option<DateTime<Utc>>,
}

impl About {
    pub(super) fn find(
        &self,
        practice: Practice,
        result: StageResult,
        message: impl Into<String>,
        hint: &str,
    ) -> Finding {
        Finding {
            practice,
            result,
            subject: self.subject.clone(),
            message: message.into(),
            hint: hint.to_owned(),
            observe_time: self.time,
        }
    }
}
