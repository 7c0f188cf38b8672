//! Brings one user up to date between runs, by the same rules as a run: the gateway asks for it when a login
//! shows that the entry changed.

use std::collections::HashMap;
use std::slice::from_ref;

use rollcall_core::error::{Error, Reason};
use rollcall_core::guard::{Withheld, withhold};
use rollcall_core::id::{TenantId, UserId, UserSyncId, UserSyncKey};
use rollcall_core::identifier::{Holder, normalize};
use rollcall_core::issue::{Issue, IssueKind};
use rollcall_core::plan::{Change, ChangeKind};
use rollcall_core::planner::{BatchFacts, KnownUsers, Planner, ReadEntry};
use rollcall_core::user::{StateReason, User};
use rollcall_core::user_sync::UserSyncSettings;
use rollcall_ldap::{LdapError, Misconfiguration};
use rollcall_service::role::{Person, Rules};
use rollcall_service::scope;
use rollcall_store::{JudgedBy, SingleOutcome};
use tokio::time::Instant;

use super::executor::Executor;
use super::lookups::absences::find_entries;
use super::lookups::shared_ids::Disputes;
use super::new_user_id::new_user_id;
use super::source::{Source, source};

/// What a refresh did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RefreshOutcome {
    /// The user was up to date.
    Unchanged,
    /// Fields changed.
    Updated,
    /// The user may log in again.
    Reactivated,
    /// The user may not log in any more.
    Removed,
    /// The user stays as before; the issues say why.
    Rejected,
}

/// A user after a refresh.
#[derive(Clone, Debug)]
pub struct Refreshed {
    /// The user as of now.
    pub user: User,
    /// What was done.
    pub outcome: RefreshOutcome,
    /// What was not, and why.
    pub issues: Vec<Issue>,
}

/// What a refresh would do.
pub(crate) enum Foreseen {
    /// Nothing.
    Unchanged,
    /// Nothing, for these reasons.
    Rejected(Vec<Issue>),
    /// This change; the issues say what is not done.
    Write(Box<Change>, Vec<Issue>),
}

pub(super) async fn refresh(x: &Executor, tenant: &TenantId, id: UserId) -> Result<Refreshed, Error> {
    let user = x.store.user(tenant, id).await?;
    let Some(origin) = &user.origin else {
        return Err(no_synced_user());
    };
    let key = UserSyncKey {
        tenant: tenant.clone(),
        user_sync: origin.user_sync.clone(),
    };
    match foresee(x, &user).await? {
        Foreseen::Unchanged => Ok(unchanged(user)),
        Foreseen::Rejected(issues) => Ok(rejected(user, issues)),
        Foreseen::Write(change, issues) => write(x, &key, user, *change, issues).await,
    }
}

fn no_synced_user() -> Error {
    Error::new(Reason::UserNotFound, "there is no such synced user")
}

