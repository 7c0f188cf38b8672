//! CheckUserSync: the connection's stages, then every search as a run would do it, and a sample of what would
//! become of the entries.

mod account_state;
pub(super) mod forecast;
mod foretold;
pub(super) mod kept;
pub(super) mod role_rules;
mod samples;
mod subject;

use std::collections::BTreeMap;
use std::time::Duration;

use rollcall_core::check::{CheckPart, CheckReport, Stage, StageKind, StageResult};
use rollcall_core::dialect::Dialect;
use rollcall_core::directory::Directory;
use rollcall_core::entry::Entry;
use rollcall_core::error::{Error, Reason};
use rollcall_core::id::{TenantId, UserSyncId, UserSyncKey};
use rollcall_core::survey::Survey;
use rollcall_core::user_sync::UserSync;
use rollcall_ldap::{Count, LdapDirectory, ReadRequest, RootDse, SearchesToCheck, check_searches};
use rollcall_proto::convert::check::{CheckUserSync, UserSyncTarget};
use rollcall_proto::resource_name;
use rollcall_proto::v1;
use rollcall_runtime::server::Deadline;
use rollcall_service::message_size::as_fit;
use rollcall_service::reading;
use rollcall_store::CheckSubject;
use tokio::time::Instant;

use self::forecast::{Forecast, Forecaster};
use self::kept::Kept;
use self::samples::Sampled;
use self::subject::Subject;
use super::Span;
use crate::hidden_state;
use crate::run::Source;
use crate::worker::Worker;
use rollcall_service::resource::about;
use rollcall_service::role::Rules;

/// Entries of each search after which counting stops.
const COUNT_LIMIT: u32 = 10_000;
/// Attributes that are asked for one by one.
const MAX_PROBES: usize = 30;
/// The part of the time that is kept for the steps after the searches.
const RESERVE: Duration = Duration::from_secs(1);
/// The parts that are tried once the connection works.
const LATER: [CheckPart; 2] = [CheckPart::Searches, CheckPart::Entries];

impl Worker {
    /// CheckUserSync.
    pub(crate) async fn check_user_sync(
        &self,
        request: CheckUserSync,
        deadline: Option<Deadline>,
    ) -> Result<v1::CheckUserSyncResponse, Error> {
        let tenant = &request.tenant;
        let (is_stored, subject) = match request.target {
            UserSyncTarget::Stored(id) => {
                let stored = self.stored_sync(tenant, &id).await?;
                let subject = Subject {
                    tenant,
                    settings: stored.settings.clone(),
                    stored: Some(stored),
                };
                (true, subject)
            }
            UserSyncTarget::Draft { stored, settings } => {
                let stored = match &stored {
                    Some(id) => Some(self.stored_sync(tenant, id).await?),
                    None => None,
                };
                let subject = Subject {
                    tenant,
                    stored,
                    settings: *settings,
                };
                (false, subject)
            }
        };
        let directory = self.stored_directory(tenant, &subject.settings.directory).await?;
        let config = self.directories.stored_config(&directory).await?;
        self.admit_check(tenant)?;
        let span = self.span(deadline);
        // A host that does not answer must leave time for the others.
        let check = rollcall_ldap::check_connection(&config, span.time, span.limit / 2).await;
        self.keep_check(&directory, &check, span.time).await?;
        let naming_contexts = check
            .root_dse()
            .map(RootDse::data_naming_contexts)
            .unwrap_or_default();
        let mut report = check.report;
        let reached = report
            .stages
            .iter()
            .any(|stage| stage.kind == StageKind::Bind && stage.result == StageResult::Pass);
        let samples = match reached {
            true => {
                self.check_entries(
                    &subject,
                    is_stored,
                    &naming_contexts,
                    &mut report,
                    request.sample_size,
                    span,
                )
                .await?
            }
            false => {
                report.stages.extend(StageKind::of(&LATER).map(not_tried));
                Vec::new()
            }
        };
        if let Some(id) = subject.id().filter(|_| is_stored).cloned() {
            self.store
                .save_check(tenant, &CheckSubject::UserSync(id), &report, span.time)
                .await?;
        }
        Ok(v1::CheckUserSyncResponse {
            report: Some(span.report(&report)),
            samples: as_fit(samples),
        })
    }

