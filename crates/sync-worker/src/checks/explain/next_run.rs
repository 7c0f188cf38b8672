//! What the next run would do about one person. The run's own planner says it, from the person's entry and all entries
//! that concern its identifiers.

use std::collections::BTreeSet;

use rollcall_core::check::StageResult;
use rollcall_core::entry::Entry;
use rollcall_core::error::{Error, Reason};
use rollcall_core::external_id::ExternalId;
use rollcall_core::id::{UserId, Uuid};
use rollcall_core::identifier::Holder;
use rollcall_core::issue::{Issue, IssueKind};
use rollcall_core::person;
use rollcall_core::plan::{Change, ChangeKind, Fingerprint};
use rollcall_core::planner::{KnownUser, KnownUsers};
use rollcall_core::revision::Revision;
use rollcall_core::user::{StateReason, User};
use rollcall_core::user_sync::UserSyncSettings;
use rollcall_ldap::{LdapError, ResultCode};
use rollcall_proto::convert::sync_run;
use rollcall_proto::v1::{self, RunAction};
use rollcall_service::failure;
use rollcall_service::pull::canonical;

use super::explainer::Explainer;
use super::find::having;
use super::judge::Judged;
use super::step::{Kind, step};
use crate::checks::user_sync::forecast::Forecaster;
use crate::checks::user_sync::kept::Kept;
use crate::checks::user_sync::role_rules::Roles;
use crate::run::lookups::absences::{BATCH_IDS, Confirmed, confirm, find_in_scope};
use crate::run::{Source, removal};

/// Most entries that are read beside the person's: those who have or ask for the same identifiers, those who have or
/// ask for theirs, and so on.
const MAX_NEIGHBOURS: usize = 50;
const MAX_STEPS: usize = 4;

/// What a run would do.
pub(super) struct Told {
    pub(super) told: v1::RunForecast,
    /// What stands against the login and the e-mail address.
    pub(super) identifiers: Vec<v1::ExplanationStep>,
}

/// A forecast that cannot be made.
pub(super) fn unknown(message: &str) -> v1::RunForecast {
    v1::RunForecast {
        action: RunAction::Unknown.into(),
        message: message.to_owned(),
        ..v1::RunForecast::default()
    }
}

/// What a run would do with an entry. `user` is who has its id.
///
/// # Errors
/// What the store says.
pub(super) async fn of_entry(
    x: &Explainer<'_>,
    source: &Source,
    entry: &Entry,
    judged: &Judged,
    user: Option<&User>,
) -> Result<Told, Error> {
    let plain = |told| Told {
        told,
        identifiers: Vec::new(),
    };
    if let Some(what) = source.reader.not_a_person(entry) {
        let owned = user.filter(|user| x.subject.owns(user));
        let mut told = of_absent(x, source, owned).await?;
        if told.action() == RunAction::Keep {
            // The person has another entry.
            told = of_absent(x, source, None).await?;
        }
        told.issues = vec![sync_run::issue(
            &x.subject.tenant,
            &person::issue(what, 1, &entry.dn),
        )];
        return Ok(plain(told));
    }
    match judged.in_scope {
        None => {
            return Ok(plain(unknown(
                "Whether the searches find the entry could not be asked.",
            )));
        }
        Some(false) => {
            let owned = user.filter(|user| x.subject.owns(user));
            return Ok(plain(of_absent(x, source, owned).await?));
        }
        Some(true) => {}
    }
    let left = x.end.saturating_duration_since(tokio::time::Instant::now());
    match tokio::time::timeout(left, forecast(x, source, entry, judged, user)).await {
        Ok(Err(error)) if error.reason == Reason::DirectoryMisconfigured => {
            Ok(plain(unknown(&format!("A run would fail: {}.", error.message))))
        }
        Ok(told) => told,
        Err(_) => Ok(plain(unknown("There was no time left to work it out."))),
    }
}