/// What a refresh of this user would do. Writes nothing.
pub(super) async fn foresee(x: &Executor, user: &User) -> Result<Foreseen, Error> {
    let tenant = &user.tenant;
    let Some(origin) = user.origin.clone() else {
        return Err(no_synced_user());
    };
    let key = UserSyncKey {
        tenant: tenant.clone(),
        user_sync: origin.user_sync.clone(),
    };
    let judged_by = x.store.judged_by(tenant, &origin.user_sync).await?;
    if judged_by.user_sync.settings.disabled {
        return Err(Error::new(Reason::SyncDisabled, "the user sync is switched off"));
    }
    // Later edits are a draft, which a run has to try first.
    let settings: &UserSyncSettings = &judged_by.in_force;
    let source = source(x, &key, &origin.directory, settings).await?;
    let Source { ldap, reader, .. } = &source;
    let naming_contexts = source.naming_contexts().await;
    let naming_contexts = naming_contexts.map_err(|error| source.error(&error))?;
    let timeout = source.timeout;
    let deadline = Instant::now() + timeout;
    let found = ldap
        .find_by_external_id(
            &origin.external_id,
            &naming_contexts,
            &reader.attributes(),
            deadline,
        )
        .await;
    let found = match found {
        Err(LdapError::Misconfigured(Misconfiguration::SharedId)) => {
            let mut entries = find_entries(&source, from_ref(&origin.external_id), &reader.attributes())
                .await
                .map_err(|error| source.error(&error))?;
            let mut here = Vec::new();
            for (at, (_, entry)) in entries.iter().enumerate() {
                let deadline = Instant::now() + timeout;
                let found = scope::in_scope(ldap, &settings.searches, &entry.dn, deadline).await;
                here.extend(found.map_err(|error| source.error(&error))?.then_some(at));
            }
            // A run that meets only one of them takes it for the person, and so does a refresh.
            match here.as_slice() {
                [] => entries.pop().map(|(_, entry)| entry),
                [one] => Some(entries.swap_remove(*one).1),
                _ => return strictest(x, &key, settings, &source, user).await,
            }
        }
        found => found.map_err(|error| source.error(&error))?,
    };
    // Whether somebody is gone is for a run to say: it can tell a missing person from a missing right.
    let Some(entry) = found else {
        return Ok(Foreseen::Unchanged);
    };
    let in_scope = async |searches| {
        let deadline = Instant::now() + timeout;
        let in_scope = scope::in_scope(ldap, searches, &entry.dn, deadline).await;
        in_scope.map_err(|error| source.error(&error))
    };
    if !in_scope(&settings.searches).await? {
        let edited = &judged_by.user_sync.settings.searches;
        // The edited searches find the person, as the next run will.
        if *edited != settings.searches && in_scope(edited).await? {
            return Ok(Foreseen::Unchanged);
        }
        return Ok(leave(&key, settings, user));
    }
    let rules = Rules::new(ldap, reader.dialect(), &naming_contexts, settings);
    let deadline = Instant::now() + timeout;
    let (role, problems) = rules.role(&Person::at(&entry.dn), deadline).await;
    for problem in problems {
        tracing::debug!(problem = %problem.message, "something is wrong with a role rule");
    }
    let reading = reader.read(origin.external_id.clone(), &entry, x.clock.now());
    follow(x, &key, &judged_by, user, (reading, role)).await
}

/// The entry was read and is out of scope, so what the sync does with missing users is done at once.
fn leave(key: &UserSyncKey, settings: &UserSyncSettings, user: &User) -> Foreseen {
    match removal(&key.user_sync, settings, user, StateReason::OutOfScope) {
        Some(change) => Foreseen::Write(Box::new(change), Vec::new()),
        None => Foreseen::Unchanged,
    }
}

/// What becomes of a user whose absence is certain; `None` if nothing does, because the absence was applied before or
/// the sync keeps missing users.
pub(crate) fn removal(
    user_sync: &UserSyncId,
    settings: &UserSyncSettings,
    user: &User,
    reason: StateReason,
) -> Option<Change> {
    let mut planner = Planner::alone(user_sync, settings, KnownUsers::default());
    let told = user.state_reason.is_some_and(StateReason::has_left);
    planner.remove(user, reason).filter(|_| !told)
}

/// Several entries have the id: if one of them takes access away, the access is lost, and nothing else changes.
async fn strictest(
    x: &Executor,
    key: &UserSyncKey,
    settings: &UserSyncSettings,
    source: &Source,
    user: &User,
) -> Result<Foreseen, Error> {
    let Some(id) = user.origin.as_ref().map(|origin| origin.external_id.clone()) else {
        return Ok(Foreseen::Unchanged);
    };
    let shared = Disputes::of(id.clone()).shared(source, x.clock.now()).await;
    let reason = shared.states.get(&id).copied().flatten();
    let mut planner = Planner::alone(&key.user_sync, settings, KnownUsers::default());
    Ok(match reason.and_then(|reason| planner.deactivate(user, reason)) {
        Some(change) => Foreseen::Write(Box::new(change), shared.issues),
        None => Foreseen::Rejected(shared.issues),
    })
}

