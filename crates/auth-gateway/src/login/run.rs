//! The steps of one login, in their order.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use ring::rand::{SecureRandom, SystemRandom};
use rollcall_core::audit::LoginOutcome;
use rollcall_core::error::{Error, Reason};
use rollcall_core::id::TenantId;
use rollcall_core::identifier::{LoginPolicy, email_domain, normalize};
use rollcall_core::throttle::{Settlement, ThrottleSubject};
use rollcall_core::user::{Origin, User, UserState};
use rollcall_ldap::ReadRequest;
use rollcall_proto::resource_name;
use rollcall_runtime::clock::Clock;
use rollcall_store::{
    HeldSlot, LoginChange, LoginConfig, LoginExpectation, LoginSync, LoginTarget, Reservation, Reserved,
    Store,
};
use tokio::time::Instant;

use super::ask::{Answer, Finding, Question, ask};
use super::attempt::{Attempt, Progress};
use super::change::change;
use super::disguise::Disguise;
use super::guess::{AuditedRefusals, client_subject, subject_key};
use super::keyed_hash::{Fingerprint, PrivateHasher, SharedHasher};
use super::known_dn::KnownDns;
use super::outcome::{self, Authenticated, Denial, Judgement, Outcome, unsent};
use super::prepared::PreparedSyncs;
use super::record::{Ending, Who, audit_event, record};
use super::refresh::Refreshes;
use super::replay::Replays;
use super::role::role;
use super::standing::{Standing, standing, tenant_disabled};
use super::tenant_view::{TenantView, TenantViews};
use crate::config::{self, ThrottleMode};
use crate::directories::{Directories, OpenDirectory};
use crate::worker::Worker;

