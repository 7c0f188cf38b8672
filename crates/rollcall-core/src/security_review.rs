//! The security review: how a tenant stands against the practices that keep its directory safe, judged from
//! what checks and runs have found. It contacts nothing.

use std::net::IpAddr;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::check::{CheckReport, Stage, StageKind, StageResult};
use crate::directory::{Directory, PasswordStrength, TransportSecurity};
use crate::id::{DirectoryId, UserSyncId};
use crate::issue::{HealthLevel, IssueKind};
use crate::run::{Run, RunState};
use crate::soft_lock::SoftLockMode;
use crate::user_sync::UserSync;
use crate::wording::counted;

/// A user sync that runs by itself and saw its whole directory longer ago than this is stale.
const STALE_AFTER: TimeDelta = TimeDelta::days(7);

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
}

/// A certificate that ends sooner than this is worth a word.
pub const CERTIFICATE_NOTICE: TimeDelta = TimeDelta::days(30);

/// What a finding is about.
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

/// A directory with its last CheckConnection.
#[derive(Clone, Debug)]
pub struct ReviewedDirectory {
    /// The directory.
    pub directory: Directory,
    /// When it was last checked, and what came out.
    pub last_check: Option<(DateTime<Utc>, CheckReport)>,
    /// When the first certificate of its hosts ends, as seen in use since. `None` if none was seen.
    pub certificate_end: Option<DateTime<Utc>>,
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

/// What a review looks at.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// The addresses that Rollcall connects from.
    pub egress_addresses: &'a [IpAddr],
    /// The tenant's directories.
    pub directories: &'a [ReviewedDirectory],
    /// The tenant's user syncs.
    pub user_syncs: &'a [ReviewedSync],
    /// When a review was last recorded.
    pub last_review: Option<DateTime<Utc>>,
    /// A bind password older than this should be replaced.
    pub bind_password_age: Duration,
    /// A review is due so long after the last one.
    pub review_interval: Duration,
}

