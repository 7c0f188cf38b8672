//! What all logins of a process share.

use chrono::{DateTime, Utc};
use ring::rand::{SecureRandom, SystemRandom};
use rollcall_core::identifier::LoginPolicy;
use rollcall_core::soft_lock::Settlement;
use rollcall_runtime::clock::Clock;
use rollcall_service::directories::Directories;
use rollcall_store::{LoginStore, Store};
use tokio::time::Instant;

use super::equal_timing::EqualTiming;
use super::memory::keyed_hash::{Fingerprint, PrivateHasher, SharedHasher};
use super::memory::known_dn::KnownDns;
use super::memory::prepared::PreparedSyncs;
use super::memory::tenant_view::TenantViews;
use super::refresh::Refreshes;
use super::seen::Verified;
use super::single_flight::SingleFlight;
use super::soft_lock::queue::LoginQueues;
use super::soft_lock::unsettled::Unsettled;
use super::soft_lock::wrong_passwords::WrongPasswords;
use crate::config;
use crate::worker::Worker;

/// What the steps of a login work with.
pub struct Context {
    pub(super) store: Store,
    pub(super) login_store: LoginStore,
    pub(super) directories: Directories,
    pub(super) clock: Clock,
    pub(super) random: SystemRandom,
    pub(super) login: config::Login,
    pub(super) soft_lock: config::SoftLockSettings,
    pub(super) shared: SharedHasher,
    pub(super) private: PrivateHasher,
    pub(super) views: TenantViews,
    pub(super) prepared: PreparedSyncs,
    pub(super) known_dns: KnownDns,
    pub(super) single_flight: SingleFlight<Verified>,
    pub(super) queues: LoginQueues,
    pub(super) unsettled: Unsettled,
    pub(super) wrong_passwords: WrongPasswords,
    /// Refused passwords that are not proven to be wrong: the person was not there, or the account was locked. They are
    /// tried again each time, since that may have changed. A repeated one counts once, as a wrong one does.
    pub(super) refused_passwords: WrongPasswords,
    pub(super) equal_timing: EqualTiming,
    pub(super) refreshes: Refreshes,
}

/// What a context is made of.
pub struct Parts {
    /// The store.
    pub store: Store,
    /// What logins read and commit.
    pub login_store: LoginStore,
    /// The open directories.
    pub directories: Directories,
    /// The sync worker.
    pub worker: Worker,
    /// The time.
    pub clock: Clock,
    /// How logins are carried out.
    pub login: config::Login,
    /// The soft lock.
    pub soft_lock: config::SoftLockSettings,
    /// Which logins are acceptable.
    pub policy: LoginPolicy,
    /// Hashes that all replicas compute alike.
    pub shared: SharedHasher,
    /// Hashes of this process.
    pub private: PrivateHasher,
}

impl Context {
    /// Puts the parts together.
    pub fn new(parts: Parts) -> Self {
        Self {
            store: parts.store,
            login_store: parts.login_store,
            directories: parts.directories,
            clock: parts.clock,
            random: SystemRandom::new(),
            login: parts.login,
            soft_lock: parts.soft_lock,
            shared: parts.shared,
            private: parts.private,
            views: TenantViews::new(parts.soft_lock.defaults()),
            prepared: PreparedSyncs::new(parts.policy),
            known_dns: KnownDns::default(),
            single_flight: SingleFlight::default(),
            queues: LoginQueues::default(),
            unsettled: Unsettled::default(),
            wrong_passwords: WrongPasswords::new(parts.soft_lock.replay),
            refused_passwords: WrongPasswords::new(parts.soft_lock.replay),
            equal_timing: EqualTiming::new(parts.login.max_waiting),
            refreshes: Refreshes::new(parts.worker),
        }
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// When the directory must have answered, so that there is time to record the outcome and to answer.
    pub(super) fn directory_deadline(&self, deadline: Instant) -> Instant {
        let now = Instant::now();
        let left = deadline.saturating_duration_since(now).min(self.login.timeout);
        now + left.saturating_sub(self.login.record_time.min(left / 2))
    }

    /// How a refusal counts that says nothing about the password: a repetition of the same password does not count
    /// again.
    pub(super) fn count_once(&self, password: &Fingerprint) -> Settlement {
        let now = Instant::now();
        let is_repeat = self.refused_passwords.contains(password, now);
        self.refused_passwords.remember(*password, now);
        match is_repeat {
            true => Settlement::NotSent,
            false => Settlement::Failure,
        }
    }

    pub(super) fn random(&self) -> u64 {
        let mut bytes = [0; 8];
        // If there are no random numbers, the delay is only easier to recognise.
        let _ = self.random.fill(&mut bytes);
        u64::from_be_bytes(bytes)
    }
}
