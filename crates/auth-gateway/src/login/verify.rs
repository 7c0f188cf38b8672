//! Tries a password at the directory of the user. If there is no user to ask about, it waits equally long instead.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use rollcall_core::audit::OwnReason;
use rollcall_core::dialect::Dialect;
use rollcall_core::directory::Directory;
use rollcall_core::error::Error;
use rollcall_core::id::TenantId;
use rollcall_core::role::RoleFinding;
use rollcall_core::soft_lock::Settlement;
use rollcall_core::user::Origin;
use rollcall_core::verdict::{InternalReason, Verdict};
use rollcall_proto::resource_name;
use rollcall_service::directories::OpenDirectory;
use rollcall_store::{LoginConfig, LoginSync};
use tokio::time::Instant;

use super::ask::{Answer, Finding, Question, ask};
use super::attempt::{Attempt, Progress};
use super::context::Context;
use super::memory::tenant_view::Home;
use super::outcome::{self, Denial, Judgement, Reading, bind_outcome_unknown, too_late, unsent};
use super::person::{BindTarget, Person, Trial};
use super::role::role;
use super::seen::{Seen, Source, Verified};

/// Tries the password. After the slots are got, everything takes equally long for everybody: if no directory is asked,
/// a wait takes the place of the bind.
pub(super) async fn verify(
    c: &Context,
    attempt: &Attempt,
    progress: &Progress,
    person: &Person,
    begin: Instant,
) -> Verified {
    let tried = match &person.trial {
        // On the heap, like the operations that it calls: otherwise a debug build overflows a thread's stack.
        Trial::Bind(bind_target) => Box::pin(bind(c, attempt, progress, person, begin, bind_target)).await,
        Trial::Wait(reason) => wait(c, attempt, person, begin, *reason).await,
    };
    tried.unwrap_or_else(|(settlement, error)| {
        let bind_sent = settlement == Settlement::Unknown;
        Verified::new(
            c,
            Reading::failed(settlement, error.reason, error),
            bind_sent,
            None,
        )
    })
}

type Obstructed = (Settlement, Error);

/// Nothing was sent so far.
fn unsent_so_far(error: impl Into<Error>) -> Obstructed {
    (Settlement::NotSent, error.into())
}

/// Waits until the attempt has taken as long as one whose password a directory checked.
async fn wait(
    c: &Context,
    attempt: &Attempt,
    person: &Person,
    begin: Instant,
    reason: OwnReason,
) -> Result<Verified, Obstructed> {
    if let Some(home) = &person.home {
        reach(c, home, attempt).await?;
    }
    c.equal_timing.wait(person.home_key(), begin, c.random()).await;
    c.wrong_passwords.remember(person.fingerprint, Instant::now());
    Ok(Verified::new(c, Reading::refused(reason), false, None))
}

/// What prevents all users of this directory from logging in. An attempt for which no directory is asked must fail for
/// it too: otherwise an outage would tell unknown logins apart.
async fn reach(c: &Context, home: &Home, attempt: &Attempt) -> Result<(), Obstructed> {
    let name = resource_name::directory(&home.directory.tenant, &home.directory.id);
    let opened = c.directories.open_any(&home.directory).await;
    let opened = opened.map_err(unsent_so_far)?;
    let in_time = c.directory_deadline(attempt.deadline);
    kind_of(&opened, &home.directory, in_time)
        .await
        .map_err(unsent_so_far)?;
    if opened.answers() {
        return Ok(());
    }
    let reached = opened.ldap.reach(in_time).await;
    if let Err(failure) = &reached
        && failure.unsent
        && attempt.is_too_hurried(in_time)
    {
        return Err(unsent_so_far(too_late(true)));
    }
    opened.note(reached.as_ref().err().map(|failure| &failure.error));
    reached.map_err(|failure| match failure.unsent {
        true => unsent_so_far(unsent(&failure.error, &name)),
        false => (
            Settlement::Unknown,
            bind_outcome_unknown().caused_by(failure.error),
        ),
    })
}