/// All findings, the worst first.
pub fn review(facts: &Facts<'_>, now: DateTime<Utc>) -> Vec<Finding> {
    let mut findings = vec![egress(facts.egress_addresses, now), reviews(facts, now)];
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

/// The worst result of any finding.
pub fn worst(findings: &[Finding]) -> StageResult {
    let worst = findings
        .iter()
        .map(|finding| finding.result)
        .min_by_key(|result| severity(*result));
    worst.unwrap_or(StageResult::Skipped)
}

fn severity(result: StageResult) -> u8 {
    match result {
        StageResult::Fail => 0,
        StageResult::Warn => 1,
        StageResult::Skipped => 2,
        StageResult::Pass => 3,
    }
}

/// Builds findings about one subject that were made at one time.
struct About {
    subject: Subject,
    time: Option<DateTime<Utc>>,
}

impl About {
    fn find(
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

fn egress(addresses: &[IpAddr], now: DateTime<Utc>) -> Finding {
    let about = About {
        subject: Subject::Tenant,
        time: Some(now),
    };
    if addresses.is_empty() {
        let message = "This deployment does not say from which addresses it connects.";
        let hint =
            "Ask its operator to set egress.addresses, and let only those through the directory's firewall.";
        return about.find(Practice::Egress, StageResult::Warn, message, hint);
    }
    let list: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    let message = format!(
        "Rollcall connects from {}, and only to where its egress policy allows.",
        list.join(", ")
    );
    let hint = "Let these addresses, and only these, through the directory's firewall.";
    about.find(Practice::Egress, StageResult::Pass, message, hint)
}

fn reviews(facts: &Facts<'_>, now: DateTime<Utc>) -> Finding {
    let about = About {
        subject: Subject::Tenant,
        time: facts.last_review,
    };
    let hint = "Go through these findings, and record that with RecordSecurityReview.";
    match facts.last_review {
        None => about.find(
            Practice::Review,
            StageResult::Warn,
            "No review was ever recorded.",
            hint,
        ),
        Some(last) if is_older(last, facts.review_interval, now) => {
            let message = format!("The last review is of {}.", last.date_naive());
            about.find(Practice::Review, StageResult::Warn, message, hint)
        }
        Some(last) => {
            let message = format!("The last review is of {}.", last.date_naive());
            about.find(Practice::Review, StageResult::Pass, message, "")
        }
    }
}

fn directory(reviewed: &ReviewedDirectory, facts: &Facts<'_>, now: DateTime<Utc>) -> Vec<Finding> {
    let directory = &reviewed.directory;
    let subject = Subject::Directory(directory.id.clone());
    let about = About {
        subject: subject.clone(),
        time: Some(now),
    };
    let mut findings = vec![
        transport(directory, &about),
        password_strength(
            directory,
            &About {
                subject: subject.clone(),
                time: directory.bind_password_update_time,
            },
        ),
        password_age(directory, facts.bind_password_age, now, &about),
        soft_lock(directory, &about),
    ];
    findings.push(certificates(reviewed, now, &about));
    findings.extend(
        reviewed
            .client_certificate_end
            .map(|end| client_certificate(end, now, &about)),
    );
    findings.push(of_check(
        reviewed,
        Practice::LeastPrivilege,
        StageKind::Privilege,
        "Whether the bind account can write is not known.",
        &subject,
    ));
    let is_used = facts
        .user_syncs
        .iter()
        .any(|sync| sync.user_sync.settings.directory == directory.id);
    if directory.settings.disabled || !is_used {
        let what = if is_used {
            "The directory is switched off."
        } else {
            "No user sync uses the directory."
        };
        let hint = "Delete it if it is not needed any more: its bind password is kept for nothing.";
        findings.push(about.find(Practice::Unused, StageResult::Warn, what, hint));
    }
    findings
}

/// A certificate that was seen in use and ends soon outweighs a check, which may be old.
fn certificates(reviewed: &ReviewedDirectory, now: DateTime<Utc>, about: &About) -> Finding {
    let hint = "Renew the certificate of the server, or nobody can log in.";
    match reviewed.certificate_end {
        Some(end) if end <= now => {
            let message = format!("A certificate has expired on {}.", end.date_naive());
            about.find(Practice::Certificates, StageResult::Fail, message, hint)
        }
        Some(end) if end - now < CERTIFICATE_NOTICE => {
            let message = format!("A certificate expires on {}.", end.date_naive());
            about.find(Practice::Certificates, StageResult::Warn, message, hint)
        }
        _ => of_check(
            reviewed,
            Practice::Certificates,
            StageKind::Tls,
            "The certificates were not checked yet.",
            &about.subject,
        ),
    }
}

/// A server that demands a certificate turns away one that has ended.
fn client_certificate(end: DateTime<Utc>, now: DateTime<Utc>, about: &About) -> Finding {
    let day = end.date_naive();
    let hint = "Replace client_certificate and client_private_key of the directory, or nobody can log in.";
    let (result, message, hint) = match end - now {
        left if left <= TimeDelta::zero() => (
            StageResult::Fail,
            format!("The client certificate has expired on {day}."),
            hint,
        ),
        left if left < CERTIFICATE_NOTICE => (
            StageResult::Warn,
            format!("The client certificate expires on {day}."),
            hint,
        ),
        _ => (
            StageResult::Pass,
            format!("The client certificate is valid until {day}."),
            "",
        ),
    };
    about.find(Practice::Certificates, result, message, hint)
}

fn transport(directory: &Directory, about: &About) -> Finding {
    match directory.settings.transport_security {
        TransportSecurity::Plaintext => about.find(
            Practice::Transport,
            StageResult::Fail,
            "Passwords travel readable.",
            "Set transport_security to LDAPS or START_TLS.",
        ),
        TransportSecurity::Ldaps => about.find(
            Practice::Transport,
            StageResult::Pass,
            "Connections use LDAPS.",
            "",
        ),
        TransportSecurity::StartTls => about.find(
            Practice::Transport,
            StageResult::Pass,
            "Connections use StartTLS and never fall back.",
            "",
        ),
    }
}

fn password_strength(directory: &Directory, about: &About) -> Finding {
    let practice = Practice::PasswordStrength;
    let hint = "Give the bind account a random password of 24 characters or more.";
    match directory.bind_password_strength {
        None => about.find(
            practice,
            StageResult::Skipped,
            "How strong the bind password is, is not known.",
            hint,
        ),
        Some(PasswordStrength::Weak) => {
            about.find(practice, StageResult::Fail, "The bind password is weak.", hint)
        }
        Some(PasswordStrength::Fair) => about.find(
            practice,
            StageResult::Warn,
            "The bind password could be stronger.",
            hint,
        ),
        Some(PasswordStrength::Strong) => about.find(
            practice,
            StageResult::Pass,
            "The bind password is long and well mixed.",
            "",
        ),
    }
}

fn password_age(directory: &Directory, limit: Duration, now: DateTime<Utc>, about: &About) -> Finding {
    let practice = Practice::PasswordRotation;
    let Some(set) = directory.bind_password_update_time else {
        return about.find(practice, StageResult::Skipped, "No bind password is stored.", "");
    };
    let message = format!("The bind password was last set on {}.", set.date_naive());
    match is_older(set, limit, now) {
        true => {
            let hint = "Change it in the directory, then send the new one with RotateBindPassword.";
            about.find(practice, StageResult::Warn, message, hint)
        }
        false => about.find(practice, StageResult::Pass, message, ""),
    }
}

fn soft_lock(directory: &Directory, about: &About) -> Finding {
    let (practice, own) = (Practice::SoftLock, &directory.settings.soft_lock);
    let threshold = directory.observed.lockout_threshold;
    if own.mode == Some(SoftLockMode::Log) {
        let message = "Too many wrong passwords are only logged, and reach the directory.";
        return about.find(
            practice,
            StageResult::Warn,
            message,
            "Set soft_lock.mode to ENFORCE.",
        );
    }
    let (result, message, hint) = match threshold {
        Some(threshold) if own.is_clamped_by(Some(threshold)) => (
            StageResult::Warn,
            format!(
                "soft_lock.limit would let guesses lock accounts, which the directory does after {threshold} wrong passwords; a lower limit is used."
            ),
            "Lower soft_lock.limit, or leave it out.",
        ),
        Some(0) => (
            StageResult::Pass,
            "The directory never locks accounts by itself.".to_owned(),
            "",
        ),
        Some(threshold) if directory.observed.lockout_window.is_none() => (
            StageResult::Warn,
            format!(
                "The directory locks an account after {threshold} wrong passwords and never forgets them, or does not tell when: a few each day lock it in the end."
            ),
            "Let the directory forget wrong passwords after a while, such as by pwdFailureCountInterval in OpenLDAP.",
        ),
        Some(threshold) => (
            StageResult::Pass,
            format!(
                "Logins are refused before the directory locks an account, after {threshold} wrong passwords."
            ),
            "",
        ),
        None => (
            StageResult::Skipped,
            "After how many wrong passwords the directory locks accounts is not known.".to_owned(),
            "Let the bind account read the directory's lockout policy, or set soft_lock.limit below it.",
        ),
    };
    about.find(practice, result, message, hint)
}

/// What the last check said in the stages of this kind: the worst of them.
fn of_check(
    reviewed: &ReviewedDirectory,
    practice: Practice,
    kind: StageKind,
    unknown: &str,
    subject: &Subject,
) -> Finding {
    let stages = reviewed
        .last_check
        .iter()
        .flat_map(|(time, report)| report.stages.iter().map(move |stage| (time, stage)));
    // A skipped stage counts only if it has to say why and what to do, as where a server does not tell.
    let telling = |stage: &&Stage| {
        stage.kind == kind && (stage.result != StageResult::Skipped || !stage.hint.is_empty())
    };
    let told = stages.filter(|(_, stage)| telling(stage));
    match told.min_by_key(|(_, stage)| severity(stage.result)) {
        Some((time, stage)) => {
            let about = About {
                subject: subject.clone(),
                time: Some(*time),
            };
            about.find(practice, stage.result, stage.message.clone(), &stage.hint)
        }
        None => {
            let about = About {
                subject: subject.clone(),
                time: None,
            };
            about.find(
                practice,
                StageResult::Skipped,
                unknown,
                "CheckConnection looks into what can be known.",
            )
        }
    }
}

fn user_sync(reviewed: &ReviewedSync, now: DateTime<Utc>) -> Vec<Finding> {
    let sync = &reviewed.user_sync;
    let subject = Subject::UserSync(sync.id.clone());
    let time = reviewed
        .last_run
        .as_ref()
        .map(|run| run.end_time.unwrap_or(run.create_time));
    let about = About { subject, time };
    let mut findings = vec![runs(reviewed, now, &about), overlap(reviewed, &about)];
    if sync.settings.disabled {
        let hint = "Delete it if it is not needed any more, and say what becomes of its users.";
        findings.push(about.find(
            Practice::Unused,
            StageResult::Warn,
            "The user sync is switched off.",
            hint,
        ));
    }
    findings
}

fn runs(reviewed: &ReviewedSync, now: DateTime<Utc>, about: &About) -> Finding {
    let (sync, practice) = (&reviewed.user_sync, Practice::Runs);
    let Some(run) = &reviewed.last_run else {
        let hint = "Run it, or set auto_sync.";
        return about.find(practice, StageResult::Warn, "The user sync never ran.", hint);
    };
    if run.state == RunState::Held {
        let hint = "Look at its changes, then apply or cancel it.";
        return about.find(practice, StageResult::Warn, "The last run is held.", hint);
    }
    if run.state == RunState::Failed || sync.health.level == HealthLevel::Error {
        let message = run
            .failure
            .clone()
            .unwrap_or_else(|| sync.health.problems.join(" "));
        let message = format!("The last run failed: {message}");
        return about.find(
            practice,
            StageResult::Fail,
            message,
            "CheckUserSync tells what is wrong.",
        );
    }
    match sync.last_complete_pull_time {
        None => {
            let hint = "See the issues of its runs.";
            about.find(
                practice,
                StageResult::Warn,
                "No run has seen the whole directory yet.",
                hint,
            )
        }
        Some(last) if now - last > STALE_AFTER => {
            let message = format!("The directory was last seen whole on {}.", last.date_naive());
            let hint = match sync.settings.auto_sync {
                true => "See why its runs do not end complete.",
                false => "Run it, or set auto_sync: people who left keep their users meanwhile.",
            };
            about.find(practice, StageResult::Warn, message, hint)
        }
        Some(last) => {
            let message = format!("The directory was last seen whole on {}.", last.date_naive());
            about.find(practice, StageResult::Pass, message, "")
        }
    }
}

fn overlap(reviewed: &ReviewedSync, about: &About) -> Finding {
    let practice = Practice::Overlap;
    let Some(run) = &reviewed.last_run else {
        let message = "Whether it claims other user syncs' people is not known.";
        return about.find(
            practice,
            StageResult::Skipped,
            message,
            "CheckOverlaps tells before it runs.",
        );
    };
    match run.issue_counts.get(&IssueKind::Overlap).copied().unwrap_or(0) {
        0 => about.find(
            practice,
            StageResult::Pass,
            "Its last run claimed nobody of another user sync.",
            "",
        ),
        count => {
            let message = format!(
                "Its last run claimed {} of other user syncs.",
                counted(count, "person", "people")
            );
            about.find(practice, StageResult::Warn, message, IssueKind::Overlap.hint())
        }
    }
}

fn is_older(time: DateTime<Utc>, limit: Duration, now: DateTime<Utc>) -> bool {
    TimeDelta::from_std(limit).is_ok_and(|limit| now - time > limit)
}

#[cfg(test)]
mod tests;