async fn follow(
    x: &Executor,
    key: &UserSyncKey,
    judged_by: &JudgedBy,
    user: &User,
    entry: ReadEntry,
) -> Result<Foreseen, Error> {
    let tenant = &key.tenant;
    let settings: &UserSyncSettings = &judged_by.in_force;
    let mut planner = Planner::alone(&key.user_sync, settings, KnownUsers::default());
    let mut keys: Vec<String> = entry.0.offers.identifiers().collect();
    keys.sort_unstable();
    keys.dedup();
    let mut holders: HashMap<String, Holder> = x
        .store
        .identifier_holders(tenant, &keys)
        .await?
        .into_iter()
        .collect();
    // Only this user changes now, so nobody else releases anything.
    for holder in holders.values_mut() {
        if *holder != Holder::User(user.id) {
            *holder = Holder::Foreign;
        }
    }
    let facts = BatchFacts::new(&settings.directory, [user.clone()], holders);
    let decisions = planner.decide(vec![entry], &facts, || new_user_id(x.clock.now()));
    let settled = planner.finish();
    let mut issues = decisions.issues;
    issues.extend(settled.issues);
    let changes = decisions.changes.into_iter();
    let Some(mut change) = changes.chain(settled.groups.into_iter().flatten()).next() else {
        return Ok(if issues.is_empty() {
            Foreseen::Unchanged
        } else {
            Foreseen::Rejected(issues)
        });
    };
    keep_ambiguous(&mut change, user);
    let dn = change.origin.dn.clone();
    match withhold(&mut change, user, &judged_by.user_sync.hold, &settings.role) {
        Withheld::Nothing => {}
        Withheld::Return => {
            let message = "the user may not log in again before the held run of the user sync is released";
            issues.push(Issue::new(IssueKind::Held, &dn, message));
            return Ok(Foreseen::Rejected(issues));
        }
        Withheld::Fields(fields) => {
            issues.extend(fields.iter().map(|field| {
                let message = format!("the held run of the user sync is about changes of {field}");
                Issue::new(IssueKind::Held, &dn, message).of_field(field)
            }));
            keep_ambiguous(&mut change, user);
        }
    }
    Ok(match (change.changes.is_empty(), issues.is_empty()) {
        (true, true) => Foreseen::Unchanged,
        (true, false) => Foreseen::Rejected(issues),
        (false, _) => Foreseen::Write(Box::new(change), issues),
    })
}

/// A refresh does not settle whether another entry asks for the login that the user keeps: only a run sees all entries.
fn keep_ambiguous(change: &mut Change, user: &User) {
    if normalize(&change.profile.login) == normalize(&user.profile.login) {
        (change.login_ambiguous, change.login_asked_by) = (user.login_ambiguous, user.login_asked_by.clone());
        *change = change.clone().compared(Some(user));
    }
}

async fn write(
    x: &Executor,
    key: &UserSyncKey,
    user: User,
    change: Change,
    mut issues: Vec<Issue>,
) -> Result<Refreshed, Error> {
    match x.store.apply_single(key, &change, x.clock.now()).await? {
        SingleOutcome::Applied(user, lacking) => {
            issues.extend(lacking);
            let outcome = if change.is_removal() {
                RefreshOutcome::Removed
            } else if change.kind == ChangeKind::Reactivate {
                RefreshOutcome::Reactivated
            } else {
                RefreshOutcome::Updated
            };
            Ok(Refreshed {
                user: *user,
                outcome,
                issues,
            })
        }
        SingleOutcome::Refused(issue) => {
            issues.push(issue);
            Ok(rejected(user, issues))
        }
    }
}

fn unchanged(user: User) -> Refreshed {
    Refreshed {
        user,
        outcome: RefreshOutcome::Unchanged,
        issues: Vec::new(),
    }
}

fn rejected(user: User, issues: Vec<Issue>) -> Refreshed {
    Refreshed {
        user,
        outcome: RefreshOutcome::Rejected,
        issues,
    }
}