/// The kind of the directory's server. If no check has found it out yet, the server is asked.
async fn kind_of(opened: &OpenDirectory, directory: &Directory, deadline: Instant) -> Result<Dialect, Error> {
    let kind = opened.dialect(deadline).await;
    kind.map_err(|error| {
        opened.note(Some(&error));
        unsent(
            &error,
            &resource_name::directory(&directory.tenant, &directory.id),
        )
    })
}

/// Lets the user's directory decide: bind, read and role at the same time.
async fn bind(
    c: &Context,
    attempt: &Attempt,
    progress: &Progress,
    person: &Person,
    begin: Instant,
    bind_target: &BindTarget,
) -> Result<Verified, Obstructed> {
    let deadline = c.directory_deadline(attempt.deadline);
    let source = Source::open(c, &person.tenant, &bind_target.sync, deadline).await;
    let source = source.map_err(unsent_so_far)?;
    let recent = recent_dn(c, bind_target, &source.config);
    let (answer, role) = tokio::join!(
        Box::pin(asked(
            c,
            attempt,
            progress,
            bind_target,
            &source,
            recent.as_deref(),
            deadline
        )),
        Box::pin(early_role(&source, recent.as_deref(), deadline)),
    );
    match &answer.finding {
        // A refusal comes after the role, so the time includes it.
        Finding::Judged { verdict, .. } => {
            let accepted = matches!(verdict, Verdict::Authenticated { .. });
            if let Some(home) = person.home_key() {
                c.equal_timing.learn(home, accepted, begin.elapsed());
            }
        }
        Finding::Absent(_) => c.equal_timing.wait(person.home_key(), begin, c.random()).await,
        Finding::Failed(_) => {}
    }
    if matches!(answer.finding, Finding::Failed(_)) && !answer.bind_sent && attempt.is_too_hurried(deadline) {
        return Err(unsent_so_far(too_late(true)));
    }
    let name = resource_name::directory(&person.tenant, &source.config.directory.id);
    let mut reading = outcome::read(&answer, &name);
    if matches!(
        reading.answer,
        Ok(Judgement::Refused(Denial::INVALID_CREDENTIALS))
    ) {
        match why(&answer.finding) {
            Why::Password => c.wrong_passwords.remember(person.fingerprint, Instant::now()),
            // The password is wrong where it was tried, whoever has that DN now, and the directory may have counted it.
            // A right one is tried each time, since a person who is gone may come back.
            Why::Person if answer.bind_refused => {
                c.wrong_passwords.remember(person.fingerprint, Instant::now());
            }
            Why::Person | Why::Account => reading.settlement = c.count_once(&person.fingerprint),
        }
    }
    let seen = match answer.finding {
        Finding::Judged { entry, .. } => Some(Seen {
            source,
            entry: Arc::from(entry),
            role: role.zip(recent),
        }),
        Finding::Absent(_) | Finding::Failed(_) => None,
    };
    Ok(Verified::new(c, reading, answer.bind_sent, seen))
}

/// What a refusal is about, if that is not the password alone.
enum Why {
    /// The password, as far as can be known.
    Password,
    /// The account's state, which the directory looked at instead of the password.
    Account,
    /// There is no such person.
    Person,
}

fn why(finding: &Finding) -> Why {
    use InternalReason::{AccountDisabled, AccountExpired, AccountLocked};
    match finding {
        Finding::Judged {
            verdict:
                Verdict::Denied {
                    internal: AccountLocked | AccountDisabled | AccountExpired,
                    ..
                },
            ..
        } => Why::Account,
        Finding::Judged { .. } | Finding::Failed(_) => Why::Password,
        Finding::Absent(_) => Why::Person,
    }
}

