//! Confirms absences: an entry that no search returned does not prove that its person has left.

use std::collections::{HashMap, HashSet};

use rollcall_core::digests::{DigestSet, Digests};
use rollcall_core::dn::{Dn, parent_of};
use rollcall_core::entry::Entry;
use rollcall_core::error::Error;
use rollcall_core::external_id::{ExternalId, IdKind};
use rollcall_core::filter::Filter;
use rollcall_core::id::UserId;
use rollcall_core::issue::{Issue, IssueKind};
use rollcall_core::person;
use rollcall_core::user::{StateReason, User};
use rollcall_core::user_sync::{Search, SearchScope};
use rollcall_ldap::{LdapError, ReadRequest, ResultCode};
use rollcall_service::pull::canonical;
use tokio::time::Instant;

use crate::run::source::Source;

/// Ids asked for at a time.
pub(crate) const BATCH_IDS: usize = 50;
/// So many people whom the searches find but did not return may be chance: they moved from one page to another while it
/// was read.
const MAX_PRESENT: u64 = 5;
/// The same as a share of the users: one in this many.
const MAX_PRESENT_SHARE: u64 = 1000;

/// What is known about all absences so far.
#[derive(Debug, Default)]
pub(crate) struct Confirmed {
    /// Users who have provably left the sync, and why.
    pub(crate) removals: Vec<(UserId, StateReason)>,
    /// Users who could log in and whose entries came without a usable id.
    pub(crate) excused: u64,
    /// Users whose entries are there and match after all.
    pub(crate) present: u64,
    /// Users of whom nothing can be proven.
    pub(crate) unknown: u64,
    /// The last known DN of one of them.
    pub(crate) example: String,
    /// Why the directory could not be asked about the rest.
    pub(crate) silence: Option<String>,
    /// Whether the entries above those of absent users can be read.
    parents: HashMap<String, Parent>,
}

/// Whether the entry above can be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Parent {
    /// It can, and so can its id.
    WithId,
    /// It can, but not its id.
    WithoutId,
    /// It cannot.
    Unread,
}

/// The DNs of entries whose ids cannot be used: 16 bytes each.
#[derive(Default)]
pub(crate) struct Nameless {
    digests: Digests,
    names: DigestSet,
    /// DNs that are not UTF-8, reduced to their readable characters.
    tainted: DigestSet,
}

impl Nameless {
    /// Notes an entry without a usable id. False if an entry with this DN came before.
    pub(crate) fn note(&mut self, entry: &Entry) -> bool {
        match entry.tainted {
            true => {
                self.tainted.insert(self.digest(&readable(&entry.dn)));
                // Different DNs may be reduced to the same characters.
                true
            }
            false => self.names.insert(self.digest(&entry.dn)),
        }
    }

    /// True if such an entry has this DN, however it is written.
    pub(crate) fn has(&self, dn: &str) -> bool {
        self.names.contains(self.digest(dn)) || self.tainted.contains(self.digest(&readable(dn)))
    }

    fn digest(&self, dn: &str) -> rollcall_core::digests::Digest {
        self.digests.of(&Dn::given(dn))
    }
}

/// The ASCII characters of a DN: what its UTF-8 form has in common with another encoding. In UTF-8 an umlaut is one
/// character; in the other it is one octet, which came as a question mark.
fn readable(dn: &str) -> String {
    dn.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect()
}

impl Confirmed {
    /// Why a pull that missed people who are there counts as incomplete; `None` if they may be chance.
    pub(crate) fn gap(&self, users: u64) -> Option<String> {
        let present = self.present;
        (present > MAX_PRESENT.max(users / MAX_PRESENT_SHARE))
            .then(|| format!("{present} entries that the searches did not return exist and match them"))
    }

    /// The issue of users of whom nothing can be proven; `None` if there are none.
    pub(crate) fn issue(&self) -> Option<Issue> {
        let users = match self.unknown {
            0 => return None,
            1 => "1 user was not found, and stays as before".to_owned(),
            unknown => format!("{unknown} users were not found, and stay as before"),
        };
        let message = match &self.silence {
            Some(silence) => {
                format!("{users}: their entries could not be looked for by their ids: {silence}")
            }
            None => format!(
                "{users}: neither known ids nor the entry above can be read, so that the directory may as well hide them"
            ),
        };
        Some(Issue::new(IssueKind::AbsenceUnconfirmed, &self.example, message))
    }
}

/// Confirms the absence of at most [`BATCH_IDS`] users. `canary` is an id that the pull brought: if it cannot be found
/// by id, no other absence can be proven. False if the directory does not answer.
pub(crate) async fn confirm(
    source: &Source,
    searches: &[Search],
    users: &[User],
    canary: Option<&ExternalId>,
    confirmed: &mut Confirmed,
) -> Result<bool, Error> {
    if users.is_empty() {
        return Ok(true);
    }
    match ask(source, searches, users, canary, confirmed).await {
        Ok(()) => Ok(true),
        Err(error) => {
            confirmed.silence = Some(error.to_string());
            confirmed.unknown += users.len() as u64;
            Ok(false)
        }
    }
}

