//! The worker's own settings. `config/default.toml` documents each key.

use std::path::PathBuf;
use std::time::Duration;

use rollcall_runtime::config::{Mistakes, Settings, Shared, duration};
use serde::Deserialize;

use crate::mail::Mail;

/// The worker's own sections.
#[derive(Deserialize)]
pub struct WorkerSettings {
    /// The in-process scheduler.
    pub scheduler: Scheduler,
    /// Limits of runs.
    pub runs: Runs,
    /// Limits of checks.
    pub checks: Checks,
    /// How reports are sent.
    pub mail: Mail,
    /// How long things are kept.
    pub retention: Retention,
    /// What the security review measures against.
    pub review: Review,
}

/// The in-process scheduler.
#[derive(Deserialize, Clone, Copy)]
#[serde(deny_unknown_fields)]
pub struct Scheduler {
    /// Whether this replica starts due runs by itself.
    pub enabled: bool,
    /// Time between two looks at what is due.
    #[serde(deserialize_with = "duration")]
    pub interval: Duration,
    /// Starts are spread over this time after what the schedule says.
    #[serde(deserialize_with = "duration")]
    pub spread: Duration,
}

/// Limits of runs.
#[derive(Deserialize, Clone, Copy)]
#[serde(deny_unknown_fields)]
pub struct Runs {
    /// Runs worked on at a time in this replica; one tenant has half of these at most.
    pub concurrent: usize,
    /// Runs that may read one directory at a time, in all replicas together.
    pub per_directory: u32,
    /// Entries that the searches of one user sync may bring. A run that meets more removes nobody and says so.
    pub max_entries: u32,
    /// A replica that is silent for this long has lost its runs to others.
    #[serde(deserialize_with = "duration")]
    pub lease_ttl: Duration,
    /// Time between two runs of one user sync that somebody asks for.
    #[serde(deserialize_with = "duration")]
    pub manual_pause: Duration,
}

/// Limits of checks.
#[derive(Deserialize, Clone, Copy)]
#[serde(deny_unknown_fields)]
pub struct Checks {
    /// Checks of one tenant a minute, in this replica.
    pub per_minute: u32,
    /// Longest CheckConnection or CheckUserSync.
    #[serde(deserialize_with = "duration")]
    pub timeout: Duration,
}

/// How long things are kept.
#[derive(Deserialize, Clone, Copy)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// Runs that ended, with plan and issues.
    #[serde(deserialize_with = "duration")]
    pub runs: Duration,
    /// User events.
    #[serde(deserialize_with = "duration")]
    pub events: Duration,
    /// Audit events.
    #[serde(deserialize_with = "duration")]
    pub audit: Duration,
}

/// What the security review measures against.
#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub struct Review {
    /// Roles whose holders are named when they do not log in; empty for those that role rules give.
    pub privileged_roles: Vec<String>,
    /// A bind password older than this should be replaced.
    #[serde(deserialize_with = "duration")]
    pub bind_password_age: Duration,
    /// A review is due this long after the last one.
    #[serde(deserialize_with = "duration")]
    pub interval: Duration,
}