async fn forecast(
    x: &Explainer<'_>,
    source: &Source,
    entry: &Entry,
    judged: &Judged,
    user: Option<&User>,
) -> Result<Told, Error> {
    let (worker, subject) = (x.worker, x.subject);
    let gathered = gather(x, source, entry).await?;
    let ids: Vec<ExternalId> = gathered
        .entries
        .iter()
        .filter_map(|entry| source.reader.external_id(entry).ok())
        .collect();
    let mut users = worker
        .store
        .users_by_external_ids(&subject.tenant, &subject.settings.directory, &ids)
        .await?;
    users.extend(gathered.holders);
    let mut known = KnownUsers::default();
    known.extend(users.iter().filter(|user| subject.owns(user)).filter_map(|user| {
        let origin = user.origin.as_ref()?;
        let (state, reason) = (user.state, user.state_reason);
        Some(KnownUser {
            user: user.id,
            external_id: origin.external_id.clone(),
            fingerprint: Fingerprint::of(&user.profile, &origin.dn, state, reason, user.login_ambiguous),
            state,
            left: reason.is_some_and(StateReason::has_left),
        })
    }));
    let mut kept = Kept::default();
    gathered.entries.iter().for_each(|entry| kept.keep(entry));
    let roles = Roles::of_one(&entry.dn, judged.role.clone(), &subject.settings);
    let forecaster = Forecaster {
        engine: &worker.engine,
        source,
        store: &worker.store,
        tenant: &subject.tenant,
        stored: subject.stored.as_ref(),
        settings: &subject.settings,
        reader: &source.reader,
        roles: &roles,
        complete: gathered.complete,
        now: x.span.time,
    };
    let foretold = forecaster.forecast(kept, known).await?;
    let change = foretold.change(&entry.dn);
    let issues = foretold.of(&entry.dn).unwrap_or_default();
    let mut told = match change {
        Some(change) => changed(x, change, user),
        None => stays(user),
    };
    told.message = format!("{}{}", told.message, caveats(x, source));
    told.issues = issues
        .iter()
        .map(|issue| sync_run::issue(&subject.tenant, issue))
        .collect();
    let identifiers = match judged.is_somebody {
        true => identifier_steps(&issues, change, user),
        false => Vec::new(),
    };
    Ok(Told { told, identifiers })
}

/// What a run would do about a user whom no search finds; `None` without a user.
///
/// # Errors
/// What the store says.
pub(super) async fn of_absent(
    x: &Explainer<'_>,
    source: &Source,
    user: Option<&User>,
) -> Result<v1::RunForecast, Error> {
    let Some((user, id)) = user.zip(x.subject.id()) else {
        let mut told = stays(None);
        told.message = "A run would create no user: no search finds the person.".to_owned();
        return Ok(told);
    };
    let mut confirmed = Confirmed::default();
    let searches = &x.subject.settings.searches;
    let users = std::slice::from_ref(user);
    confirm(source, searches, users, None, &mut confirmed).await?;
    let reason = confirmed.removals.first().map(|(_, reason)| *reason);
    let change = reason.and_then(|reason| removal(id, &x.subject.settings, user, reason));
    let mut told = match &change {
        Some(change) => changed(x, change, Some(user)),
        None => stays(Some(user)),
    };
    if confirmed.unknown > 0 {
        told.message += " Whether the person has left cannot be told from what the bind account may read, so nothing happens.";
    }
    told.message += &caveats(x, source);
    Ok(told)
}

/// The entries that a run would have to know about.
struct Gathered {
    entries: Vec<Entry>,
    /// Users of this user sync who hold the identifiers that are asked for.
    holders: Vec<User>,
    /// No further entries concern these identifiers.
    complete: bool,
}

