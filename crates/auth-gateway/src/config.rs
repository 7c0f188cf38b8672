//! The gateway's own settings. `config/default.toml` documents each key.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use chrono::TimeDelta;
use rollcall_core::soft_lock::{MAX_DURATION, MAX_LIMIT, SoftLockDefaults, SoftLockMode, SoftLockPolicy};
use rollcall_runtime::config::{Mistakes, Secret, Settings, Shared, duration, optional_path};
use serde::Deserialize;

/// The gateway's own sections.
#[derive(Deserialize)]
pub struct GatewaySettings {
    /// What the process runs on.
    pub runtime: Runtime,
    /// How a login is carried out.
    pub login: Login,
    /// How many wrong passwords are too many.
    #[serde(rename = "throttle")]
    pub soft_lock: SoftLockSettings,
    /// The sync worker, which renews a user during a login.
    pub worker: Worker,
    /// How the event feed is followed.
    pub events: Events,
}

/// What the process runs on.
#[derive(Deserialize, Clone, Copy)]
#[serde(deny_unknown_fields)]
pub struct Runtime {
    /// Threads that carry out calls; 0 leaves it to the number of cores.
    threads: usize,
}

/// How a login is carried out.
#[derive(Deserialize, Clone, Copy)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// Longest login, if the caller's own deadline is not earlier.
    #[serde(deserialize_with = "duration")]
    pub timeout: Duration,
    /// The part of the time that is kept for recording the outcome.
    #[serde(deserialize_with = "duration")]
    pub record_time: Duration,
    /// A DN read within this time is bound to and verified at once; an older one is verified first.
    #[serde(deserialize_with = "duration")]
    pub trust_dn: Duration,
    /// Negative answers that may wait at a time, so as to take as long as a bind.
    pub max_waiting: usize,
    /// How long a repeat with the same request id joins the first attempt.
    #[serde(deserialize_with = "duration")]
    pub join: Duration,
}

/// Whether the soft lock refuses, or only tells what it would refuse.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
pub enum LockMode {
    /// Attempts beyond a limit are refused.
    Enforce,
    /// Attempts beyond a limit are logged and go on.
    Log,
}

/// How many wrong passwords are too many.
#[derive(Deserialize, Clone, Copy)]
#[serde(deny_unknown_fields)]
pub struct SoftLockSettings {
    /// Whether limits are enforced.
    pub mode: LockMode,
    /// Failures of one user, or of one unknown login, where the directory's threshold is not known.
    pub login_limit: u32,
    /// Most failures of one user or unknown login, whatever the directory's threshold allows.
    pub max_login_limit: u32,
    /// Failures from one client address.
    pub client_limit: u32,
    /// Failures are forgotten so long after the last one.
    #[serde(deserialize_with = "duration")]
    pub window: Duration,
    /// Once there are too many, logins are refused for this long after the last one.
    #[serde(deserialize_with = "duration")]
    pub duration: Duration,
    /// How long the same wrong password is answered without asking again, and not counted again.
    #[serde(deserialize_with = "duration")]
    pub replay: Duration,
}

/// The sync worker, which renews a user during a login.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Worker {
    /// `http://` or `https://`, a host and a port. Empty: no worker.
    pub endpoint: String,
    /// Longest renewal.
    #[serde(deserialize_with = "duration")]
    pub timeout: Duration,
    /// Bearer token that the worker knows this gateway by.
    pub(crate) token: Option<Secret>,
    /// A file with the token; wins over `token`.
    #[serde(deserialize_with = "optional_path")]
    pub token_file: Option<PathBuf>,
    /// PEM file of the authorities that sign the worker's certificate.
    #[serde(deserialize_with = "optional_path")]
    pub ca_file: Option<PathBuf>,
    /// PEM file of this gateway's client certificate.
    #[serde(deserialize_with = "optional_path")]
    pub certificate_file: Option<PathBuf>,
    /// PEM file of its key.
    #[serde(deserialize_with = "optional_path")]
    pub key_file: Option<PathBuf>,
}

/// How the event feed is followed.
#[derive(Deserialize, Clone, Copy)]
#[serde(deny_unknown_fields)]
pub struct Events {
    /// Time between two looks for new events, while a stream is open.
    #[serde(deserialize_with = "duration")]
    pub poll_interval: Duration,
}

const MAX_THREADS: usize = 1_024;
impl Runtime {
    /// Threads that carry out calls.
    pub fn threads(self) -> usize {
        match self.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        }
    }
}

impl SoftLockSettings {
    /// The deployment's rules, which directories' own soft locks may change.
    pub fn defaults(&self) -> SoftLockDefaults {
        SoftLockDefaults {
            limit: self.login_limit,
            max_limit: self.max_login_limit,
            window: self.window,
            duration: self.duration,
            mode: match self.mode {
                LockMode::Enforce => SoftLockMode::Enforce,
                LockMode::Log => SoftLockMode::Log,
            },
        }
    }

    /// The limit for one client address.
    pub fn client_policy(&self) -> SoftLockPolicy {
        let delta = |time| TimeDelta::from_std(time).unwrap_or(TimeDelta::MAX);
        SoftLockPolicy {
            limit: self.client_limit,
            window: delta(self.window),
            lock: delta(self.duration),
            fixed: true,
        }
    }
}

