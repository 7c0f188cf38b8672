//! The steps of one login, in their order.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use ring::rand::{SecureRandom, SystemRandom};
use rollcall_core::audit::LoginOutcome;
use rollcall_core::error::{Error, Reason};
use rollcall_core::id::TenantId;
use rollcall_core::identifier::{LoginPolicy, email_domain, normalize};
use rollcall_core::soft_lock::SoftLockMode;
use rollcall_core::throttle::{Settlement, ThrottleSubject};
use rollcall_ldap::{LdapError, ReadRequest};
use rollcall_runtime::clock::Clock;
use rollcall_store::{HeldSlot, LoginChange, Reservation, Reserved, Store};
use tokio::time::Instant;

use super::attempt::{Attempt, Progress};
use super::disguise::Disguise;
use super::guess::{client_subject, subject_key};
use super::keyed_hash::{Fingerprint, PrivateHasher, SharedHasher};
use super::known::Asked;
use super::known_dn::KnownDns;
use super::outcome::{Denial, Outcome, unsent};
use super::prepared::PreparedSyncs;
use super::record::{Ending, Who, audit_event, record};
use super::refresh::Refreshes;
use super::replay::Replays;
use super::standing::{Standing, standing, tenant_disabled};
use super::tenant_view::{TenantView, TenantViews};
use super::turn::{Stage, Turn, Turns};
use crate::config;
use crate::directories::Directories;
use crate::worker::Worker;

/// How long to wait before looking again whether a slot is free.
const SLOT_PAUSE: Duration = Duration::from_millis(10);
/// Of an outage people are told at multiples of this, which is several times what its paths take.
const OUTAGE_TICK: Duration = Duration::from_millis(25);

/// Carries out single logins.
pub struct Runner {
    pub(super) store: Store,
    pub(super) directories: Arc<Directories>,
    pub(super) clock: Clock,
    pub(super) random: SystemRandom,
    pub(super) login: config::Login,
    pub(super) throttle: config::Throttle,
    pub(super) shared: SharedHasher,
    pub(super) private: PrivateHasher,
    pub(super) views: TenantViews,
    pub(super) prepared: PreparedSyncs,
    pub(super) known_dns: KnownDns,
    pub(super) turns: Turns,
    pub(super) replays: Replays,
    pub(super) disguise: Disguise,
    pub(super) refreshes: Refreshes,
}

/// What a runner works with.
pub struct Parts {
    /// The store.
    pub store: Store,
    /// The open directories.
    pub directories: Arc<Directories>,
    /// The sync worker.
    pub worker: Worker,
    /// The time.
    pub clock: Clock,
    /// How logins are carried out.
    pub login: config::Login,
    /// The soft lock.
    pub throttle: config::Throttle,
    /// Which logins are acceptable.
    pub policy: LoginPolicy,
    /// Hashes that all replicas compute alike.
    pub shared: SharedHasher,
    /// Hashes of this process.
    pub private: PrivateHasher,
}

/// A login that counts: whoever it is for, and what was reserved for it.
pub(super) struct Guess {
    pub(super) who: Who,
    pub(super) fingerprint: Fingerprint,
    pub(super) slots: Vec<HeldSlot>,
    /// Held until the login has ended.
    _turn: Turn,
}

impl Runner {
    /// Puts the parts together.
    pub fn new(parts: Parts) -> Self {
        Self {
            store: parts.store,
            directories: parts.directories,
            clock: parts.clock,
            random: SystemRandom::new(),
            login: parts.login,
            throttle: parts.throttle,
            shared: parts.shared,
            private: parts.private,
            views: TenantViews::new(parts.throttle.defaults()),
            prepared: PreparedSyncs::new(parts.policy),
            known_dns: KnownDns::default(),
            turns: Turns::default(),
            replays: Replays::new(parts.throttle.replay),
            disguise: Disguise::new(parts.login.max_waiting),
            refreshes: Refreshes::new(parts.worker),
        }
    }

    /// Carries one login through.
    ///
    /// # Errors
    /// Whatever speaks of the call and not of the password.
    pub async fn run(&self, attempt: &Attempt, progress: &Progress) -> Result<Outcome, Error> {
        let start = Instant::now();
        let mut done = self.decide(attempt, progress).await;
        if let Err(error) = &mut done
            && error.reason == Reason::DirectoryUnavailable
        {
            // Which directory it is would tell that there is such a login.
            error.metadata.clear();
            let answer_at = next_tick(start, Instant::now());
            if answer_at < attempt.deadline {
                tokio::time::sleep_until(answer_at).await;
            }
        }
        done
    }

