//! ExplainUser: one person, step by step, live from the directory.
//!
//! No rule is here. Each step asks the function that runs, checks, refreshes and logins ask, and puts its answer into
//! words: [`judge`] the judgement of the entry, [`next_run`] the planner, [`login`] the tables of a login. [`find`]
//! finds the entries, and [`clauses`] has the server itself answer the parts of a filter.

mod clauses;
mod explainer;
mod find;
mod judge;
mod login;
mod next_run;
mod step;

use rollcall_core::audit::AuditedFieldChange;
use rollcall_core::dialect::Dialect;
use rollcall_core::entry::Entry;
use rollcall_core::error::Error;
use rollcall_core::id::{TenantId, UserSyncId};
use rollcall_core::user::User;
use rollcall_core::user_sync::UserSync;
use rollcall_proto::convert::check::UserSyncTarget;
use rollcall_proto::convert::explain::{ExplainUser, PersonAsked};
use rollcall_proto::{resource_name, timestamp, v1};
use rollcall_runtime::server::Deadline;
use rollcall_service::message_size::as_fit;
use rollcall_service::record::Author;
use rollcall_service::resource::about;
use rollcall_service::{failure, reading};
use rollcall_store::PageRequest;
use tokio::time::Instant;

use self::explainer::{Explainer, Subject};
use self::step::{Kind, fit, step};
use crate::id_kind::id_kind;
use crate::run::Source;
use crate::worker::Worker;
use rollcall_core::check::StageResult;

/// Most user syncs that explain if the request names none.
const MAX_SYNCS: u32 = 10;
/// Explanations of one answer.
const MAX_EXPLANATIONS: usize = 20;

impl Worker {
    /// ExplainUser.
    pub(crate) async fn explain_user(
        &self,
        author: &Author,
        request: ExplainUser,
        deadline: Option<Deadline>,
    ) -> Result<v1::ExplainUserResponse, Error> {
        let tenant = &request.tenant;
        let subjects = self.explaining(tenant, request.target).await?;
        let user = match &request.person {
            PersonAsked::User(id) => {
                let found = self.store.user(tenant, *id).await;
                Some(found.map_err(about(&resource_name::user(tenant, *id)))?)
            }
            PersonAsked::Identifier(text) => self.store.lookup_user(tenant, text).await?,
            PersonAsked::Dn(_) | PersonAsked::ExternalId(_) => None,
        };
        self.admit_check(tenant)?;
        self.record_explanation(author, tenant, &request.person, user.as_ref())
            .await?;
        let span = self.span(deadline);
        let mut answer = v1::ExplainUserResponse {
            read_time: Some(timestamp(span.time)),
            ..v1::ExplainUserResponse::default()
        };
        for subject in &subjects {
            let explained = Explainer {
                worker: self,
                subject,
                person: &request.person,
                user: user.as_ref(),
                span,
                end: Instant::now() + span.left(),
            };
            let (explanations, more) = explained.explain().await?;
            answer.explanations.extend(explanations);
            answer.more |= more;
        }
        let all = answer.explanations.len();
        answer.explanations.truncate(MAX_EXPLANATIONS);
        answer.explanations.iter_mut().for_each(fit);
        answer.explanations = as_fit(answer.explanations);
        answer.more |= answer.explanations.len() < all;
        Ok(answer)
    }

    /// The user syncs that explain.
    async fn explaining(
        &self,
        tenant: &TenantId,
        target: Option<UserSyncTarget>,
    ) -> Result<Vec<Subject>, Error> {
        let of = |sync: UserSync| Subject {
            tenant: tenant.clone(),
            settings: sync.settings.clone(),
            stored: Some(sync),
        };
        Ok(match target {
            Some(UserSyncTarget::Stored(id)) => vec![of(self.stored_sync(tenant, &id).await?)],
            Some(UserSyncTarget::Draft { stored, settings }) => {
                let stored = match &stored {
                    Some(id) => Some(self.stored_sync(tenant, id).await?),
                    None => None,
                };
                vec![Subject {
                    tenant: tenant.clone(),
                    stored,
                    settings: *settings,
                }]
            }
            None => {
                let page = PageRequest::first(MAX_SYNCS);
                let syncs = self.store.list_user_syncs(tenant, &page).await?;
                syncs.items.into_iter().map(of).collect()
            }
        })
    }

