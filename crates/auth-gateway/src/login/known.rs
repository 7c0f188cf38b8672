//! The part of a login that involves the user's directory: ask it, see to what changed, record the end.

use std::sync::Arc;

use chrono::TimeDelta;
use rollcall_core::audit::LoginOutcome;
use rollcall_core::dialect::Dialect;
use rollcall_core::error::{Error, ErrorKind};
use rollcall_core::judgement::EntryReading;
use rollcall_core::role::RoleFinding;
use rollcall_core::throttle::Settlement;
use rollcall_core::user::{Origin, User, UserState};
use rollcall_core::user_sync::{ExistingUsers, MissingUsers, UserSyncSettings};
use rollcall_core::verdict::{InternalReason, Verdict};
use rollcall_proto::resource_name;
use rollcall_store::{LoginConfig, LoginExpectation, LoginSync, LoginTarget};
use tokio::time::Instant;

use super::ask::{Answer, Finding, Question, ask};
use super::attempt::{Attempt, Progress};
use super::change::change;
use super::guess::{Guess, Subject};
use super::outcome::{self, Authenticated, Denial, Judgement, Outcome};
use super::record::{Ending, Who};
use super::role::role;
use super::run::Runner;
use crate::directories::OpenDirectory;

/// An attempt whose user was found, and whose directory shall be asked.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) attempt: &'a Attempt,
    pub(super) progress: &'a Progress,
    pub(super) target: &'a LoginTarget,
    pub(super) origin: &'a Origin,
    pub(super) sync: &'a LoginSync,
}

/// The directory to ask, and the sync by whose rules.
struct Source {
    config: LoginConfig,
    opened: Arc<OpenDirectory>,
    /// When to give up.
    deadline: Instant,
}

/// A role, and the DN at which it was asked for.
type RoleAt = (RoleFinding, String);

impl Runner {
    /// Has the user's directory decide.
    pub(super) async fn known(
        &self,
        asked: Asked<'_>,
        who: Who,
        subject: Subject<'_>,
    ) -> Result<Outcome, Error> {
        let guess = match self.guess(asked.attempt, who, subject).await? {
            Ok(guess) => guess,
            Err(answered) => return Ok(answered),
        };
        let source = match self.source(asked, &guess.who).await {
            Ok(source) => source,
            Err(error) => return self.unsent(guess, Settlement::NotSent, error).await,
        };
        let recent = self.recent_dn(asked, &source.config.user_sync.settings);
        let (answer, role) = tokio::join!(
            self.ask(asked, &source, recent.as_deref()),
            early_role(&source, recent.as_deref()),
        );
        match &answer.finding {
            // A refusal comes no earlier than the role, so that is what refusals look like.
            Finding::Judged { verdict, .. } => {
                let accepted = matches!(verdict, Verdict::Authenticated { .. });
                self.learn(&guess, accepted);
            }
            Finding::Absent(_) => self.wait(&guess).await,
            Finding::Failed(_) => {}
        }
        self.conclude(asked, guess, &source, answer, role.zip(recent))
            .await
    }

    async fn source(&self, asked: Asked<'_>, who: &Who) -> Result<Source, Error> {
        let config = self.store.login_config(&who.tenant, asked.sync).await?;
        let opened = self.directories.open(&config.directory).await?;
        let deadline = self.directory_deadline(asked.attempt.deadline);
        Ok(Source {
            config,
            opened,
            deadline,
        })
    }

    fn learn(&self, guess: &Guess, accepted: bool) {
        if let Some(home) = &guess.home {
            self.disguise.learn(home, accepted, guess.begin.elapsed());
        }
    }

    /// Where to bind at once, and verify meanwhile.
    fn recent_dn(&self, asked: Asked<'_>, settings: &UserSyncSettings) -> Option<String> {
        let trust = TimeDelta::from_std(self.login.trust_dn).unwrap_or(TimeDelta::MAX);
        // Runs that leave users alone who moved or went confirm nobody's DN.
        let confirms = settings.existing_users != ExistingUsers::Ignore
            && settings.missing_users != MissingUsers::Ignore;
        let pulled = asked.sync.last_complete_pull_time.filter(|_| confirms);
        let stored = &asked.origin.dn;
        self.known_dns
            .recent(asked.target.user.id, stored, pulled, trust, self.now())
    }

