//! Confirms absences: that an entry did not come from a search does not prove that its person has left.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use rollcall_core::external_id::ExternalId;
use rollcall_core::filter::Filter;
use rollcall_core::id::UserId;
use rollcall_core::reader::EntryReader;
use rollcall_core::user::{StateReason, User};
use rollcall_core::user_sync::{Search, SearchScope};
use rollcall_ldap::{LdapDirectory, LdapError, ResultCode};
use tokio::time::Instant;

use super::pull::canonical;

/// Ids asked for at a time.
pub(super) const BATCH_IDS: usize = 50;

/// What is known about all absences so far.
#[derive(Debug, Default)]
pub(super) struct Confirmed {
    /// Who is provably not the sync's any more.
    pub(super) removals: Vec<(UserId, StateReason)>,
    /// What stands in the way of certainty. A pull in doubt removes nobody, whatever else was confirmed.
    pub(super) doubt: Option<String>,
}

/// What became of an absent entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Absence {
    /// It is there and matches after all: the pull was not complete.
    Present,
    /// It is provably not the sync's any more.
    Removed(StateReason),
    /// Nothing can be said.
    Unknown,
}

/// Confirms the absence of at most [`BATCH_IDS`] users. `canary` is an id that the pull did bring: while it
/// cannot be read either, nobody else's absence means anything.
pub(super) async fn confirm(
    directory: &LdapDirectory,
    reader: &EntryReader,
    searches: &[Search],
    contexts: &[String],
    users: &[User],
    canary: Option<&ExternalId>,
    timeout: Duration,
) -> Result<HashMap<UserId, Absence>, LdapError> {
    let ids: Vec<ExternalId> = users
        .iter()
        .filter_map(|user| Some(user.origin.as_ref()?.external_id.clone()))
        .collect();
    let mut matching = HashSet::new();
    for search in searches {
        let filter = format!("(&{}{})", canonical(&search.filter), any_of(&ids));
        let found = find(directory, reader, &search.base_dn, search.scope, &filter, timeout).await?;
        matching.extend(found.into_iter().map(|(id, _)| id));
    }
    let wanted: Vec<ExternalId> = ids.iter().chain(canary).cloned().collect();
    let existing = find_anywhere(directory, reader, contexts, &wanted, timeout).await?;
    let existing: HashSet<ExternalId> = existing.into_iter().map(|(id, _)| id).collect();
    let readable = canary.is_none_or(|canary| existing.contains(canary));
    let judge = |id: &ExternalId| {
        if matching.contains(id) {
            Absence::Present
        } else if existing.contains(id) {
            Absence::Removed(StateReason::OutOfScope)
        } else if readable && !contexts.is_empty() {
            Absence::Removed(StateReason::Gone)
        } else {
            Absence::Unknown
        }
    };
    let judged = users
        .iter()
        .filter_map(|user| Some((user.id, judge(&user.origin.as_ref()?.external_id))));
    Ok(judged.collect())
}

/// The entries with these ids, wherever they are, with their DNs.
pub(super) async fn find_anywhere(
    directory: &LdapDirectory,
    reader: &EntryReader,
    contexts: &[String],
    ids: &[ExternalId],
    timeout: Duration,
) -> Result<Vec<(ExternalId, String)>, LdapError> {
    let mut found = Vec::new();
    for context in contexts {
        let scope = SearchScope::Subtree;
        found.extend(find(directory, reader, context, scope, &any_of(ids), timeout).await?);
    }
    Ok(found)
}

async fn find(
    directory: &LdapDirectory,
    reader: &EntryReader,
    base_dn: &str,
    scope: SearchScope,
    filter: &str,
    timeout: Duration,
) -> Result<Vec<(ExternalId, String)>, LdapError> {
    let limit = 2 * BATCH_IDS as u32;
    let deadline = Instant::now() + timeout;
    let found = directory
        .find(base_dn, scope, filter, &reader.id_attributes(), limit, deadline)
        .await?;
    if found.more {
        return Err(LdapError::SearchRefused(ResultCode::SIZE_LIMIT_EXCEEDED));
    }
    let entries = found.entries.into_iter();
    Ok(entries
        .filter_map(|entry| Some((reader.external_id(&entry).ok()?, entry.dn)))
        .collect())
}

/// The filter that finds the entries with these ids.
pub(super) fn any_of(ids: &[ExternalId]) -> String {
    Filter::or(ids.iter().map(ExternalId::filter).collect()).to_string()
}
