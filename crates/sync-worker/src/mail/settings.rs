//! The `[mail]` section. `config/default.toml` documents each key.

use std::path::PathBuf;
use std::time::Duration;

use lettre::message::Mailbox;
use rollcall_runtime::config::{Mistakes, duration, optional_path};
use serde::Deserialize;

/// How reports are sent.
#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub struct Mail {
    /// Whether reports are written and sent.
    pub enabled: bool,
    /// Name or address of the SMTP server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// When TLS begins.
    pub security: Security,
    /// Authorities that the server's certificate may come from besides the system's, PEM.
    #[serde(deserialize_with = "optional_path")]
    pub ca_file: Option<PathBuf>,
    /// Account at the server; empty sends without authentication.
    pub username: String,
    /// File with the account's password.
    #[serde(deserialize_with = "optional_path")]
    pub password_file: Option<PathBuf>,
    /// Sender: an address, or a name with the address in angle brackets.
    pub from: String,
    /// Longest delivery of one mail.
    #[serde(deserialize_with = "duration")]
    pub timeout: Duration,
    /// Time between two looks into the outbox.
    #[serde(deserialize_with = "duration")]
    pub poll_interval: Duration,
    /// Pause after the first failed attempt.
    #[serde(deserialize_with = "duration")]
    pub retry_interval: Duration,
    /// Attempts after which a mail is given up.
    pub max_attempts: u32,
    /// Report mails of a tenant in a day.
    pub reports_per_day: u32,
    /// Alarm mails of a tenant in a day.
    pub alarms_per_day: u32,
    /// Whether addresses need a domain that is verified for the tenant.
    pub only_verified_domains: bool,
}

/// Which mails tenants may send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MailLimits {
    /// Report mails of a tenant in a day.
    pub reports_per_day: u32,
    /// Alarm mails of a tenant in a day.
    pub alarms_per_day: u32,
    /// Whether addresses need a domain that is verified for the tenant.
    pub only_verified_domains: bool,
}

/// When TLS begins. Mails are never sent without it.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
pub enum Security {
    /// After the STARTTLS command, which the server must offer.
    StartTls,
    /// With the first byte.
    Tls,
}

impl Mail {
    pub(crate) fn limits(&self) -> MailLimits {
        MailLimits {
            reports_per_day: self.reports_per_day,
            alarms_per_day: self.alarms_per_day,
            only_verified_domains: self.only_verified_domains,
        }
    }

    /// Reports values out of range and contradictions.
    pub(crate) fn validate(&self, mistakes: &mut Mistakes) {
        let s = Duration::from_secs;
        if self.enabled || !self.host.is_empty() {
            let of_a_name = |c: char| c.is_ascii_alphanumeric() || "-.:".contains(c);
            if self.host.is_empty() || !self.host.chars().all(of_a_name) {
                mistakes.add("mail.host", "must be the name or address of the SMTP server");
            }
        }
        if (self.enabled || !self.from.is_empty()) && self.from.parse::<Mailbox>().is_err() {
            mistakes.add(
                "mail.from",
                "must be an e-mail address, or a name with the address in angle brackets",
            );
        }
        if self.username.is_empty() != self.password_file.is_none() {
            let missing = if self.username.is_empty() {
                "mail.username"
            } else {
                "mail.password_file"
            };
            mistakes.add(
                missing,
                "username and password_file are set together or not at all",
            );
        }
        mistakes.range("mail.port", self.port, 1..=u16::MAX);
        mistakes.range("mail.timeout", self.timeout, s(1)..=s(300));
        mistakes.range("mail.poll_interval", self.poll_interval, s(1)..=s(600));
        mistakes.range("mail.retry_interval", self.retry_interval, s(1)..=s(3_600));
        mistakes.range("mail.max_attempts", self.max_attempts, 1..=1_000);
        mistakes.range("mail.reports_per_day", self.reports_per_day, 1..=1_000_000);
        mistakes.range("mail.alarms_per_day", self.alarms_per_day, 1..=1_000_000);
    }
}
