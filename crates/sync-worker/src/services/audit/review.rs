//! The security review: the facts for `rollcall_core::security_review`, and the record of who looked at it.

use chrono::{DateTime, TimeDelta, Utc};
use ring::digest;
use rollcall_core::audit::AuditedFieldChange;
use rollcall_core::check::StageResult;
use rollcall_core::error::{Error, Reason};
use rollcall_core::id::TenantId;
use rollcall_core::security_review::{
    Facts, Finding, IDLE_AFTER, IdlePrivileged, Practice, ReviewedSync, Subject, review, worst,
};
use rollcall_proto::convert::audit::actor;
use rollcall_proto::{resource_name, timestamp, v1};
use rollcall_store::SecurityReview;
use serde::{Deserialize, Serialize};

use super::{Audit, GetReview, RecordReview};
use crate::reviewed::Reviewed;
use rollcall_service::call::Call;
use rollcall_service::resource::about;

/// Idle accounts with a privileged role that a finding names.
const NAMED_IDLE: usize = 20;

/// What was seen, as the store keeps it.
#[derive(Serialize, Deserialize)]
struct Seen {
    caller: String,
    note: String,
    findings: Vec<SeenFinding>,
}

/// One finding, as the store keeps it: by the names of the contract.
#[derive(Serialize, Deserialize)]
struct SeenFinding {
    practice: String,
    outcome: String,
    resource: String,
    message: String,
    hint: String,
    observe_time: Option<i64>,
}

impl Audit {
    pub(super) async fn review(
        &self,
        call: Result<Call<GetReview>, Error>,
    ) -> Result<v1::SecurityReview, Error> {
        let GetReview(tenant) = call?.request;
        let now = self.0.now();
        let (findings, last) = self.findings(&tenant, now).await?;
        let interval = TimeDelta::from_std(self.0.settings.review.interval).ok();
        let due = last
            .as_ref()
            .zip(interval)
            .map(|(last, interval)| last.time + interval);
        Ok(v1::SecurityReview {
            name: resource_name::security_review(&tenant),
            outcome: v1::CheckOutcome::from(worst(&findings)).into(),
            egress_addresses: self.0.egress_addresses.iter().map(ToString::to_string).collect(),
            last_record: last.map(record).transpose()?,
            due_time: Some(timestamp(due.unwrap_or(now))),
            etag: etag(&findings),
            read_time: Some(timestamp(now)),
            findings: findings
                .into_iter()
                .map(|finding| to_wire(&tenant, finding))
                .collect(),
        })
    }

    pub(super) async fn record_review(
        &self,
        call: Result<Call<RecordReview>, Error>,
    ) -> Result<v1::SecurityReviewRecord, Error> {
        let call = call?;
        let author = call.author(self.0.now())?;
        let RecordReview {
            tenant,
            etag: seen_etag,
            reviewer,
            note,
        } = call.request;
        let now = author.time();
        let name = resource_name::security_review(&tenant);
        let (findings, _) = self.findings(&tenant, now).await?;
        if etag(&findings) != seen_etag {
            let message = "the findings are not those that were looked at: read the review again";
            return Err(Error::new(Reason::EtagMismatch, message).with("resource", name));
        }
        let findings = findings.into_iter().map(|finding| to_wire(&tenant, finding));
        let seen = Seen {
            caller: author.caller().name().to_owned(),
            note,
            findings: findings.map(|finding| SeenFinding::from(&finding)).collect(),
        };
        let text = serde_json::to_string(&seen).map_err(|error| {
            Error::new(Reason::Internal, "the findings cannot be written down").caused_by(error)
        })?;
        let asked = vec![AuditedFieldChange::asked("reviewer", reviewer.as_str())];
        let event = author.event(&tenant, &name, asked);
        let recorded = self
            .0
            .store
            .record_security_review(&tenant, &reviewer, &text, &event)
            .await;
        let recorded = recorded.map_err(about(&name))?;
        record(recorded)
    }

    /// The findings as of now, and the last review.
    async fn findings(
        &self,
        tenant: &TenantId,
        now: DateTime<Utc>,
    ) -> Result<(Vec<Finding>, Option<SecurityReview>), Error> {
        let store = &self.0.store;
        store
            .tenant(tenant)
            .await
            .map_err(about(&resource_name::tenant(tenant)))?;
        let Reviewed {
            directories,
            user_syncs,
            last,
        } = self.0.reviewed(tenant).await?;
        let facts = Facts {
            idle: self.idle(tenant, &user_syncs, now).await?,
            egress_addresses: &self.0.egress_addresses,
            directories: &directories,
            user_syncs: &user_syncs,
            last_review: last.as_ref().map(|last| last.time),
            bind_password_age: self.0.settings.review.bind_password_age,
            review_interval: self.0.settings.review.interval,
        };
        Ok((review(&facts, now), last))
    }
}