/// Reads the entries that have, or ask for, what the entry asks for, and the users who have what those entries ask for.
async fn gather(x: &Explainer<'_>, source: &Source, entry: &Entry) -> Result<Gathered, Error> {
    let settings = &x.subject.settings;
    let mut gathered = Gathered {
        entries: vec![entry.clone()],
        holders: Vec::new(),
        complete: true,
    };
    let (mut asked, mut held): (BTreeSet<String>, BTreeSet<UserId>) = Default::default();
    let told = |error: LdapError| {
        let name = rollcall_proto::resource_name::directory(&x.subject.tenant, &settings.directory);
        failure::for_admin(&error, &name)
    };
    let mut met: BTreeSet<ExternalId> = BTreeSet::new();
    for _ in 0..MAX_STEPS {
        // If several entries have one id, none of them asks for anything.
        let ids = gathered
            .entries
            .iter()
            .filter_map(|entry| source.reader.external_id(entry).ok());
        let new: Vec<ExternalId> = ids.filter(|id| !met.contains(id)).collect();
        for ids in new.chunks(BATCH_IDS) {
            let attributes = source.reader.attributes();
            let same = find_in_scope(source, &settings.searches, ids, &attributes).await;
            gathered.add(same.map_err(told)?.into_iter().map(|(_, entry)| entry));
        }
        met.extend(new);
        let offers = gathered
            .entries
            .iter()
            .map(|entry| source.reader.mapping().read(entry));
        let wanted: BTreeSet<String> = offers
            .flat_map(|offers| {
                let values: Vec<String> = offers
                    .login
                    .values
                    .iter()
                    .chain(&offers.email.values)
                    .cloned()
                    .collect();
                values
            })
            .filter(|value| !asked.contains(value))
            .collect();
        if wanted.is_empty() {
            return Ok(gathered);
        }
        let values: Vec<String> = wanted.iter().cloned().collect();
        gathered.add(askers(source, settings, &values, x).await.map_err(told)?);
        let keys: Vec<String> = values
            .iter()
            .map(|value| rollcall_core::identifier::normalize(value))
            .collect();
        asked.extend(wanted);
        let holders = x
            .worker
            .store
            .identifier_holders(&x.subject.tenant, &keys)
            .await?;
        let new = holders.into_values().filter_map(|holder| match holder {
            Holder::User(user) if held.insert(user) => Some(user),
            Holder::User(_) | Holder::Foreign => None,
        });
        let new: Vec<UserId> = new.collect();
        let users = x.worker.store.batch_users(&x.subject.tenant, &new).await?;
        let owned: Vec<User> = users.into_iter().filter(|user| x.subject.owns(user)).collect();
        let ids: Vec<ExternalId> = owned
            .iter()
            .filter_map(|user| Some(user.origin.as_ref()?.external_id.clone()))
            .collect();
        if !ids.is_empty() {
            let attributes = source.reader.attributes();
            let found = find_in_scope(source, &settings.searches, &ids, &attributes).await;
            gathered.add(found.map_err(told)?.into_iter().map(|(_, entry)| entry));
        }
        gathered.holders.extend(owned);
        if gathered.entries.len() > MAX_NEIGHBOURS {
            break;
        }
    }
    gathered.complete = false;
    Ok(gathered)
}

impl Gathered {
    fn add(&mut self, entries: impl IntoIterator<Item = Entry>) {
        for entry in entries {
            if self.entries.iter().all(|known| known.dn != entry.dn) {
                self.entries.push(entry);
            }
        }
    }
}