    /// Records who asked about whom, but not the identifier: it may be anything, even a password.
    async fn record_explanation(
        &self,
        author: &Author,
        tenant: &TenantId,
        person: &PersonAsked,
        user: Option<&User>,
    ) -> Result<(), Error> {
        let asked = match person {
            PersonAsked::Identifier(_) | PersonAsked::User(_) => None,
            PersonAsked::Dn(dn) => Some(("dn", dn.as_str())),
            PersonAsked::ExternalId(id) => Some(("external_id", id.as_str())),
        };
        let asked = asked.map(|(field, value)| AuditedFieldChange::asked(field, value));
        let resource = match user {
            Some(user) => resource_name::user(tenant, user.id),
            None => resource_name::tenant(tenant),
        };
        let event = author.event(tenant, &resource, asked.into_iter().collect());
        Ok(self.store.record_audit(&[event]).await?)
    }
}

impl Explainer<'_> {
    /// The explanations, and whether some people were left out.
    async fn explain(&self) -> Result<(Vec<v1::Explanation>, bool), Error> {
        let subject = self.subject;
        let directory = self
            .worker
            .stored_directory(&subject.tenant, &subject.settings.directory)
            .await?;
        let name = resource_name::directory(&subject.tenant, &directory.id);
        let silent = |message: &str| {
            step(
                Kind::Entry,
                StageResult::Skipped,
                "",
                message,
                "CheckConnection tells more.",
            )
        };
        let source = match self.source(directory).await {
            Ok(source) => source,
            Err(error) => return Ok((vec![self.unread(silent(&error.message)).await?], false)),
        };
        let found = match find::find(&source, self).await {
            Ok(found) => found,
            Err(error) => {
                let error = failure::for_admin(&error, &name);
                return Ok((vec![self.unread(silent(&error.message)).await?], false));
            }
        };
        let mut explanations = Vec::new();
        for entry in &found.entries {
            explanations.push(self.explain_entry(&source, entry).await?);
        }
        if let Some(user) = self.user_without_entry(&source, &found.entries) {
            explanations.push(self.explain_absent(&source, Some(user), &found).await?);
        } else if explanations.is_empty() && (self.user.is_none() || self.is_local()) {
            explanations.push(self.explain_absent(&source, None, &found).await?);
        }
        Ok((explanations, found.more))
    }

    fn is_local(&self) -> bool {
        self.user.is_some_and(|user| user.origin.is_none())
    }

    /// The user who was asked about, if this user sync owns the user and none of the entries is the user's.
    fn user_without_entry(&self, source: &Source, entries: &[Entry]) -> Option<&User> {
        let user = self.user.filter(|user| self.subject.owns(user))?;
        let id = &user.origin.as_ref()?.external_id;
        let is_its = |entry: &Entry| source.reader.external_id(entry).as_ref() == Ok(id);
        (!entries.iter().any(is_its)).then_some(user)
    }

    /// Opens the directory, whether it is switched on or not: what that means is said where it matters.
    async fn source(&self, directory: rollcall_core::directory::Directory) -> Result<Source, Error> {
        let (worker, subject) = (self.worker, self.subject);
        let name = resource_name::directory(&directory.tenant, &directory.id);
        let opened = worker.directories.open(&directory).await?;
        let ldap = opened.ldap.clone();
        let told = |error| failure::for_admin(&error, &name);
        let root = ldap.root_dse(self.end).await.map_err(told)?;
        let dialect: Dialect = root.dialect;
        let exclusions = worker.store.exclusions(&subject.tenant, &directory.id).await?;
        let policy = &worker.login_policy;
        let reader = reading::reader(dialect, &directory, subject.id(), &subject.settings, policy)
            .with_exclusions(exclusions);
        let searches = &subject.settings.searches;
        let kind = id_kind(&worker.store, &ldap, &directory, dialect, subject.id(), searches).await?;
        let reader = match kind {
            Some(kind) => reader.with_id_kind(kind),
            None => reader,
        };
        let max_entries = worker.settings.runs.max_entries;
        Ok(Source::of_check(
            ldap,
            reader,
            &root.data_naming_contexts(),
            directory,
            max_entries,
        ))
    }

    /// The explanation when the directory cannot be read.
    async fn unread(&self, step: v1::ExplanationStep) -> Result<v1::Explanation, Error> {
        let mut explanation = self.begin();
        explanation.steps.push(step);
        explanation.user = self.user.filter(|user| self.subject.owns(user)).map(Into::into);
        explanation.next_run = Some(next_run::unknown(
            "The directory did not answer, so a run would change nobody.",
        ));
        explanation.login = Some(
            self.worker
                .foresee_login(self.user, self.typed(), self.span.time, self.end)
                .await?,
        );
        Ok(explanation)
    }

    fn begin(&self) -> v1::Explanation {
        let subject = self.subject;
        let of_sync = |id: &UserSyncId| resource_name::user_sync(&subject.tenant, id);
        v1::Explanation {
            user_sync: subject.id().map(of_sync).unwrap_or_default(),
            directory: resource_name::directory(&subject.tenant, &subject.settings.directory),
            ..v1::Explanation::default()
        }
    }

    /// The identifier that would be typed at a login, if the request names one.
    fn typed(&self) -> Option<&str> {
        match self.person {
            PersonAsked::Identifier(text) => Some(text),
            PersonAsked::Dn(_) | PersonAsked::ExternalId(_) | PersonAsked::User(_) => None,
        }
    }

    async fn explain_entry(&self, source: &Source, entry: &Entry) -> Result<v1::Explanation, Error> {
        let mut explanation = self.begin();
        explanation.dn.clone_from(&entry.dn);
        let id = source.reader.external_id(entry).ok();
        if let Some(id) = &id {
            explanation.external_id = id.to_string();
            explanation.external_id_attribute = id.kind().attribute().to_owned();
        }
        let (tenant, directory) = (&self.subject.tenant, &self.subject.settings.directory);
        let of_person = match &id {
            Some(id) => {
                let ids = std::slice::from_ref(id);
                let users = self
                    .worker
                    .store
                    .users_by_external_ids(tenant, directory, ids)
                    .await?;
                users.into_iter().next()
            }
            None => None,
        };
        explanation.user = of_person.as_ref().map(Into::into);
        let judged = judge::judge(self, source, entry, of_person.as_ref()).await?;
        let forecast = next_run::of_entry(self, source, entry, &judged, of_person.as_ref()).await?;
        explanation.steps = judged.steps;
        explanation.steps.extend(forecast.identifiers);
        explanation.next_run = Some(forecast.told);
        // If a user has this login or address, that user logs in with it, whatever the entry.
        let login = of_person
            .as_ref()
            .or(self.user.filter(|_| self.typed().is_some()));
        let typed = self
            .typed()
            .filter(|_| login.is_none() || login.map(|user| user.id) == self.user.map(|user| user.id));
        explanation.login = Some(
            self.worker
                .foresee_login(login, typed, self.span.time, self.end)
                .await?,
        );
        Ok(explanation)
    }

    /// The explanation of somebody without an entry.
    async fn explain_absent(
        &self,
        source: &Source,
        user: Option<&User>,
        found: &find::Found,
    ) -> Result<v1::Explanation, Error> {
        let mut explanation = self.begin();
        if let Some(origin) = user.and_then(|user| user.origin.as_ref()) {
            explanation.external_id = origin.external_id.to_string();
            explanation.external_id_attribute = origin.external_id.kind().attribute().to_owned();
        }
        let shown = user.or(self.user.filter(|_| self.is_local()));
        explanation.user = shown.map(Into::into);
        explanation.steps.push(found.absence());
        explanation.next_run = Some(next_run::of_absent(self, source, user).await?);
        let login = user.or(self.user);
        explanation.login = Some(
            self.worker
                .foresee_login(login, self.typed(), self.span.time, self.end)
                .await?,
        );
        Ok(explanation)
    }
}
