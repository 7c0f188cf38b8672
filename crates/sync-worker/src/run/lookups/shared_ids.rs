//! Ids that a pull met under two DNs. An entry that was moved during the pull is one person. Two entries with one id
//! are not taken: with an id attribute that a tenant chose badly, or a broken server, the id does not tell who is who.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, Utc};
use rollcall_core::error::{Error, Reason};
use rollcall_core::external_id::ExternalId;
use rollcall_core::issue::{Issue, IssueKind};
use rollcall_core::judgement::EntryReading;
use rollcall_core::plan::Change;
use rollcall_core::planner::Planner;
use rollcall_core::user::StateReason;
use rollcall_store::Store;

use super::absences::{BATCH_IDS, find_entries};
use super::known::Asking;
use crate::run::source::Source;

/// If there are more of them, the attribute is no id.
const MAX_DISPUTES: usize = 1000;
/// Entries of one id that are kept.
const MAX_ENTRIES: usize = 16;
/// Ids asked for at a time. Few enough that each may belong to several entries.
const BATCH: usize = BATCH_IDS / 2;

/// Ids that were met under two DNs, with the later entries.
#[derive(Debug, Default)]
pub(crate) struct Disputes(HashMap<ExternalId, Vec<EntryReading>>);

/// Ids that several entries have.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// The ids, each with the state that takes access away, if one of its entries has such a state.
    pub(crate) states: HashMap<ExternalId, Option<StateReason>>,
    pub(crate) issues: Vec<Issue>,
}

impl Disputes {
    /// A single shared id, without any entry.
    pub(crate) fn of(id: ExternalId) -> Self {
        Self(HashMap::from([(id, Vec::new())]))
    }

    /// False if this very entry came before: several searches may find it.
    ///
    /// # Errors
    /// `DIRECTORY_MISCONFIGURED` if there are too many.
    pub(crate) fn note(&mut self, reading: EntryReading) -> Result<bool, Error> {
        let entries = self.0.entry(reading.external_id.clone()).or_default();
        let is_new = entries.iter().all(|entry| entry.dn != reading.dn);
        if is_new && entries.len() < MAX_ENTRIES {
            entries.push(reading);
        }
        if self.0.len() <= MAX_DISPUTES {
            return Ok(is_new);
        }
        let message = format!(
            "more than {MAX_DISPUTES} ids belong to several entries each: set external_id_attribute to an attribute \
             whose values are unique"
        );
        Err(Error::new(Reason::DirectoryMisconfigured, message))
    }

    /// Asks the directory which of the ids several entries have. Ids about which it does not answer count as shared.
    pub(crate) async fn shared(self, source: &Source, now: DateTime<Utc>) -> Shared {
        let mut disputed: Vec<(ExternalId, Vec<EntryReading>)> = self.0.into_iter().collect();
        disputed.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let mut shared = Shared::default();
        for batch in disputed.chunks(BATCH) {
            let ids: Vec<ExternalId> = batch.iter().map(|(id, _)| id.clone()).collect();
            let attributes = source.reader.attributes();
            let found = find_entries(source, &ids, &attributes).await;
            let mut entries: HashMap<ExternalId, BTreeMap<String, EntryReading>> = HashMap::new();
            for (id, entry) in found.unwrap_or_default() {
                let reading = source.reader.read(id.clone(), &entry, now);
                entries.entry(id).or_default().insert(entry.dn, reading);
            }
            for (id, met) in batch {
                let mut found = entries.remove(id).unwrap_or_default();
                if found.len() == 1 {
                    continue;
                }
                if found.is_empty() {
                    found.extend(met.iter().map(|reading| (reading.dn.clone(), reading.clone())));
                }
                shared.issues.extend(found.keys().map(|dn| {
                    let other = found.keys().find(|other| *other != dn);
                    issue(id, dn, other.map(String::as_str))
                }));
                let stated = found.values().chain(met).filter_map(EntryReading::stated);
                let strictest = stated.filter_map(|(_, reason)| reason).min();
                shared.states.insert(id.clone(), strictest);
            }
        }
        shared
    }
}

impl Shared {
    /// Takes the users with these ids out of the planner after their changes were withdrawn. The changes that remain
    /// take access away, where one of the entries says so.
    pub(crate) async fn deactivations(
        &self,
        planner: &mut Planner<'_>,
        withdrawn: &[Change],
        store: &Store,
        asking: Asking<'_>,
    ) -> Result<Vec<Change>, Error> {
        let all: Vec<ExternalId> = self.states.keys().cloned().collect();
        let users = store
            .users_by_external_ids(asking.tenant, asking.directory, &all)
            .await?;
        let known = users.iter().filter_map(|user| user.origin.as_ref());
        let known: HashSet<&ExternalId> = known.map(|origin| &origin.external_id).collect();
        let new: Vec<&ExternalId> = all.iter().filter(|id| !known.contains(id)).collect();
        planner.withdraw(&self.ids(), new.len() as u64, withdrawn);
        let deactivations = users.iter().filter_map(|user| {
            let id = &user.origin.as_ref()?.external_id;
            planner.deactivate(user, (*self.states.get(id)?)?)
        });
        Ok(deactivations.collect())
    }

    /// Replaces whatever else was said about these entries by their issues: none of the entries was taken.
    pub(crate) fn replace(self, issues: &mut Vec<Issue>) {
        let dns: HashSet<&str> = self.issues.iter().map(|issue| issue.dn.as_str()).collect();
        issues.retain(|issue| !dns.contains(issue.dn.as_str()));
        issues.extend(self.issues);
    }

    /// The ids.
    pub(crate) fn ids(&self) -> HashSet<ExternalId> {
        self.states.keys().cloned().collect()
    }
}

/// The issue of an entry whose id others have too; one of them is at `other`.
fn issue(id: &ExternalId, dn: &str, other: Option<&str>) -> Issue {
    let message = "several entries have this id, so nobody can tell which of them is the person: none of them was taken, and \
                   a user who has the id stays as it was, but for access that one of them takes away";
    let mut issue = Issue::new(IssueKind::DuplicateInDirectory, dn, message);
    issue.other_dn = other.map(str::to_owned);
    issue.about(id.kind().attribute(), &id.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rollcall_core::dialect::AccountStatus;
    use rollcall_core::external_id::IdKind;
    use rollcall_core::mapping::Offers;

    use super::*;

    #[test]
    fn an_attribute_with_too_many_shared_values_is_no_id() {
        let reading = |number: usize| EntryReading {
            external_id: ExternalId::from_bytes(IdKind::EntryUuid, &(number as u128).to_be_bytes()).unwrap(),
            dn: "cn=second".to_owned(),
            dn_unreadable: false,
            status: AccountStatus::Enabled,
            unreadable_state: None,
            offers: Offers::default(),
        };
        let mut disputes = Disputes::default();
        for number in 0..MAX_DISPUTES {
            disputes.note(reading(number)).unwrap();
            disputes.note(reading(number)).unwrap();
        }
        let error = disputes.note(reading(MAX_DISPUTES)).unwrap_err();
        assert_eq!(error.reason, Reason::DirectoryMisconfigured);
    }
}