/// The entries within the searches that have one of these values.
async fn askers(
    source: &Source,
    settings: &UserSyncSettings,
    values: &[String],
    x: &Explainer<'_>,
) -> Result<Vec<Entry>, LdapError> {
    let (Some(having), _) = having(source, values) else {
        return Ok(Vec::new());
    };
    let attributes = source.reader.attributes();
    let limit = u32::try_from(MAX_NEIGHBOURS).unwrap_or(u32::MAX);
    let mut entries = Vec::new();
    for search in &settings.searches {
        let filter = format!("(&{}{having})", canonical(&search.filter));
        let found = source
            .ldap
            .find(&search.base_dn, search.scope, &filter, &attributes, limit, x.end)
            .await;
        match found {
            Ok(found) => entries.extend(found.entries),
            Err(LdapError::SearchRefused(ResultCode::NO_SUCH_OBJECT)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(entries)
}

fn changed(x: &Explainer<'_>, change: &Change, before: Option<&User>) -> v1::RunForecast {
    let (action, what) = match change.kind {
        ChangeKind::Create => (RunAction::Create, "would create the user"),
        ChangeKind::Update => (RunAction::Update, "would change fields of the user"),
        ChangeKind::Reactivate => (RunAction::Reactivate, "would make the user ACTIVE again"),
        ChangeKind::Deactivate => (RunAction::Deactivate, "would deactivate the user"),
        ChangeKind::Archive => (RunAction::Archive, "would archive the user"),
        ChangeKind::Link => (RunAction::Link, "would link the LOCAL user to the entry"),
        ChangeKind::Transfer => (
            RunAction::Transfer,
            "would take the user over from the other user sync",
        ),
        ChangeKind::Relink => (
            RunAction::Relink,
            "would give the user the new identifier of the entry",
        ),
    };
    let fields: Vec<&str> = change
        .changes
        .iter()
        .map(|change| change.field.as_str())
        .collect();
    let fields = match (change.kind, fields.is_empty()) {
        (ChangeKind::Create, _) | (_, true) => String::new(),
        _ => format!(": {}", fields.join(", ")),
    };
    let after = after(x, change, before);
    let mut user = v1::User::from(&after);
    if before.is_none() {
        (user.name, user.etag) = (String::new(), String::new());
        (user.create_time, user.update_time) = (None, None);
    }
    if x.subject.id().is_none() {
        user.user_sync.clear();
    }
    v1::RunForecast {
        action: action.into(),
        user: Some(user),
        issues: Vec::new(),
        message: format!("A run {what}{fields}."),
    }
}

/// The user as a change leaves it.
fn after(x: &Explainer<'_>, change: &Change, before: Option<&User>) -> User {
    let fresh = || User {
        tenant: x.subject.tenant.clone(),
        id: UserId(Uuid::nil()),
        origin: None,
        profile: change.profile.clone(),
        state: change.state,
        state_reason: None,
        owner: false,
        block: None,
        login_ambiguous: false,
        login_asked_by: None,
        revision: Revision::NONE,
        create_time: x.span.time,
        update_time: x.span.time,
    };
    super::login::applied(before.cloned().unwrap_or_else(fresh), change)
}

fn stays(user: Option<&User>) -> v1::RunForecast {
    let (action, message) = match user {
        Some(_) => (RunAction::Keep, "A run would leave the user as it is."),
        None => (RunAction::None, "A run would create no user."),
    };
    v1::RunForecast {
        action: action.into(),
        user: user.map(Into::into),
        issues: Vec::new(),
        message: message.to_owned(),
    }
}

/// What prevents runs from being carried out.
fn caveats(x: &Explainer<'_>, source: &Source) -> String {
    let mut told = String::new();
    if x.subject.settings.disabled {
        told += " The user sync is switched off: it does not run.";
    }
    if source.directory.settings.disabled {
        told += " The directory is switched off: no run can read it.";
    }
    if let Some(sync) = &x.subject.stored {
        if !sync.hold.is_empty() {
            told += " A held run waits for somebody to look at it.";
        }
        if sync.configuration_changed() {
            told += " The user sync was edited since its last whole run: logins still go by the configuration before.";
        }
    }
    told
}

/// What stands against the login and the e-mail address that the entry asks for.
fn identifier_steps(
    issues: &[Issue],
    change: Option<&Change>,
    user: Option<&User>,
) -> Vec<v1::ExplanationStep> {
    let is_claim = |issue: &&Issue| {
        matches!(
            issue.kind,
            IssueKind::LoginTaken
                | IssueKind::EmailTaken
                | IssueKind::LoginAmbiguous
                | IssueKind::LoginChangeRejected
                | IssueKind::OwnerProtected
                | IssueKind::DuplicateInDirectory
                | IssueKind::Overlap
        )
    };
    let mut steps: Vec<v1::ExplanationStep> = issues
        .iter()
        .filter(is_claim)
        .map(|issue| {
            let field = issue.field.as_deref().unwrap_or_default();
            let value = issue.value.as_deref().filter(|value| !value.is_empty());
            let value = value.map_or_else(String::new, |value| format!("{value}: "));
            let message = format!("{value}{}.", issue.text());
            step(Kind::Identifier, StageResult::Fail, field, message, issue.hint())
        })
        .collect();
    let profile = change
        .map(|change| &change.profile)
        .or(user.map(|user| &user.profile));
    if let (true, Some(profile)) = (steps.is_empty(), profile) {
        let message = format!("Nobody else has or asks for the login {}.", profile.login);
        steps.push(step(Kind::Identifier, StageResult::Pass, "login", message, ""));
    }
    steps
}
