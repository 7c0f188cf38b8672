//! The steps of one login, in their order.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use ring::rand::{SecureRandom, SystemRandom};
use rollcall_core::audit::LoginOutcome;
use rollcall_core::error::{Error, ErrorKind, Reason};
use rollcall_core::id::TenantId;
use rollcall_core::identifier::{LoginPolicy, email_domain, normalize};
use rollcall_core::throttle::{Settlement, ThrottleSubject};
use rollcall_proto::resource_name;
use rollcall_runtime::clock::Clock;
use rollcall_store::{FinishLogin, LoginChange, Store};
use tokio::time::Instant;

use super::attempt::{Attempt, AttemptOrigin, Progress};
use super::disguise::Disguise;
use super::guess::{Guess, Subject};
use super::keyed_hash::{PrivateHasher, SharedHasher};
use super::known::Asked;
use super::known_dn::KnownDns;
use super::outcome::{Denial, Outcome, bind_outcome_unknown, unsent};
use super::prepared::PreparedSyncs;
use super::record::{Ending, Who, audit_event, early_event, record};
use super::refresh::Refreshes;
use super::replay::Replays;
use super::standing::{Standing, standing};
use super::tenant_view::{Home, TenantView, TenantViews};
use super::turn::Turns;
use crate::config;
use crate::directories::Directories;
use crate::worker::Worker;

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
    /// Passwords that were tried while the person was not there.
    pub(super) absent: Replays,
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