    /// The stages after the connection's.
    async fn check_entries(
        &self,
        subject: &Subject<'_>,
        is_stored: bool,
        naming_contexts: &[String],
        report: &mut CheckReport,
        sample_size: usize,
        span: Span,
    ) -> Result<Vec<v1::SampleEntry>, Error> {
        // Read again: checking the connection has found out which kind of server it is.
        let directory: Directory = self
            .stored_directory(subject.tenant, &subject.settings.directory)
            .await?;
        let handle = self.directories.open(&directory).await?.ldap.clone();
        let dialect = directory.observed.dialect.unwrap_or(Dialect::Generic);
        let reader = reading::reader(
            dialect,
            &directory,
            subject.id(),
            &subject.settings,
            &self.login_policy,
        );
        let reader = reader.with_exclusions(self.store.exclusions(subject.tenant, &directory.id).await?);
        // The sample needs the account's state, since it decides what becomes of an entry.
        let attributes = reader.attributes();
        let wanted = SearchesToCheck {
            searches: &subject.settings.searches,
            attributes: &attributes,
            sample: sample_size,
            count_limit: COUNT_LIMIT,
        };
        let end = Instant::now() + span.left().saturating_sub(RESERVE);
        let mut survey = Survey::new(reader.clone());
        let mut kept = Kept::default();
        let see = |search, entry: &Entry| {
            survey.see(search, entry);
            kept.keep(entry);
        };
        let searches = check_searches(&handle, wanted, end, see).await;
        report.stages.extend(searches.stages);
        let in_use = self
            .store
            .id_kinds_in_use(subject.tenant, &directory.id, subject.id(), reader.id_kinds())
            .await?;
        let kind = survey.id_kind(&in_use);
        let answered = match searches.schema.is_empty() {
            true => answered(&handle, &survey, end).await,
            false => BTreeMap::new(),
        };
        report.stages.extend(survey.stages(
            &subject.settings.searches,
            kind.as_ref(),
            &searches.schema,
            &answered,
        ));
        let reader = match kind {
            Some(kind) => reader.with_id_kind(kind),
            None => reader,
        };

        let hidden = hidden_state::probe(&handle, dialect, &subject.settings.searches, end).await;
        report
            .stages
            .push(account_state::stage(dialect, hidden.as_deref()));
        let reader = match hidden {
            Some(hidden) => {
                if let Some(id) = subject.id().filter(|_| is_stored) {
                    hidden_state::keep(&self.store, &directory, id, &hidden, span.time).await?;
                }
                reader.with_hidden(&hidden)
            }
            None => reader,
        };

        let end = Instant::now() + span.left();
        let sampled = Sampled::take(&reader, searches.samples, sample_size);
        let rules = Rules::new(&handle, dialect, naming_contexts, &subject.settings);
        let (rule_stages, roles) =
            role_rules::check(&rules, &subject.settings, &searches.schema, sampled.dns(), end).await;
        report.stages.extend(rule_stages);
        let is_exact = |count: &Option<Count>| count.is_some_and(|count| count.exact);
        let max_entries = self.settings.runs.max_entries;
        let source = Source::of_check(handle, reader.clone(), naming_contexts, directory, max_entries);
        let forecaster = Forecaster {
            engine: &self.engine,
            source: &source,
            store: &self.store,
            tenant: subject.tenant,
            stored: subject.stored.as_ref(),
            settings: &subject.settings,
            reader: &reader,
            roles: &roles,
            complete: searches.counts.iter().all(is_exact),
            now: span.time,
        };
        let foretold = async { forecaster.forecast(kept, forecaster.known_users().await?).await };
        let forecast = match tokio::time::timeout(span.left(), foretold).await {
            Ok(Ok(forecast)) => forecast,
            Ok(Err(error)) if error.reason == Reason::DirectoryMisconfigured => {
                let message = format!("A run would fail: {}.", error.message);
                let failed = stage(StageKind::ExternalId, StageResult::Fail, message, "");
                report.stages.push(failed);
                Forecast::default()
            }
            Ok(Err(error)) => return Err(error),
            Err(_) => {
                let message = "what a run would do was not looked at, since there was no time left";
                let untold = stage(StageKind::FieldMappings, StageResult::Skipped, message, "");
                report.stages.push(untold);
                Forecast::default()
            }
        };
        report.stages.extend(forecast.stages());
        let known = self
            .store
            .users_by_external_ids(subject.tenant, &subject.settings.directory, &sampled.ids())
            .await?;
        report.stages.push(overlaps(subject, &known));
        Ok(sampled.show(subject, &reader, &forecast, &roles, &known, span.time))
    }

