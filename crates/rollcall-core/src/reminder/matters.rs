//! Which matters there are, by the facts of the security review.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::{CERTIFICATE_DAYS, Matter, PASSWORD_DAYS, Subject};
use crate::run::RunState;
use crate::security_review::{Facts, ReviewedDirectory, ReviewedSync, STALE_AFTER};

/// A directory that does not answer is told of only after this time: a restart need not concern anybody.
const UNREACHABLE_AFTER: TimeDelta = TimeDelta::hours(1);
/// A held run is told of this long before it expires.
const HELD_NOTICE: TimeDelta = TimeDelta::hours(24);

/// All that somebody has to see to now. What is switched off on purpose is left out.
pub fn matters(facts: &Facts<'_>, now: DateTime<Utc>) -> Vec<Matter> {
    let mut found: Vec<Matter> = review(facts, now).into_iter().collect();
    for reviewed in facts.directories {
        if !reviewed.directory.settings.disabled {
            of_directory(reviewed, facts.bind_password_age, now, &mut found);
        }
    }
    for reviewed in facts.user_syncs {
        let settings = &reviewed.user_sync.settings;
        let is_off = |id| {
            let mut directories = facts.directories.iter();
            directories.any(|it| it.directory.id == id && it.directory.settings.disabled)
        };
        if !settings.disabled && !is_off(settings.directory.clone()) {
            of_user_sync(reviewed, now, &mut found);
        }
    }
    found
}

fn review(facts: &Facts<'_>, now: DateTime<Utc>) -> Option<Matter> {
    // Nobody need review what was set up a moment ago.
    let begin = facts.directories.iter().map(|it| it.directory.create_time).min();
    let last = facts.last_review.or(begin)?;
    is_over(last, facts.review_interval, now).then(|| Matter {
        subject: Subject::Tenant,
        topic: "review",
        stage: 0,
        message: match facts.last_review {
            Some(last) => format!(
                "The security review is due: the last one is of {}.",
                last.date_naive()
            ),
            None => "The security review is due: none was ever recorded.".to_owned(),
        },
        hint: "Go through the findings of GetSecurityReview, then record that with RecordSecurityReview.",
    })
}

fn of_directory(
    reviewed: &ReviewedDirectory,
    default_age: Duration,
    now: DateTime<Utc>,
    found: &mut Vec<Matter>,
) {
    let directory = &reviewed.directory;
    let matter = |topic, stage, message, hint| Matter {
        subject: Subject::Directory(directory.id.clone()),
        topic,
        stage,
        message,
        hint,
    };
    let rotate = "Keep a new password with RotateBindPassword (pending), then change it in the directory.";
    if let Some(end) = directory.observed.bind_password_expire_time
        && let Some(stage) = stage(end, &PASSWORD_DAYS, now)
    {
        let message = until("The bind password", end, now);
        found.push(matter("password-expiry", stage, message, rotate));
    } else if let Some(set) = directory.bind_password_update_time
        && is_over(set, directory.bind_password_max_age(default_age), now)
    {
        let message = format!(
            "The bind password is due to be changed: it was last set on {}.",
            set.date_naive()
        );
        found.push(matter("password-age", 0, message, rotate));
    }
    for (topic, what, end, hint) in [
        (
            "server-certificate",
            "The certificate of the directory server",
            reviewed.certificate_end,
            "Have the certificate of the server renewed, or nobody can log in.",
        ),
        (
            "ca-certificate",
            "The last certificate authority of ca_certificates",
            reviewed.ca_certificate_end,
            "Add the new authority to ca_certificates of the directory before the server's certificate is of it.",
        ),
        (
            "client-certificate",
            "The client certificate",
            reviewed.client_certificate_end,
            "Replace client_certificate and client_private_key of the directory, or nobody can log in.",
        ),
    ] {
        if let Some(end) = end
            && let Some(stage) = stage(end, &CERTIFICATE_DAYS, now)
        {
            found.push(matter(topic, stage, until(what, end, now), hint));
        }
    }
    if let Some(since) = directory.observed.unreachable_since
        && now - since >= UNREACHABLE_AFTER
    {
        let message = format!(
            "The directory has not answered since {}.",
            since.format("%Y-%m-%d %H:%M UTC")
        );
        let hint =
            "See whether the server runs and its firewall lets Rollcall through; CheckConnection tells more.";
        found.push(matter("unreachable", 0, message, hint));
    }
}

fn of_user_sync(reviewed: &ReviewedSync, now: DateTime<Utc>, found: &mut Vec<Matter>) {
    let sync = &reviewed.user_sync;
    let matter = |topic, message, hint| Matter {
        subject: Subject::UserSync(sync.id.clone()),
        topic,
        stage: 0,
        message,
        hint,
    };
    let seen = sync.last_complete_pull_time.unwrap_or(sync.create_time);
    if sync.settings.auto_sync && now - seen > STALE_AFTER {
        let message = match sync.last_complete_pull_time {
            Some(last) => format!(
                "The user sync is stale: it last saw the whole directory on {}.",
                last.date_naive()
            ),
            None => "The user sync has never seen the whole directory.".to_owned(),
        };
        let hint = "See the last run and its issues: people who left keep their access meanwhile.";
        found.push(matter("stale", message, hint));
    }
    if let Some(run) = &reviewed.last_run
        && run.state == RunState::Held
        && let Some(end) = run.expire_time
        && end - now <= HELD_NOTICE
    {
        let message = format!(
            "A held run expires on {}, and its changes with it.",
            end.format("%Y-%m-%d %H:%M UTC")
        );
        let hint = "Look at its changes, then apply or cancel it (ApplySyncRun, CancelSyncRun).";
        found.push(matter("held", message, hint));
    }
}

/// The smallest of these numbers of days within which the end lies; 0 once it is past, `None` long before.
fn stage(end: DateTime<Utc>, days: &[i64], now: DateTime<Utc>) -> Option<i64> {
    if end <= now {
        return Some(0);
    }
    let near = |days: &&i64| end - now <= TimeDelta::days(**days);
    days.iter().filter(near).min().copied()
}

fn until(what: &str, end: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let day = end.date_naive();
    match (end - now).num_days() {
        _ if end <= now => format!("{what} has expired on {day}."),
        0 => format!("{what} expires on {day}, within a day."),
        1 => format!("{what} expires on {day}, in 1 day."),
        days => format!("{what} expires on {day}, in {days} days."),
    }
}

fn is_over(time: DateTime<Utc>, limit: Duration, now: DateTime<Utc>) -> bool {
    TimeDelta::from_std(limit).is_ok_and(|limit| now - time > limit)
}