/// Nobody can say whether a password is right.
struct Obstructed {
    error: Error,
    /// As it would be for somebody who exists.
    settlement: Settlement,
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
            absent: Replays::new(parts.throttle.replay),
            disguise: Disguise::new(parts.login.max_waiting),
            refreshes: Refreshes::new(parts.worker),
        }
    }

    /// Carries one login through, unless it was already: here, or by another replica.
    ///
    /// # Errors
    /// Whatever speaks of the call and not of the password; `BIND_OUTCOME_UNKNOWN` for a repeat.
    pub async fn run_once(&self, attempt: &Attempt, progress: &Progress) -> Result<Outcome, Error> {
        let Some(request_id) = &attempt.request_id else {
            return self.run(attempt, progress).await;
        };
        let request = self.shared.request_id(attempt.caller.name(), request_id);
        let now = self.now();
        let expires = now + TimeDelta::from_std(self.login.join).unwrap_or(TimeDelta::MAX);
        if !self.store.claim_login_request(&request, expires, now).await? {
            self.record_early(&attempt.origin(), "REPEATED_REQUEST").await?;
            return Err(bind_outcome_unknown());
        }
        let done = self.run(attempt, progress).await;
        if may_be_repeated(&done)
            && let Err(error) = self.store.release_login_request(&request).await
        {
            tracing::warn!(error = %error, "a login request that came to nothing cannot be repeated for a while");
        }
        done
    }

    async fn run(&self, attempt: &Attempt, progress: &Progress) -> Result<Outcome, Error> {
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
        let (tenant, view) = match self.tenant_and_view(attempt).await {
            Ok(found) => found,
            Err(error) => {
                self.record_early(&attempt.origin(), error.reason.as_str())
                    .await?;
                return Err(error);
            }
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
        let hash = self.shared.unknown_login(&tenant, &normalize(&attempt.login));
        let Some(target) = target else {
            who.unknown_login = Some(format!("{hash}:{}", attempt.login.chars().count()));
            let home = view.home_of_nobody(&hash);
            let nobody = Subject {
                lock: view.lock(home),
                home: home.map(|home| &home.user_sync),
                counted: ThrottleSubject::UnknownLogin(hash.clone()),
            };
            if let Some(obstacle) = view.obstacle(&hash) {
                return self.unable(&who, nobody.counted, obstacle.clone().into()).await;
            }
            return match self.guess(attempt, who, nobody).await? {
                Ok(guess) => self.refuse(attempt, guess, home, "UNKNOWN_LOGIN").await,
                Err(answered) => Ok(answered),
            };
        };
        who.user = Some(target.user.id);
        who.user_sync = target.sync.as_ref().map(|sync| sync.user_sync.clone());
        who.directory = target.sync.as_ref().map(|sync| sync.directory.clone());
        let own = who.user_sync.as_ref().and_then(|sync| view.home(sync));
        let home = own.or_else(|| view.home_of_nobody(&hash));
        let subject = Subject {
            lock: view.lock(home),
            home: home.map(|home| &home.user_sync),
            counted: ThrottleSubject::User(target.user.id),
        };
        match standing(&target) {
            Standing::Local => {
                let counted = subject.counted;
                self.record_unasked(&who, &counted, LoginOutcome::Denied, "LOCAL_USER")
                    .await?;
                Ok(Outcome::Denied(Denial::LocalUser))
            }
            Standing::Unable(obstacle) => self.unable(&who, subject.counted, obstacle.into()).await,
            Standing::Refused(reason) => {
                if let Some(obstacle) = view.obstacle(&hash) {
                    return self.unable(&who, subject.counted, obstacle.clone().into()).await;
                }
                match self.guess(attempt, who, subject).await? {
                    Ok(guess) => self.refuse(attempt, guess, home, reason).await,
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
                self.known(asked, who, subject).await
            }
        }
    }

    async fn tenant_and_view(&self, attempt: &Attempt) -> Result<(TenantId, Arc<TenantView>), Error> {
        let tenant = self.tenant(attempt).await?;
        match self.views.get(&self.store, &tenant).await {
            Ok(view) => Ok((tenant, view)),
            Err(rollcall_store::StoreError::NotFound(_)) => Err(no_access(&tenant)),
            Err(error) => Err(error.into()),
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

    /// What keeps everybody who is at home there from logging in. Those whom no directory is asked about must not be the
    /// only ones who get an answer, or an outage would tell them apart.
    async fn reach(&self, home: &Home, deadline: Instant) -> Result<(), Obstructed> {
        let name = resource_name::directory(&home.directory.tenant, &home.directory.id);
        let unsent_so_far = |error| Obstructed {
            error,
            settlement: Settlement::NotSent,
        };
        let opened = self.directories.open_any(&home.directory).await;
        let opened = opened.map_err(unsent_so_far)?;
        if opened.answers() {
            return Ok(());
        }
        let reached = opened.ldap.reach(self.directory_deadline(deadline)).await;
        opened.note(reached.as_ref().err().map(|failure| &failure.error));
        reached.map_err(|failure| match failure.unsent {
            true => unsent_so_far(unsent(&failure.error, &name)),
            false => Obstructed {
                error: bind_outcome_unknown().caused_by(failure.error),
                settlement: Settlement::Unknown,
            },
        })
    }

    /// Refuses a guess that no directory has to see, as slowly as one that a directory saw.
    async fn refuse(
        &self,
        attempt: &Attempt,
        guess: Guess,
        home: Option<&Home>,
        reason: &'static str,
    ) -> Result<Outcome, Error> {
        if let Some(home) = home
            && let Err(Obstructed { error, settlement }) = self.reach(home, attempt.deadline).await
        {
            return self.unsent(guess, settlement, error).await;
        }
        self.wait(&guess).await;
        self.replays.remember(guess.fingerprint, Instant::now());
        let ending = Ending {
            slots: guess.slots,
            settlement: Settlement::Failure,
            ..Ending::without_slots(LoginOutcome::Denied, reason)
        };
        self.record(&guess.who, ending).await?;
        Ok(Outcome::Denied(Denial::INVALID_CREDENTIALS))
    }

    /// Waits until a guess has taken as long as one that a directory saw.
    pub(super) async fn wait(&self, guess: &Guess) {
        let home = guess.home.as_ref();
        self.disguise.wait(home, guess.begin, self.random()).await;
    }

    /// Nobody can say whether the password of a guess is right, which went nowhere.
    pub(super) async fn unsent(
        &self,
        guess: Guess,
        settlement: Settlement,
        error: Error,
    ) -> Result<Outcome, Error> {
        let ending = Ending {
            slots: guess.slots,
            settlement,
            ..Ending::without_slots(LoginOutcome::Error, error.reason.as_str())
        };
        self.record(&guess.who, ending).await?;
        Err(error)
    }

    /// Nobody can say whether the password is right, and nothing was tried.
    async fn unable(&self, who: &Who, counted: ThrottleSubject, error: Error) -> Result<Outcome, Error> {
        self.record_unasked(who, &counted, LoginOutcome::Error, error.reason.as_str())
            .await?;
        Err(error)
    }

    /// Records an attempt that went nowhere. Many of them fill no log.
    pub(super) async fn record_unasked(
        &self,
        who: &Who,
        counted: &ThrottleSubject,
        outcome: LoginOutcome,
        reason: &'static str,
    ) -> Result<(), Error> {
        let event = audit_event(who, outcome, reason, self.now());
        Ok(self.store.record_refusal(&who.tenant, counted, event).await?)
    }

    /// Records an attempt of which nobody knows whose it is.
    pub(super) async fn record_early(
        &self,
        origin: &AttemptOrigin,
        reason: &'static str,
    ) -> Result<(), Error> {
        let finish = FinishLogin {
            tenant: None,
            audit: early_event(origin, reason, self.now()),
            audit_if_changed: None,
            slots: Vec::new(),
            settlement: Settlement::NotSent,
            expect: None,
        };
        self.store.finish_login(finish).await?;
        Ok(())
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

    pub(super) fn random(&self) -> u64 {
        let mut bytes = [0; 8];
        // Without random numbers the delay is merely easier to recognise.
        let _ = self.random.fill(&mut bytes);
        u64::from_be_bytes(bytes)
    }
}

/// Nothing was sent: the caller is meant to try again, with the same request id if it likes.
pub(super) fn may_be_repeated(done: &Result<Outcome, Error>) -> bool {
    done.as_ref().is_err_and(|error| {
        matches!(
            error.kind(),
            ErrorKind::Unavailable | ErrorKind::ResourceExhausted | ErrorKind::DeadlineExceeded
        )
    })
}

/// When to tell of an outage: on whole ticks since the call began, or the time that it took would tell whose login
/// it was.
fn next_tick(start: Instant, now: Instant) -> Instant {
    let ticks = now.duration_since(start).as_nanos() / OUTAGE_TICK.as_nanos() + 1;
    start + OUTAGE_TICK.saturating_mul(u32::try_from(ticks).unwrap_or(u32::MAX))
}

fn no_access(tenant: &TenantId) -> Error {
    let message = "the caller may not act for this tenant, or it does not exist";
    Error::new(Reason::TenantAccessDenied, message).with("tenant", tenant.as_str())
}