    async fn ask(&self, asked: Asked<'_>, source: &Source, recent_dn: Option<&str>) -> Answer {
        let user = asked.target.user.id;
        let prepared = self.prepared.get(&source.config.user_sync);
        let question = Question {
            directory: &source.opened.ldap,
            dialect: source.dialect(),
            searches: &source.config.user_sync.settings.searches,
            id: &asked.origin.external_id,
            recent_dn,
            attributes: &prepared.attributes,
            now: self.now(),
            deadline: source.deadline,
        };
        let had_time = Instant::now() < source.deadline;
        asked.progress.bind_begins();
        let answer = ask(&question, &asked.attempt.password).await;
        if !answer.bind_sent {
            asked.progress.nothing_was_sent();
        }
        match &answer.finding {
            Finding::Judged { entry, .. } => self.known_dns.note(user, Some(&entry.dn), self.now()),
            Finding::Absent(_) => self.known_dns.note(user, None, self.now()),
            Finding::Failed(_) => {}
        }
        if had_time {
            source.opened.note(match &answer.finding {
                Finding::Failed(error) => Some(error),
                Finding::Judged { .. } | Finding::Absent(_) => None,
            });
        }
        answer
    }

    /// Reads the answer, sees to what changed, and records the end.
    async fn conclude(
        &self,
        asked: Asked<'_>,
        guess: Guess,
        source: &Source,
        answer: Answer,
        role: Option<RoleAt>,
    ) -> Result<Outcome, Error> {
        let name = resource_name::directory(&guess.who.tenant, &source.config.directory.id);
        let mut reading = outcome::read(&answer, &name);
        if matches!(answer.finding, Finding::Absent(_)) {
            // Asked every time, since the person may be back; but the same password counts once, as anybody's does.
            let is_repeat = self.absent.contains(&guess.fingerprint, Instant::now());
            if is_repeat && !answer.bind_sent {
                reading.settlement = Settlement::NotSent;
            }
            self.absent.remember(guess.fingerprint, Instant::now());
        }
        // Only a password that was compared and found wrong: a locked account's may be right tomorrow.
        if reading.audit.1 == InternalReason::InvalidCredentials.as_str() {
            self.replays.remember(guess.fingerprint, Instant::now());
        }
        let mut ending = Ending {
            outcome: reading.audit.0,
            reason: reading.audit.1,
            slots: guess.slots.clone(),
            settlement: reading.settlement,
            expect: None,
            bind_sent: answer.bind_sent,
        };
        let notice = match reading.answer {
            Ok(Judgement::Accepted(notice)) => notice,
            Ok(Judgement::Refused(denial)) => {
                self.record(&guess.who, ending).await?;
                return Ok(Outcome::Denied(denial));
            }
            Err(error) => {
                self.record(&guess.who, ending).await?;
                return Err(error);
            }
        };
        let time = self.now();
        let user = match self.renewed(asked, source, &answer, role).await {
            Ok(user) => user,
            Err(error) => {
                let error = no_second_bind(error);
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
            ..LoginExpectation::of(asked.target)
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
    async fn renewed(
        &self,
        asked: Asked<'_>,
        source: &Source,
        answer: &Answer,
        early: Option<RoleAt>,
    ) -> Result<User, Error> {
        let user = &asked.target.user;
        let Finding::Judged { entry, .. } = &answer.finding else {
            return Ok(user.clone());
        };
        let settings = &source.config.user_sync.settings;
        let role = match early {
            Some((role, dn)) if dn == entry.dn => role,
            _ => source.role(&entry.dn).await,
        };
        let prepared = self.prepared.get(&source.config.user_sync);
        let reading = EntryReading {
            external_id: asked.origin.external_id.clone(),
            dn: entry.dn.clone(),
            dn_unreadable: entry.tainted,
            status: source.dialect().account_state(entry, self.now()).status,
            offers: prepared.mapping.read(entry),
        };
        let change = change(settings, &reading, user, &role);
        match self.refreshes.renew(change, user, entry, source.deadline).await? {
            true => Ok(self.store.user(&user.tenant, user.id).await?),
            false => Ok(user.clone()),
        }
    }
}

impl Source {
    fn dialect(&self) -> Dialect {
        self.config.directory.observed.dialect.unwrap_or(Dialect::Generic)
    }

    async fn role(&self, dn: &str) -> RoleFinding {
        let settings = &self.config.user_sync.settings;
        role(&self.opened, self.dialect(), settings, dn, self.deadline).await
    }
}

/// An error after the bind must not invite to send it again.
fn no_second_bind(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Unavailable | ErrorKind::DeadlineExceeded | ErrorKind::ResourceExhausted => {
            outcome::not_recorded().caused_by(error)
        }
        _ => error,
    }
}

/// The role of the entry where it was last seen, asked for while the bind is under way.
async fn early_role(source: &Source, dn: Option<&str>) -> Option<RoleFinding> {
    if source.config.user_sync.settings.role_rules.is_empty() {
        return None;
    }
    Some(source.role(dn?).await)
}