    async fn decide(&self, attempt: &Attempt, progress: &Progress) -> Result<Outcome, Error> {
        let tenant = self.tenant(attempt).await?;
        let view = match self.views.get(&self.store, &tenant).await {
            Ok(view) => view,
            Err(rollcall_store::StoreError::NotFound(_)) => return Err(no_access(&tenant)),
            Err(error) => return Err(error.into()),
        };
        let target = self.store.login_target(&tenant, &attempt.login).await?;
        let mut who = Who {
            tenant: tenant.clone(),
            caller: attempt.caller.name().to_owned(),
            user: None,
            user_sync: None,
            directory: None,
            unknown_login: None,
            client: attempt.client,
        };
        let Some(target) = target else {
            return self.unknown(attempt, who, &view).await;
        };
        who.user = Some(target.user.id);
        who.user_sync = target.sync.as_ref().map(|sync| sync.user_sync.clone());
        who.directory = target.sync.as_ref().map(|sync| sync.directory.clone());
        match standing(&target) {
            Standing::Local => {
                let ending = Ending::without_slots(LoginOutcome::Denied, "LOCAL_USER");
                self.record(&who, ending).await?;
                Ok(Outcome::Denied(Denial::LocalUser))
            }
            Standing::Unable(error) => {
                let ending = Ending::without_slots(LoginOutcome::Error, error.reason.as_str());
                self.record(&who, ending).await?;
                Err(error)
            }
            Standing::Refused(reason) => {
                let subject = ThrottleSubject::User(target.user.id);
                match self.guess(attempt, who, &view, subject).await? {
                    Ok(guess) => self.refuse(attempt, guess, &view, reason).await,
                    Err(answered) => Ok(answered),
                }
            }
            Standing::Ask { origin, sync } => {
                let asked = Asked {
                    attempt,
                    progress,
                    target: &target,
                    origin,
                    sync,
                };
                self.known(asked, who, &view).await
            }
        }
    }

    /// The tenant that was named, or the one that the e-mail's domain belongs to.
    async fn tenant(&self, attempt: &Attempt) -> Result<TenantId, Error> {
        if let Some(tenant) = &attempt.tenant {
            return Ok(tenant.clone());
        }
        let required = || {
            Error::new(
                Reason::TenantRequired,
                "tenant is required: no tenant has verified this domain",
            )
        };
        let domain = email_domain(&attempt.login).ok_or_else(required)?;
        let tenant = self.store.tenant_by_domain(&domain).await?.ok_or_else(required)?;
        // Whether a domain is verified for a tenant that is none of the caller's is none of its business.
        attempt.caller.may_touch(&tenant.id).map_err(|_| required())?;
        Ok(tenant.id)
    }

    /// A login that names nobody: everything happens as for one that does, but for the bind.
    async fn unknown(&self, attempt: &Attempt, mut who: Who, view: &TenantView) -> Result<Outcome, Error> {
        let hash = self.shared.unknown_login(&who.tenant, &normalize(&attempt.login));
        who.unknown_login = Some(format!("{hash}:{}", attempt.login.chars().count()));
        if !view.enabled {
            let error = tenant_disabled(&who.tenant);
            let ending = Ending::without_slots(LoginOutcome::Error, error.reason.as_str());
            self.record(&who, ending).await?;
            return Err(error);
        }
        let guess = match self
            .guess(attempt, who, view, ThrottleSubject::UnknownLogin(hash))
            .await?
        {
            Ok(guess) => guess,
            Err(answered) => return Ok(answered),
        };
        self.refuse(attempt, guess, view, "UNKNOWN_LOGIN").await
    }

    /// While no directory of the tenant can be reached, those whom none would be asked about must not be the only ones
    /// who get an answer.
    async fn outage(&self, tenant: &TenantId, view: &TenantView, deadline: Instant) -> Option<Error> {
        let opened = self.directories.opened(tenant, &view.directories);
        if opened.is_empty() || !opened.iter().all(|directory| directory.is_down()) {
            return None;
        }
        // The root DSE (RFC 4512 section 5.1).
        let request = ReadRequest {
            dn: String::new(),
            filter: "(objectClass=*)".to_owned(),
            attributes: vec!["1.1".to_owned()],
        };
        for directory in opened {
            let read = directory
                .ldap
                .read_entry(&request, self.directory_deadline(deadline))
                .await;
            directory.note(read.as_ref().err());
            if read.is_ok() {
                return None;
            }
        }
        Some(unsent(&LdapError::CircuitOpen, ""))
    }

