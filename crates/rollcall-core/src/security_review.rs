//! The security review: how a tenant stands against the practices that keep its directory safe, judged from
//! what checks and runs have found. It contacts nothing.

mod facts;
mod finding;
mod of_directory;
mod of_tenant;
mod of_user_sync;

use chrono::{DateTime, Utc};

pub use facts::{Facts, IDLE_AFTER, IdlePrivileged, ReviewedDirectory, ReviewedSync};
use finding::severity;
pub use finding::{Finding, Practice, Subject, worst};
use of_directory::directory;
pub use of_directory::{BIND_PASSWORD_NOTICE, CERTIFICATE_NOTICE};
use of_tenant::{egress, idle_privilege, reviews};
pub(crate) use of_user_sync::STALE_AFTER;
use of_user_sync::user_sync;

/// All findings, the worst first.
pub fn review(facts: &Facts<'_>, now: DateTime<Utc>) -> Vec<Finding> {
    let mut findings = vec![egress(facts.egress_addresses, now), reviews(facts, now)];
    findings.extend(facts.idle.as_ref().map(|idle| idle_privilege(idle, now)));
    for reviewed in facts.directories {
        findings.extend(directory(reviewed, facts, now));
    }
    for reviewed in facts.user_syncs {
        findings.extend(user_sync(reviewed, now));
    }
    findings.sort_by_key(|finding| {
        (
            severity(finding.result),
            finding.practice,
            finding.subject.clone(),
        )
    });
    findings
}

#[cfg(test)]
mod tests;
