//! How a directory stands: its transport, its certificates, its bind account and its lock-out.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::facts::{Facts, ReviewedDirectory, is_older};
use super::finding::{About, Finding, Practice, Subject, severity};
use crate::check::{Stage, StageKind, StageResult};
use crate::directory::{Directory, PasswordStrength, TransportSecurity};
use crate::soft_lock::SoftLockMode;

/// A certificate that ends sooner than this is worth a word.
pub const CERTIFICATE_NOTICE: TimeDelta = TimeDelta::days(30);

/// A bind password that expires sooner than this is worth a word.
pub const BIND_PASSWORD_NOTICE: TimeDelta = TimeDelta::days(14);

pub(super) fn directory(reviewed: &ReviewedDirectory, facts: &Facts<'_>, now: DateTime<Utc>) -> Vec<Finding> {
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

fn password_age(directory: &Directory, default: Duration, now: DateTime<Utc>, about: &About) -> Finding {
    let limit = directory.bind_password_max_age(default);
    let practice = Practice::PasswordRotation;
    let Some(set) = directory.bind_password_update_time else {
        return about.find(practice, StageResult::Skipped, "No bind password is stored.", "");
    };
    let hint = "Change it in the directory, then send the new one with RotateBindPassword.";
    match directory.observed.bind_password_expire_time {
        Some(end) if end <= now => {
            let message = format!(
                "The bind password has expired in the directory on {}.",
                end.date_naive()
            );
            return about.find(practice, StageResult::Fail, message, hint);
        }
        Some(end) if end - now < BIND_PASSWORD_NOTICE => {
            let message = format!(
                "The bind password expires in the directory on {}.",
                end.date_naive()
            );
            return about.find(practice, StageResult::Warn, message, hint);
        }
        _ => {}
    }
    if let Some(refused) = directory.pending_bind_password_refuse_time {
        let message = format!(
            "The directory refused the bind password and the pending one on {}.",
            refused.date_naive()
        );
        let hint = "Send the password that the account has in the directory with RotateBindPassword.";
        return about.find(practice, StageResult::Fail, message, hint);
    }
    let message = format!("The bind password was last set on {}.", set.date_naive());
    match is_older(set, limit, now) {
        true => about.find(practice, StageResult::Warn, message, hint),
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
        // No limit lies below it.
        Some(1) => (
            StageResult::Warn,
            "The directory locks an account after a single wrong password: whoever guesses once locks it."
                .to_owned(),
            "Let the directory allow at least 3 wrong passwords.",
        ),
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
