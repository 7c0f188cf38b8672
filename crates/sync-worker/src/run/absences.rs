//! Confirms absences: that an entry did not come from a search does not prove that its person has left.

use std::collections::{HashMap, HashSet};

use rollcall_core::entry::Entry;
use rollcall_core::external_id::{ExternalId, IdKind};
use rollcall_core::filter::Filter;
use rollcall_core::id::UserId;
use rollcall_core::person;
use rollcall_core::user::{StateReason, User};
use rollcall_core::user_sync::{Search, SearchScope};
use rollcall_ldap::{LdapError, ResultCode};
use tokio::time::Instant;

use super::pull::canonical;
use super::source::Source;

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
    source: &Source,
    searches: &[Search],
    users: &[User],
    canary: Option<&ExternalId>,
) -> Result<HashMap<UserId, Absence>, LdapError> {
    let ids: Vec<ExternalId> = users
        .iter()
        .filter_map(|user| Some(user.origin.as_ref()?.external_id.clone()))
        .collect();
    let matching = matching(source, searches, &ids).await?;
    let wanted: Vec<ExternalId> = ids.iter().chain(canary).cloned().collect();
    let existing = find_anywhere(source, &wanted).await?;
    let existing: HashSet<ExternalId> = existing.into_iter().map(|(id, _)| id).collect();
    let readable = canary.is_none_or(|canary| existing.contains(canary));
    let judge = |id: &ExternalId| {
        if matching.contains(id) {
            Absence::Present
        } else if existing.contains(id) {
            Absence::Removed(StateReason::OutOfScope)
        } else if readable && !source.contexts.is_empty() {
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

/// Which of these ids, at most [`BATCH_IDS`], the searches find.
pub(super) async fn matching(
    source: &Source,
    searches: &[Search],
    ids: &[ExternalId],
) -> Result<HashSet<ExternalId>, LdapError> {
    let mut matching = HashSet::new();
    for search in searches {
        let filter = format!("(&{}{})", canonical(&search.filter), any_of(ids));
        let found = find(source, &search.base_dn, search.scope, &filter, ids, &[]).await?;
        matching.extend(found.into_iter().map(|(id, _)| id));
    }
    Ok(matching)
}

/// The entries with these ids, wherever they are, with their DNs.
pub(super) async fn find_anywhere(
    source: &Source,
    ids: &[ExternalId],
) -> Result<Vec<(ExternalId, String)>, LdapError> {
    let found = find_entries(source, ids, &[]).await?;
    Ok(found.into_iter().map(|(id, entry)| (id, entry.dn)).collect())
}

/// The entries with these ids, wherever they are, with these attributes.
pub(super) async fn find_entries(
    source: &Source,
    ids: &[ExternalId],
    attributes: &[String],
) -> Result<Vec<(ExternalId, Entry)>, LdapError> {
    let mut found = Vec::new();
    for context in &source.contexts {
        found.extend(
            find(
                source,
                context,
                SearchScope::Subtree,
                &any_of(ids),
                ids,
                attributes,
            )
            .await?,
        );
    }
    Ok(found)
}

async fn find(
    source: &Source,
    base_dn: &str,
    scope: SearchScope,
    filter: &str,
    ids: &[ExternalId],
    attributes: &[String],
) -> Result<Vec<(ExternalId, Entry)>, LdapError> {
    let limit = 2 * BATCH_IDS as u32;
    let deadline = Instant::now() + source.timeout;
    // People whom an earlier version took by another of the server's own ids are there by that one. Where an admin names
    // an attribute, people are who they are by that.
    let own = source.reader.dialect().external_id_kinds();
    let chosen = source.reader.id_kinds();
    let counts = |kind: &&IdKind| {
        chosen.contains(kind) || (own.contains(kind) && chosen.iter().all(|chosen| own.contains(chosen)))
    };
    let mut kinds: Vec<&IdKind> = ids.iter().map(ExternalId::kind).filter(counts).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let mut attributes = attributes.to_vec();
    attributes.extend(kinds.iter().map(|kind| kind.attribute().to_lowercase()));
    attributes.push(person::ATTRIBUTE.to_lowercase());
    attributes.sort_unstable();
    attributes.dedup();
    let found = source
        .ldap
        .find(base_dn, scope, filter, &attributes, limit, deadline)
        .await?;
    if found.more {
        return Err(LdapError::SearchRefused(ResultCode::SIZE_LIMIT_EXCEEDED));
    }
    let is_person = |entry: &Entry| source.reader.nobody(entry).is_none();
    let mut people = Vec::new();
    for entry in found.entries.into_iter().filter(is_person) {
        let id =
            |kind: &&IdKind| ExternalId::from_values((*kind).clone(), entry.values(kind.attribute())).ok();
        let id = kinds.iter().filter_map(id).find(|id| ids.contains(id));
        people.extend(id.map(|id| (id, entry)));
    }
    Ok(people)
}

/// The filter that finds the entries with these ids.
pub(super) fn any_of(ids: &[ExternalId]) -> String {
    Filter::or(ids.iter().map(ExternalId::filter).collect()).to_string()
}