    /// Lets a guess go on, with its slots reserved; or answers it here: a repeated wrong password, or too many.
    pub(super) async fn guess(
        &self,
        attempt: &Attempt,
        who: Who,
        view: &TenantView,
        subject: ThrottleSubject,
    ) -> Result<Result<Guess, Outcome>, Error> {
        let key = subject_key(&who.tenant, &subject);
        let lock = match &who.directory {
            Some(directory) => view.lock_of(directory),
            None => {
                let hash = self.shared.unknown_login(&who.tenant, &normalize(&attempt.login));
                view.lock_of_nobody(&hash)
            }
        };
        let deadline = self.directory_deadline(attempt.deadline);
        let Some(mut turn) = self.turns.take(&key, lock.policy.limit, deadline).await else {
            return Err(too_slow());
        };
        let fingerprint = self.private.password(&key, &attempt.password);
        if self.replays.contains(&fingerprint, Instant::now()) {
            self.disguise.wait(&who.tenant, self.random()).await;
            let ending = Ending::without_slots(LoginOutcome::Denied, "REPEATED_PASSWORD");
            self.record(&who, ending).await?;
            return Ok(Err(Outcome::Denied(Denial::INVALID_CREDENTIALS)));
        }
        let mut wanted = vec![Reservation {
            subject,
            policy: lock.policy,
        }];
        wanted.extend(attempt.client.map(|client| Reservation {
            subject: client_subject(client),
            policy: self.throttle.client_policy(),
        }));
        let slots = loop {
            let (time, subject) = match self.reserve(&who.tenant, &wanted, &mut turn, deadline).await? {
                Reserved::Taken(slots) => break slots,
                Reserved::Wait { time, subject } => (time, subject),
            };
            let mode = match &subject {
                ThrottleSubject::Client(_) => self.throttle.defaults().mode,
                ThrottleSubject::User(_) | ThrottleSubject::UnknownLogin(_) => lock.mode,
            };
            if mode == SoftLockMode::Enforce {
                let event = audit_event(&who, LoginOutcome::Denied, "TOO_MANY_ATTEMPTS", self.now());
                self.store.record_refusal(&who.tenant, &subject, event).await?;
                let retry_after = time.to_std().unwrap_or_default();
                return Ok(Err(Outcome::Denied(Denial::TooManyAttempts { retry_after })));
            }
            tracing::warn!(tenant = %who.tenant, "the soft lock would refuse this login");
            wanted.retain(|reservation| reservation.subject != subject);
        };
        Ok(Ok(Guess {
            who,
            fingerprint,
            slots,
            _turn: turn,
        }))
    }

    /// Takes the slots. While others of this subject hold slots here, one may come free.
    async fn reserve(
        &self,
        tenant: &TenantId,
        wanted: &[Reservation],
        turn: &mut Turn,
        deadline: Instant,
    ) -> Result<Reserved, Error> {
        let mut patience = true;
        loop {
            turn.set(Stage::Reserving);
            let reserved = self.store.reserve(tenant, wanted, self.now()).await;
            if matches!(reserved, Ok(Reserved::Taken(_))) {
                turn.set(Stage::Holding);
                return Ok(reserved?);
            }
            turn.set(Stage::Idle);
            let may_come_free = match turn.others() {
                Stage::Holding => true,
                // It may have got them and not have said so yet: look again, but once.
                Stage::Reserving => std::mem::replace(&mut patience, false),
                Stage::Idle => false,
            };
            if reserved.is_err() || !may_come_free || Instant::now() >= deadline {
                return Ok(reserved?);
            }
            tokio::time::sleep(SLOT_PAUSE).await;
        }
    }

    /// Refuses a guess that no directory has to see, as slowly as one that a directory saw.
    async fn refuse(
        &self,
        attempt: &Attempt,
        guess: Guess,
        view: &TenantView,
        reason: &'static str,
    ) -> Result<Outcome, Error> {
        if let Some(error) = self.outage(&guess.who.tenant, view, attempt.deadline).await {
            let ending = Ending {
                slots: guess.slots,
                ..Ending::without_slots(LoginOutcome::Error, error.reason.as_str())
            };
            self.record(&guess.who, ending).await?;
            return Err(error);
        }
        self.disguise.wait(&guess.who.tenant, self.random()).await;
        self.replays.remember(guess.fingerprint, Instant::now());
        let ending = Ending {
            slots: guess.slots,
            settlement: Settlement::Failure,
            ..Ending::without_slots(LoginOutcome::Denied, reason)
        };
        self.record(&guess.who, ending).await?;
        Ok(Outcome::Denied(Denial::INVALID_CREDENTIALS))
    }

    pub(super) async fn record(&self, who: &Who, ending: Ending) -> Result<LoginChange, Error> {
        record(&self.store, who, ending, self.now()).await
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// When the directory must have answered, so that the outcome can still be recorded and told.
    pub(super) fn directory_deadline(&self, deadline: Instant) -> Instant {
        let now = Instant::now();
        let left = deadline.saturating_duration_since(now).min(self.login.timeout);
        now + left.saturating_sub(self.login.record_time.min(left / 2))
    }

    fn random(&self) -> u64 {
        let mut bytes = [0; 8];
        // Without random numbers the delay is merely easier to recognise.
        let _ = self.random.fill(&mut bytes);
        u64::from_be_bytes(bytes)
    }
}

/// When to tell of an outage: on whole ticks since the call began, or the time that it took would tell whose login
/// it was.
fn next_tick(start: Instant, now: Instant) -> Instant {
    let ticks = now.duration_since(start).as_nanos() / OUTAGE_TICK.as_nanos() + 1;
    start + OUTAGE_TICK.saturating_mul(u32::try_from(ticks).unwrap_or(u32::MAX))
}

fn too_slow() -> Error {
    let message = "the call's deadline passed before the password was sent anywhere";
    Error::new(Reason::DeadlineExceeded, message)
}

fn no_access(tenant: &TenantId) -> Error {
    let message = "the caller may not act for this tenant, or it does not exist";
    Error::new(Reason::TenantAccessDenied, message).with("tenant", tenant.as_str())
}