    pub(super) async fn stored_sync(&self, tenant: &TenantId, id: &UserSyncId) -> Result<UserSync, Error> {
        let key = UserSyncKey {
            tenant: tenant.clone(),
            user_sync: id.clone(),
        };
        let found = self.store.user_sync(tenant, id).await;
        found.map_err(about(&key.to_string()))
    }
}

/// For mapped attributes that no entry has: the names by which the server answers for them. Each is asked for alone, so
/// that the answer can only mean this attribute.
async fn answered(directory: &LdapDirectory, survey: &Survey, deadline: Instant) -> BTreeMap<String, String> {
    let mut answered = BTreeMap::new();
    let Some((unanswered, dn)) = survey.unanswered() else {
        return answered;
    };
    for attribute in unanswered.into_iter().take(MAX_PROBES) {
        let request = ReadRequest {
            dn: dn.to_owned(),
            filter: "(objectClass=*)".to_owned(),
            attributes: vec![attribute.clone()],
        };
        let Ok(Some(entry)) = directory.read_entry(&request, deadline).await else {
            continue;
        };
        // With several names, the attributes are subtypes of it, and none of them is the attribute itself.
        let mut names = entry.attributes.into_keys().filter(|name| *name != attribute);
        if let (Some(name), None) = (names.next(), names.next()) {
            answered.insert(attribute, name);
        }
    }
    answered
}

/// Whether other user syncs own sampled people already. CheckOverlaps looks at all of them.
fn overlaps(subject: &Subject<'_>, known: &[rollcall_core::user::User]) -> Stage {
    let owners = known
        .iter()
        .filter_map(|user| user.origin.as_ref())
        .map(|origin| &origin.user_sync);
    let mut others: Vec<_> = owners.filter(|owner| Some(*owner) != subject.id()).collect();
    let count = others.len();
    others.sort_unstable();
    others.dedup();
    if others.is_empty() {
        return stage(
            StageKind::Overlaps,
            StageResult::Pass,
            "No other user sync owns a sampled person.",
            "",
        );
    }
    let names: Vec<_> = others
        .into_iter()
        .map(|other| resource_name::user_sync(subject.tenant, other))
        .collect();
    let belong = match count {
        1 => "1 of the sampled people belongs to another user sync",
        _ => &format!("{count} of the sampled people belong to other user syncs"),
    };
    let message = format!("{belong}: {}.", names.join(", "));
    let hint = "Change the filters so that each account is in the results of one user sync only.";
    stage(StageKind::Overlaps, StageResult::Warn, message, hint)
}

fn not_tried(kind: StageKind) -> Stage {
    stage(
        kind,
        StageResult::Skipped,
        "not tried, since an earlier stage failed",
        "",
    )
}

fn stage(kind: StageKind, result: StageResult, message: impl Into<String>, hint: &str) -> Stage {
    Stage {
        kind,
        subject: String::new(),
        result,
        duration: Duration::ZERO,
        message: message.into(),
        hint: hint.to_owned(),
    }
}