impl Audit {
    /// Users who have a privileged role and do not use it.
    async fn idle(
        &self,
        tenant: &TenantId,
        user_syncs: &[ReviewedSync],
        now: DateTime<Utc>,
    ) -> Result<Option<IdlePrivileged>, Error> {
        let mut roles = self.0.settings.review.privileged_roles.clone();
        if roles.is_empty() {
            for ReviewedSync { user_sync, .. } in user_syncs {
                let settings = &user_sync.settings;
                let given = settings.role_rules.iter().map(|rule| &rule.role);
                roles.extend(given.filter(|role| **role != settings.role).cloned());
            }
        }
        if roles.is_empty() {
            return Ok(None);
        }
        let (named, count) = self
            .0
            .store
            .idle_users(tenant, &roles, now - IDLE_AFTER, NAMED_IDLE)
            .await?;
        Ok(Some(IdlePrivileged { named, count }))
    }
}

/// The etag of exactly these findings.
fn etag(findings: &[Finding]) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    for finding in findings {
        let Finding {
            practice,
            result,
            subject,
            message,
            ..
        } = finding;
        let text = format!("{practice:?} {result:?} {subject:?} {message}");
        context.update(&(text.len() as u64).to_be_bytes());
        context.update(text.as_bytes());
    }
    let hash = context.finish();
    hash.as_ref()[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn to_wire(tenant: &TenantId, finding: Finding) -> v1::SecurityFinding {
    let practice = match finding.practice {
        Practice::Egress => v1::SecurityPractice::Egress,
        Practice::LeastPrivilege => v1::SecurityPractice::LeastPrivilege,
        Practice::Transport => v1::SecurityPractice::Transport,
        Practice::Certificates => v1::SecurityPractice::Certificates,
        Practice::PasswordStrength => v1::SecurityPractice::PasswordStrength,
        Practice::PasswordRotation => v1::SecurityPractice::PasswordRotation,
        Practice::Overlap => v1::SecurityPractice::Overlap,
        Practice::Runs => v1::SecurityPractice::Runs,
        Practice::Unused => v1::SecurityPractice::Unused,
        Practice::Review => v1::SecurityPractice::Review,
        Practice::IdlePrivilege => v1::SecurityPractice::IdlePrivilege,
        Practice::SoftLock => v1::SecurityPractice::SoftLock,
    };
    let resource = match finding.subject {
        Subject::Tenant => String::new(),
        Subject::Directory(id) => resource_name::directory(tenant, &id),
        Subject::UserSync(id) => resource_name::user_sync(tenant, &id),
    };
    v1::SecurityFinding {
        practice: practice.into(),
        outcome: outcome(finding.result).into(),
        resource,
        message: finding.message,
        hint: finding.hint,
        observe_time: finding.observe_time.map(timestamp),
    }
}

fn outcome(result: StageResult) -> v1::CheckOutcome {
    result.into()
}

impl From<&v1::SecurityFinding> for SeenFinding {
    fn from(finding: &v1::SecurityFinding) -> Self {
        Self {
            practice: finding.practice().as_str_name().to_owned(),
            outcome: finding.outcome().as_str_name().to_owned(),
            resource: finding.resource.clone(),
            message: finding.message.clone(),
            hint: finding.hint.clone(),
            observe_time: finding.observe_time.map(|time| time.seconds),
        }
    }
}

impl From<SeenFinding> for v1::SecurityFinding {
    fn from(seen: SeenFinding) -> Self {
        let practice = v1::SecurityPractice::from_str_name(&seen.practice).unwrap_or_default();
        let outcome = v1::CheckOutcome::from_str_name(&seen.outcome).unwrap_or_default();
        let observe_time = seen
            .observe_time
            .and_then(|seconds| DateTime::from_timestamp(seconds, 0));
        Self {
            practice: practice.into(),
            outcome: outcome.into(),
            resource: seen.resource,
            message: seen.message,
            hint: seen.hint,
            observe_time: observe_time.map(timestamp),
        }
    }
}

fn record(review: SecurityReview) -> Result<v1::SecurityReviewRecord, Error> {
    let seen: Seen = serde_json::from_str(&review.seen)
        .map_err(|error| Error::new(Reason::Internal, "a recorded review cannot be read").caused_by(error))?;
    Ok(v1::SecurityReviewRecord {
        reviewer: review.reviewer,
        actor: actor(&review.actor),
        caller: seen.caller,
        record_time: Some(timestamp(review.time)),
        note: seen.note,
        findings: seen.findings.into_iter().map(Into::into).collect(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::Seen;

    /// Never change this row: add another when the form changes.
    #[test]
    fn what_was_seen_is_read_as_releases_have_written_it() {
        let row = r#"{"caller":"web","note":"fine","findings":[{"practice":"SECURITY_PRACTICE_SOFT_LOCK","outcome":"CHECK_OUTCOME_PASS","resource":"tenants/acme/directories/main","message":"It counts.","hint":"","observe_time":1700000000}]}"#;
        let seen: Seen = serde_json::from_str(row).unwrap();
        assert_eq!(serde_json::to_string(&seen).unwrap(), row);
    }
}