impl Settings for GatewaySettings {
    const ENVIRONMENT_PREFIX: &'static str = "AUTH_GATEWAY";
    const DEFAULTS: &'static str = include_str!("config/default.toml");
    const SECRETS: &'static [&'static str] = &["worker.token"];
    const RELOADED: &'static [&'static str] = &[
        "worker.endpoint",
        "worker.timeout",
        "worker.token",
        "worker.token_file",
        "worker.ca_file",
        "worker.certificate_file",
        "worker.key_file",
    ];

    fn validate(&self, _: &Shared, mistakes: &mut Mistakes) {
        let (ms, s) = (Duration::from_millis, Duration::from_secs);
        mistakes.range("runtime.threads", self.runtime.threads, 0..=MAX_THREADS);
        let login = &self.login;
        mistakes.range("login.timeout", login.timeout, ms(500)..=s(120));
        mistakes.range("login.record_time", login.record_time, ms(10)..=s(10));
        if login.record_time > login.timeout / 2 {
            mistakes.add("login.record_time", "must be at most half of login.timeout");
        }
        mistakes.range("login.trust_dn", login.trust_dn, s(0)..=s(7 * 86_400));
        mistakes.range("login.max_waiting", login.max_waiting, 1..=1_000_000);
        mistakes.range("login.join", login.join, s(1)..=s(3_600));
        let lock = &self.soft_lock;
        mistakes.range("throttle.login_limit", lock.login_limit, 1..=MAX_LIMIT);
        mistakes.range("throttle.max_login_limit", lock.max_login_limit, 1..=MAX_LIMIT);
        mistakes.range("throttle.client_limit", lock.client_limit, 1..=1_000_000);
        mistakes.range("throttle.window", lock.window, s(1)..=MAX_DURATION);
        mistakes.range("throttle.duration", lock.duration, s(1)..=MAX_DURATION);
        if lock.duration < lock.window {
            mistakes.add("throttle.duration", "must not be shorter than throttle.window");
        }
        mistakes.range("throttle.replay", lock.replay, s(0)..=s(3_600));
        mistakes.range("events.poll_interval", self.events.poll_interval, ms(20)..=s(60));
        self.worker.validate(mistakes);
    }

    fn certificates(&self) -> Vec<(&'static str, PathBuf)> {
        let worker = &self.worker;
        let named = [
            ("worker.ca_file", &worker.ca_file),
            ("worker.certificate_file", &worker.certificate_file),
        ];
        let named = named.into_iter();
        named
            .filter_map(|(key, path)| Some((key, path.clone()?)))
            .collect()
    }

    fn files(&self) -> Vec<PathBuf> {
        let worker = &self.worker;
        let named = [
            &worker.token_file,
            &worker.ca_file,
            &worker.certificate_file,
            &worker.key_file,
        ];
        named.into_iter().flatten().cloned().collect()
    }
}

impl Worker {
    fn validate(&self, mistakes: &mut Mistakes) {
        let (ms, s) = (Duration::from_millis, Duration::from_secs);
        mistakes.range("worker.timeout", self.timeout, ms(100)..=s(60));
        if self.certificate_file.is_some() != self.key_file.is_some() {
            mistakes.add("worker.key_file", "certificate and key must be set together");
        }
        if self.endpoint.is_empty() {
            return;
        }
        let uri: Option<http::Uri> = self.endpoint.parse().ok();
        let scheme = uri.as_ref().and_then(|uri| uri.scheme_str()).unwrap_or_default();
        let host = uri.as_ref().and_then(|uri| uri.host()).unwrap_or_default();
        if host.is_empty() || !["http", "https"].contains(&scheme) {
            mistakes.add("worker.endpoint", "must look like https://sync-worker:50052");
            return;
        }
        if scheme == "http" {
            let has_token = self
                .token
                .as_ref()
                .is_some_and(|token| !token.expose().is_empty());
            let sends_secret = self.token_file.is_some() || has_token;
            if sends_secret && !is_loopback(host) {
                mistakes.add("worker.token", "would cross the network readably; use https://");
            }
            if self.ca_file.is_some() || self.certificate_file.is_some() {
                mistakes.add("worker.endpoint", "certificates need https://");
            }
        } else if self.ca_file.is_none() {
            mistakes.add("worker.ca_file", "is required with https://");
        }
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || address
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use rollcall_runtime::config::{Sources, load};

    use super::*;

    fn loaded(flags: &[(&str, &str)]) -> Result<GatewaySettings, Mistakes> {
        let flags = flags
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let sources = Sources {
            file: None,
            environment: Default::default(),
            flags: flags.collect(),
        };
        load::<GatewaySettings>(&sources).map(|loaded| loaded.own)
    }

    #[test]
    fn the_defaults_are_valid() {
        let settings = loaded(&[]).unwrap();
        assert_eq!(settings.soft_lock.mode, LockMode::Enforce);
        assert_eq!(settings.soft_lock.login_limit, 3);
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let Err(mistakes) = loaded(&[
            ("login.timeout", "1ms"),
            ("throttle.login_limit", "0"),
            ("worker.endpoint", "worker:50052"),
        ]) else {
            panic!("these are mistakes");
        };
        let text = mistakes.to_string();
        for key in ["login.timeout", "throttle.login_limit", "worker.endpoint"] {
            assert!(text.contains(key), "{key} is missing in:\n{text}");
        }
    }

    #[test]
    fn a_token_never_crosses_a_network_readably() {
        let secret = ("worker.token", "canary-token");
        let remote = loaded(&[("worker.endpoint", "http://worker.example:50052"), secret]);
        let text = remote.err().unwrap().to_string();
        assert!(
            text.contains("worker.token") && !text.contains("canary"),
            "{text}"
        );
        assert!(loaded(&[("worker.endpoint", "http://127.0.0.1:50052"), secret]).is_ok());
        let ca = ("worker.ca_file", "/ca.pem");
        assert!(loaded(&[("worker.endpoint", "https://worker.example:50052"), secret, ca]).is_ok());
    }
}