async fn asked(
    c: &Context,
    attempt: &Attempt,
    progress: &Progress,
    bind_target: &BindTarget,
    source: &Source,
    recent_dn: Option<&str>,
    deadline: Instant,
) -> Answer {
    let prepared = c.prepared.get(&source.config, source.dialect);
    let question = source.question(
        &bind_target.origin,
        &prepared.attributes,
        recent_dn,
        c.now(),
        deadline,
    );
    progress.bind_begins();
    let answer = ask(&question, &attempt.password).await;
    if !answer.bind_sent {
        progress.nothing_was_sent();
    }
    match &answer.finding {
        Finding::Judged { entry, .. } => {
            c.known_dns
                .note(bind_target.target.user.id, Some(&entry.dn), c.now())
        }
        Finding::Absent(_) => c.known_dns.note(bind_target.target.user.id, None, c.now()),
        Finding::Failed(_) => {}
    }
    match &answer.finding {
        // The failure is due to the caller's short deadline.
        Finding::Failed(_) if attempt.is_too_hurried(deadline) => {}
        Finding::Failed(error) => source.opened.note(Some(error)),
        Finding::Judged { .. } | Finding::Absent(_) => source.opened.note(None),
    }
    answer
}

/// The DN to bind to at once, and to verify at the same time.
fn recent_dn(c: &Context, bind_target: &BindTarget, config: &LoginConfig) -> Option<String> {
    let settings = &config.in_force;
    let trust = TimeDelta::from_std(c.login.trust_dn).unwrap_or(TimeDelta::MAX);
    let pulled = bind_target.sync.last_complete_pull_time;
    let pulled = pulled.filter(|_| settings.runs_confirm_dns());
    let (user, stored) = (bind_target.target.user.id, &bind_target.origin.dn);
    c.known_dns.recent(user, stored, pulled, trust, c.now())
}

/// The role of the entry at its last known DN, asked for while the bind is under way.
async fn early_role(source: &Source, dn: Option<&str>, deadline: Instant) -> Option<RoleFinding> {
    if source.config.in_force.role_rules.is_empty() {
        return None;
    }
    Some(source.role(dn?, deadline).await)
}

impl Verified {
    /// Whether this also answers other attempts with the same password. A failure may be due to this attempt's own
    /// short deadline.
    pub(super) fn is_for_all(&self, attempt: &Attempt) -> bool {
        self.reading.answer.is_ok() || !attempt.deadline_is_caller_s
    }

    fn new(c: &Context, reading: Reading, bind_sent: bool, seen: Option<Seen>) -> Self {
        Self {
            reading,
            bind_sent,
            time: c.now(),
            seen,
        }
    }
}

impl Source {
    /// Opens the directory of a sync. Its kind must be known before an entry is judged.
    pub(super) async fn open(
        c: &Context,
        tenant: &TenantId,
        sync: &LoginSync,
        deadline: Instant,
    ) -> Result<Self, Error> {
        let config = c.login_store.config(tenant, sync).await?;
        let opened = c.directories.open(&config.directory).await?;
        let dialect = kind_of(&opened, &config.directory, deadline).await?;
        Ok(Self {
            config,
            opened,
            dialect,
        })
    }

    pub(super) fn question<'q>(
        &'q self,
        origin: &'q Origin,
        attributes: &'q [String],
        recent_dn: Option<&'q str>,
        now: DateTime<Utc>,
        deadline: Instant,
    ) -> Question<'q> {
        let in_force = &self.config.in_force;
        let edited = &self.config.user_sync.settings.searches;
        Question {
            directory: &self.opened.ldap,
            dialect: self.dialect,
            searches: &in_force.searches,
            edited_searches: (*edited != in_force.searches).then_some(edited.as_slice()),
            id: &origin.external_id,
            recent_dn,
            attributes,
            now,
            deadline,
        }
    }

    /// What is known about the role of the entry at this DN.
    pub(super) async fn role(&self, dn: &str, deadline: Instant) -> RoleFinding {
        let settings = &self.config.in_force;
        role(&self.opened, self.dialect, settings, dn, deadline).await
    }
}