async fn ask(
    source: &Source,
    searches: &[Search],
    users: &[User],
    canary: Option<&ExternalId>,
    confirmed: &mut Confirmed,
) -> Result<(), LdapError> {
    let known: Vec<(UserId, &ExternalId, &str)> = users
        .iter()
        .filter_map(|user| Some((user.id, user.origin.as_ref()?)))
        .map(|(user, origin)| (user, &origin.external_id, origin.dn.as_str()))
        .collect();
    let ids: Vec<ExternalId> = known.iter().map(|(_, id, _)| (*id).clone()).collect();
    let matching = matching(source, searches, &ids).await?;
    let wanted: Vec<ExternalId> = ids.iter().chain(canary).cloned().collect();
    let existing = find_anywhere(source, &wanted).await?;
    let existing: HashSet<ExternalId> = existing.into_iter().map(|(id, _)| id).collect();
    let mut found = Vec::with_capacity(known.len());
    for (user, id, dn) in known {
        let absence = if matching.contains(id) {
            Absence::Present
        } else if existing.contains(id) {
            Absence::Removed(StateReason::OutOfScope)
        } else {
            let above = above(source, dn, &mut confirmed.parents).await?;
            let readable = match canary {
                Some(canary) => above != Parent::Unread && existing.contains(canary),
                // The pull brought nobody. The entry above has to show that ids can be read at all.
                None => above == Parent::WithId,
            };
            match readable && !source.naming_contexts().await?.is_empty() {
                true => Absence::Removed(StateReason::Gone),
                false => Absence::Unknown,
            }
        };
        found.push((user, dn, absence));
    }
    // Counted only once the whole batch is known. If an answer is missing, the caller counts the batch as unknown.
    for (user, dn, absence) in found {
        match absence {
            Absence::Present => confirmed.present += 1,
            Absence::Removed(reason) => confirmed.removals.push((user, reason)),
            Absence::Unknown => {
                confirmed.unknown += 1;
                dn.clone_into(&mut confirmed.example);
            }
        }
    }
    Ok(())
}

/// What became of an absent entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Absence {
    /// Its entry is there and matches after all.
    Present,
    /// The person has provably left the sync.
    Removed(StateReason),
    /// Nothing can be proven.
    Unknown,
}

/// Whether the entry above can be read. If it is hidden, or gone itself, nobody can tell what is below it.
async fn above(
    source: &Source,
    dn: &str,
    parents: &mut HashMap<String, Parent>,
) -> Result<Parent, LdapError> {
    let Some(parent) = parent_of(dn) else {
        return Ok(Parent::Unread);
    };
    if let Some(known) = parents.get(parent) {
        return Ok(*known);
    }
    let request = ReadRequest {
        dn: parent.to_owned(),
        filter: "(objectClass=*)".to_owned(),
        attributes: source.reader.id_attributes(),
    };
    let read = source
        .ldap
        .read_entry(&request, Instant::now() + source.timeout)
        .await;
    let found = match read {
        Ok(Some(entry)) if source.reader.external_id(&entry).is_ok() => Parent::WithId,
        Ok(Some(_)) => Parent::WithoutId,
        Ok(None) | Err(LdapError::SearchRefused(_)) => Parent::Unread,
        Err(error) => return Err(error),
    };
    parents.insert(parent.to_owned(), found);
    Ok(found)
}

/// Which of these ids, at most [`BATCH_IDS`], the searches find.
pub(crate) async fn matching(
    source: &Source,
    searches: &[Search],
    ids: &[ExternalId],
) -> Result<HashSet<ExternalId>, LdapError> {
    let found = find_in_scope(source, searches, ids, &[]).await?;
    Ok(found.into_iter().map(|(id, _)| id).collect())
}

/// The entries with these ids, at most [`BATCH_IDS`], that the searches find, some perhaps twice.
pub(crate) async fn find_in_scope(
    source: &Source,
    searches: &[Search],
    ids: &[ExternalId],
    attributes: &[String],
) -> Result<Vec<(ExternalId, Entry)>, LdapError> {
    let mut entries = Vec::new();
    for search in searches {
        let filter = format!("(&{}{})", canonical(&search.filter), any_of(ids));
        entries.extend(find(source, &search.base_dn, search.scope, &filter, ids, attributes).await?);
    }
    Ok(entries)
}

/// The entries with these ids, wherever they are, with their DNs.
pub(crate) async fn find_anywhere(
    source: &Source,
    ids: &[ExternalId],
) -> Result<Vec<(ExternalId, String)>, LdapError> {
    let found = find_entries(source, ids, &[]).await?;
    Ok(found.into_iter().map(|(id, entry)| (id, entry.dn)).collect())
}

/// The entries with these ids, wherever they are, with these attributes.
pub(crate) async fn find_entries(
    source: &Source,
    ids: &[ExternalId],
    attributes: &[String],
) -> Result<Vec<(ExternalId, Entry)>, LdapError> {
    let mut found = Vec::new();
    for naming_context in source.naming_contexts().await?.iter() {
        found.extend(
            find(
                source,
                naming_context,
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
    // People whom an earlier release took by another of the server's own ids are there by that id. If an admin named
    // the attribute, only its id counts.
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
    let is_person = |entry: &Entry| source.reader.not_a_person(entry).is_none();
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
pub(crate) fn any_of(ids: &[ExternalId]) -> String {
    Filter::or(ids.iter().map(ExternalId::filter).collect()).to_string()
}