/// Carries out single logins.
pub struct Runner {
    store: Store,
    directories: Arc<Directories>,
    clock: Clock,
    random: SystemRandom,
    login: config::Login,
    throttle: config::Throttle,
    shared: SharedHasher,
    private: PrivateHasher,
    views: TenantViews,
    prepared: PreparedSyncs,
    known_dns: KnownDns,
    replays: Replays,
    disguise: Disguise,
    refusals: AuditedRefusals,
    refreshes: Refreshes,
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
struct Guess {
    who: Who,
    fingerprint: Fingerprint,
    slots: Vec<HeldSlot>,
}

/// A user whose directory can be asked.
struct Known<'a> {
    target: &'a LoginTarget,
    origin: &'a Origin,
    config: LoginConfig,
    opened: Arc<OpenDirectory>,
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
            views: TenantViews::default(),
            prepared: PreparedSyncs::new(parts.policy),
            known_dns: KnownDns::default(),
            replays: Replays::new(parts.throttle.replay),
            disguise: Disguise::new(parts.login.max_waiting),
            refusals: AuditedRefusals::default(),
            refreshes: Refreshes::new(parts.worker),
        }
    }

    /// Carries one login through.
    ///
    /// # Errors
    /// Whatever speaks of the call and not of the password.
    pub async fn run(&self, attempt: &Attempt, progress: &Progress) -> Result<Outcome, Error> {
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
                    Ok(guess) => self.refuse(guess, reason).await,
                    Err(answered) => Ok(answered),
                }
            }
            Standing::Ask { origin, sync } => {
                self.known(attempt, progress, who, &view, &target, origin, sync)
                    .await
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
        if let Some(error) = self.outage(&guess.who.tenant, view, attempt.deadline).await {
            let ending = Ending {
                slots: guess.slots,
                ..Ending::without_slots(LoginOutcome::Error, error.reason.as_str())
            };
            self.record(&guess.who, ending).await?;
            return Err(error);
        }
        self.refuse(guess, "UNKNOWN_LOGIN").await
    }

    /// While no directory of the tenant can be reached, an unknown login must not be the only one that gets
    /// an answer.
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
        let mut last = None;
        for directory in opened {
            let read = directory
                .ldap
                .read_entry(&request, self.directory_deadline(deadline))
                .await;
            directory.note(read.as_ref().err());
            match read {
                Ok(_) => return None,
                Err(error) => last = Some(error),
            }
        }
        // Which directory it is would tell that there is such a login.
        let mut error = unsent(&last?, "");
        error.metadata.clear();
        Some(error)
    }

    /// A user whose directory decides.
    #[allow(
        clippy::too_many_arguments,
        reason = "one login's facts, each from another step"
    )]
    async fn known(
        &self,
        attempt: &Attempt,
        progress: &Progress,
        who: Who,
        view: &TenantView,
        target: &LoginTarget,
        origin: &Origin,
        sync: &LoginSync,
    ) -> Result<Outcome, Error> {
        let config = self.store.login_config(&who.tenant, sync).await?;
        let opened = match self.directories.open(&config.directory).await {
            Ok(opened) => opened,
            Err(error) => {
                let ending = Ending::without_slots(LoginOutcome::Error, error.reason.as_str());
                self.record(&who, ending).await?;
                return Err(error);
            }
        };
        let subject = ThrottleSubject::User(target.user.id);
        let guess = match self.guess(attempt, who, view, subject).await? {
            Ok(guess) => guess,
            Err(answered) => return Ok(answered),
        };
        let known = Known {
            target,
            origin,
            config,
            opened,
        };
        let answer = self.ask(attempt, progress, &known).await;
        self.conclude(attempt, guess, &known, answer).await
    }

    async fn ask(&self, attempt: &Attempt, progress: &Progress, known: &Known<'_>) -> Answer {
        let user = &known.target.user;
        let sync = &known.config.user_sync;
        let prepared = self.prepared.get(sync);
        let now = self.clock.now();
        let trust = TimeDelta::from_std(self.login.trust_dn).unwrap_or(TimeDelta::MAX);
        let pulled = sync.last_complete_pull_time;
        let recent = self
            .known_dns
            .recent(user.id, &known.origin.dn, pulled, trust, now);
        let question = Question {
            directory: &known.opened.ldap,
            dialect: known
                .config
                .directory
                .observed
                .dialect
                .unwrap_or(rollcall_core::dialect::Dialect::Generic),
            searches: &sync.settings.searches,
            id: &known.origin.external_id,
            recent_dn: recent.as_deref(),
            attributes: &prepared.attributes,
            now,
            deadline: self.directory_deadline(attempt.deadline),
        };
        progress.bind_begins();
        let answer = ask(&question, &attempt.password).await;
        if !answer.bind_sent {
            progress.nothing_was_sent();
        }
        match &answer.finding {
            Finding::Judged { entry, .. } => self.known_dns.note(user.id, &entry.dn, self.clock.now()),
            Finding::Absent(_) => self.known_dns.forget(user.id),
            Finding::Failed(_) => {}
        }
        known.opened.note(match &answer.finding {
            Finding::Failed(error) => Some(error),
            _ => None,
        });
        answer
    }

    /// Reads the answer, sees to what changed, and records the end.
    async fn conclude(
        &self,
        attempt: &Attempt,
        guess: Guess,
        known: &Known<'_>,
        answer: Answer,
    ) -> Result<Outcome, Error> {
        let name = resource_name::directory(&guess.who.tenant, &known.config.directory.id);
        let reading = outcome::read(&answer, &name);
        if let Some(latency) = answer.latency {
            let accepted = reading.settlement == Settlement::Success;
            self.disguise.learn(&guess.who.tenant, accepted, latency);
        }
        if reading.settlement == Settlement::Failure {
            self.replays.remember(guess.fingerprint, Instant::now());
        }
        let mut ending = Ending {
            outcome: reading.audit.0,
            reason: reading.audit.1,
            slots: guess.slots,
            settlement: reading.settlement,
            expect: None,
            bind_sent: answer.bind_sent,
        };
        let notice = match reading.answer {
            Ok(Judgement::Accepted(notice)) => notice,
            refused_or_failed => {
                self.record(&guess.who, ending).await?;
                return refused_or_failed.map(|judgement| match judgement {
                    Judgement::Refused(denial) => Outcome::Denied(denial),
                    Judgement::Accepted(_) => Outcome::Denied(Denial::INVALID_CREDENTIALS),
                });
            }
        };
        let time = self.clock.now();
        let user = match self.renewed(attempt, known, &answer).await {
            Ok(user) => user,
            Err(error) => {
                (ending.outcome, ending.reason) = (LoginOutcome::Error, error.reason.as_str());
                self.record(&guess.who, ending).await?;
                return Err(error);
            }
        };
        if user.block.is_some() || user.state != UserState::Active || user.origin.is_none() {
            (ending.outcome, ending.reason) = (LoginOutcome::Denied, "CHANGED_MEANWHILE");
            self.record(&guess.who, ending).await?;
            return Ok(Outcome::Denied(Denial::INVALID_CREDENTIALS));
        }
        ending.expect = Some(LoginExpectation {
            user_revision: user.revision,
            ..LoginExpectation::of(known.target)
        });
        if self.record(&guess.who, ending).await?.any() {
            return Ok(Outcome::Denied(Denial::INVALID_CREDENTIALS));
        }
        Ok(Outcome::Authenticated(Box::new(Authenticated {
            user,
            time,
            notice,
        })))
    }

    /// The user as of now: renewed first, if the entry shows that it has to be.
    async fn renewed(&self, attempt: &Attempt, known: &Known<'_>, answer: &Answer) -> Result<User, Error> {
        let user = &known.target.user;
        let Finding::Judged { entry, .. } = &answer.finding else {
            return Ok(user.clone());
        };
        let settings = &known.config.user_sync.settings;
        let dialect = known
            .config
            .directory
            .observed
            .dialect
            .unwrap_or(rollcall_core::dialect::Dialect::Generic);
        let deadline = self.directory_deadline(attempt.deadline);
        let role = role(&known.opened.ldap, dialect, settings, &entry.dn, deadline).await;
        let prepared = self.prepared.get(&known.config.user_sync);
        let change = change(settings, &prepared.mapping, user, entry, role);
        match self.refreshes.renew(change, user, entry, deadline).await? {
            true => Ok(self.store.user(&user.tenant, user.id).await?),
            false => Ok(user.clone()),
        }
    }

    /// Lets a guess go on, with its slots reserved; or answers it here: a repeated wrong password, or too many.
    async fn guess(
        &self,
        attempt: &Attempt,
        who: Who,
        view: &TenantView,
        subject: ThrottleSubject,
    ) -> Result<Result<Guess, Outcome>, Error> {
        let key = subject_key(&who.tenant, &subject);
        let fingerprint = self.private.password(&key, &attempt.password);
        if self.replays.contains(&fingerprint, Instant::now()) {
            self.disguise.wait(&who.tenant, self.random()).await;
            let ending = Ending::without_slots(LoginOutcome::Denied, "REPEATED_PASSWORD");
            self.record(&who, ending).await?;
            return Ok(Err(Outcome::Denied(Denial::INVALID_CREDENTIALS)));
        }
        let mut wanted = vec![Reservation {
            subject,
            policy: self.throttle.login_policy(view.thresholds.iter().copied()),
        }];
        wanted.extend(attempt.client.map(|client| Reservation {
            subject: client_subject(client),
            policy: self.throttle.client_policy(),
        }));
        let now = self.clock.now();
        let slots = match self.store.reserve(&who.tenant, &wanted, now).await? {
            Reserved::Taken(slots) => slots,
            Reserved::Wait(wait) if self.throttle.mode == ThrottleMode::Enforce => {
                if self.refusals.is_due(&key, Instant::now()) {
                    let event = audit_event(&who, LoginOutcome::Denied, "TOO_MANY_ATTEMPTS", now);
                    self.store.record_audit(&[event]).await?;
                }
                let retry_after = wait.to_std().unwrap_or_default();
                return Ok(Err(Outcome::Denied(Denial::TooManyAttempts { retry_after })));
            }
            Reserved::Wait(_) => {
                tracing::warn!(tenant = %who.tenant, "the soft lock would refuse this login");
                Vec::new()
            }
        };
        Ok(Ok(Guess {
            who,
            fingerprint,
            slots,
        }))
    }

    /// Refuses a guess that no directory has to see, as slowly as one that a directory saw.
    async fn refuse(&self, guess: Guess, reason: &'static str) -> Result<Outcome, Error> {
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

    async fn record(&self, who: &Who, ending: Ending) -> Result<LoginChange, Error> {
        record(&self.store, who, ending, self.now()).await
    }

    fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// When the directory must have answered, so that the outcome can still be recorded and told.
    fn directory_deadline(&self, deadline: Instant) -> Instant {
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

fn no_access(tenant: &TenantId) -> Error {
    let message = "the caller may not act for this tenant, or it does not exist";
    Error::new(Reason::TenantAccessDenied, message).with("tenant", tenant.as_str())
}