impl Settings for WorkerSettings {
    const ENVIRONMENT_PREFIX: &'static str = "SYNC_WORKER";
    const DEFAULTS: &'static str = include_str!("config/default.toml");
    const SECRETS: &'static [&'static str] = &[];
    const RELOADED: &'static [&'static str] = &[
        "mail.host",
        "mail.port",
        "mail.security",
        "mail.ca_file",
        "mail.username",
        "mail.password_file",
        "mail.from",
        "mail.timeout",
    ];

    fn validate(&self, _: &Shared, mistakes: &mut Mistakes) {
        let (s, day) = (Duration::from_secs, Duration::from_secs(86_400));
        mistakes.range("scheduler.interval", self.scheduler.interval, s(1)..=s(600));
        mistakes.range("scheduler.spread", self.scheduler.spread, s(0)..=s(3_600));
        mistakes.range("runs.concurrent", self.runs.concurrent, 1..=1_000);
        mistakes.range("runs.per_directory", self.runs.per_directory, 1..=100);
        mistakes.range("runs.max_entries", self.runs.max_entries, 100..=100_000_000);
        mistakes.range("runs.lease_ttl", self.runs.lease_ttl, s(2)..=s(600));
        mistakes.range("runs.manual_pause", self.runs.manual_pause, s(0)..=s(3_600));
        mistakes.range("checks.per_minute", self.checks.per_minute, 1..=1_000);
        mistakes.range("checks.timeout", self.checks.timeout, s(1)..=s(60));
        self.mail.validate(mistakes);
        mistakes.range("retention.runs", self.retention.runs, day..=day * 3_650);
        // The guard counts a week's removals in the events.
        mistakes.range("retention.events", self.retention.events, day * 7..=day * 3_650);
        mistakes.range("retention.audit", self.retention.audit, day..=day * 3_650);
        let review = &self.review;
        mistakes.range(
            "review.bind_password_age",
            review.bind_password_age,
            day..=day * 3_650,
        );
        mistakes.range("review.interval", review.interval, day..=day * 3_650);
    }

    fn certificates(&self) -> Vec<(&'static str, PathBuf)> {
        let authorities = self.mail.ca_file.clone();
        authorities
            .map(|path| ("mail.ca_file", path))
            .into_iter()
            .collect()
    }

    fn files(&self) -> Vec<PathBuf> {
        let named = [&self.mail.ca_file, &self.mail.password_file];
        named.into_iter().flatten().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rollcall_runtime::config::{Loaded, Sources, load};

    use super::*;

    fn load_with(flags: &[(&str, &str)]) -> Result<Loaded<WorkerSettings>, Mistakes> {
        let flags = flags
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        load(&Sources {
            flags,
            ..Sources::default()
        })
    }

    #[test]
    fn the_defaults_are_valid_and_use_a_port_of_their_own() {
        let loaded = load_with(&[]).map_err(|mistakes| mistakes.to_string()).unwrap();
        assert_eq!(loaded.shared.server.listen.port(), 50052);
        assert!(loaded.own.scheduler.enabled);
    }

    #[test]
    fn every_value_out_of_range_is_told() {
        let flags = [
            ("scheduler.interval", "0s"),
            ("scheduler.spread", "2h"),
            ("runs.concurrent", "0"),
            ("runs.per_directory", "0"),
            ("runs.max_entries", "99"),
            ("runs.lease_ttl", "1s"),
            ("runs.manual_pause", "2h"),
            ("checks.per_minute", "0"),
            ("checks.timeout", "2m"),
            ("mail.host", "no host"),
            ("mail.from", "nobody"),
            ("mail.security", "none"),
            ("mail.username", "rollcall"),
            ("mail.timeout", "1h"),
            ("mail.poll_interval", "0s"),
            ("mail.retry_interval", "0s"),
            ("mail.max_attempts", "0"),
            ("mail.reports_per_day", "0"),
            ("mail.alarms_per_day", "0"),
            ("retention.runs", "1h"),
            ("retention.events", "6d"),
            ("retention.audit", "1h"),
            ("review.bind_password_age", "1h"),
            ("review.interval", "1h"),
            ("review.typo", "1h"),
        ];
        let Err(mistakes) = load_with(&flags) else {
            unreachable!("nothing here is valid")
        };
        assert_eq!(mistakes.iter().count(), flags.len(), "{mistakes}");
    }

    #[test]
    fn mail_needs_a_server_and_a_sender_and_files_that_can_be_read() {
        let Err(mistakes) = load_with(&[("mail.enabled", "true")]) else {
            unreachable!("there is no server to send to")
        };
        let told = mistakes.to_string();
        assert!(told.contains("mail.host") && told.contains("mail.from"), "{told}");

        let flags = [
            ("mail.enabled", "true"),
            ("mail.host", "localhost"),
            ("mail.from", "Rollcall <rollcall@example.org>"),
            ("mail.ca_file", "/does/not/exist"),
            ("mail.username", "rollcall"),
            ("mail.password_file", "/nor/this"),
        ];
        let loaded = load_with(&flags)
            .map_err(|mistakes| mistakes.to_string())
            .unwrap();
        let Err(mistakes) = crate::mail::Smtp::open(&loaded.own.mail) else {
            unreachable!("there are no such files")
        };
        assert_eq!(mistakes.iter().count(), 2, "{mistakes}");
    }
}
