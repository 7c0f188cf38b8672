//! Which attribute identifies the people of a user sync: one for all of them, so that nobody is two people.
//!
//! A server may have several (389 Directory Server with FreeIPA has three), and an entry may lack some. If each entry
//! had a choice of its own, a right that the bind account gains or loses would turn everybody into somebody else.

use std::collections::BTreeMap;

use crate::dialect::Dialect;
use crate::entry::Entry;
use crate::external_id::{ExternalId, IdKind};

/// Entries that are enough to choose by.
pub const SAMPLE: u32 = 200;

/// The kinds that may identify people, the best first: the one that the admin named, or those of the dialect.
pub fn candidates(dialect: Dialect, configured: Option<&str>) -> Vec<IdKind> {
    match configured.and_then(IdKind::of_attribute) {
        Some(kind) => vec![kind],
        None => dialect.external_id_kinds().to_vec(),
    }
}

/// The kinds of ids that are stored already.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct IdKindsInUse {
    /// The kind that most users of the user sync have.
    pub by_sync: Option<IdKind>,
    /// The kinds that users of all syncs of the directory have.
    pub by_directory: Vec<IdKind>,
}

/// How many of the entries seen have a usable id of each kind.
#[derive(Clone, Debug, Default)]
pub struct IdTally {
    entries: u64,
    with: BTreeMap<IdKind, u64>,
}

impl IdTally {
    /// Counts an entry.
    pub fn see(&mut self, candidates: &[IdKind], entry: &Entry) {
        self.entries += 1;
        for kind in candidates {
            if ExternalId::from_values(kind.clone(), entry.values(kind.attribute())).is_ok() {
                *self.with.entry(kind.clone()).or_default() += 1;
            }
        }
    }

    /// Entries seen.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Those of them that have an id of this kind.
    pub fn with(&self, kind: &IdKind) -> u64 {
        self.with.get(kind).copied().unwrap_or(0)
    }
}

/// The kind for all people of a sync. A sync with users keeps their kind. A new sync takes the first kind that all
/// entries have, where kinds of the directory's other syncs come first. If there is none, it takes the kind that most
/// entries have.
pub fn choose(candidates: &[IdKind], in_use: &IdKindsInUse, tally: &IdTally) -> Option<IdKind> {
    if let Some(own) = in_use.by_sync.as_ref().filter(|own| candidates.contains(own)) {
        return Some(own.clone());
    }
    let (used, unused): (Vec<&IdKind>, Vec<&IdKind>) = candidates
        .iter()
        .partition(|kind| in_use.by_directory.contains(kind));
    let order: Vec<&IdKind> = used.into_iter().chain(unused).collect();
    // The last of several that are equal wins, so the best must come last.
    let best = order.into_iter().rev().max_by_key(|kind| tally.with(kind));
    best.cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "6a1f7c1e-29d5-4a7c-b17b-6a0d3a0e8f11";

    fn tally(entries: &[&[&str]]) -> IdTally {
        let mut tally = IdTally::default();
        for names in entries {
            let value = |name: &str| match name {
                "nsuniqueid" => "6a1f7c1e-29d54a7c-b17b6a0d-3a0e8f11",
                _ => UUID,
            };
            let attributes = names
                .iter()
                .map(|name| ((*name).to_owned(), vec![value(name).as_bytes().to_vec()]));
            let entry = Entry {
                attributes: attributes.collect(),
                ..Entry::default()
            };
            tally.see(&candidates(Dialect::Dirsrv389, None), &entry);
        }
        tally
    }

    fn chosen(in_use: &IdKindsInUse, entries: &[&[&str]]) -> Option<IdKind> {
        choose(&candidates(Dialect::Dirsrv389, None), in_use, &tally(entries))
    }

    #[test]
    fn a_new_sync_takes_the_best_kind_that_everybody_has() {
        let none = IdKindsInUse::default();
        let both: &[&str] = &["ipauniqueid", "nsuniqueid"];
        assert_eq!(chosen(&none, &[both, both]), Some(IdKind::IpaUniqueId));
        assert_eq!(chosen(&none, &[both, &["nsuniqueid"]]), Some(IdKind::NsUniqueId));
        assert_eq!(
            chosen(&none, &[&["ipauniqueid"], &["entryuuid"], &["entryuuid"]]),
            Some(IdKind::EntryUuid)
        );
        assert_eq!(chosen(&none, &[]), Some(IdKind::IpaUniqueId));
    }

    #[test]
    fn what_the_users_of_the_sync_have_stays_whatever_the_entries_show() {
        let in_use = IdKindsInUse {
            by_sync: Some(IdKind::NsUniqueId),
            by_directory: vec![IdKind::IpaUniqueId, IdKind::NsUniqueId],
        };
        assert_eq!(chosen(&in_use, &[&["ipauniqueid"]]), Some(IdKind::NsUniqueId));
        // The setting that the admin made comes first.
        let named = candidates(Dialect::Dirsrv389, Some("entryUUID"));
        assert_eq!(
            choose(&named, &in_use, &IdTally::default()),
            Some(IdKind::EntryUuid)
        );
    }

    #[test]
    fn what_another_sync_of_the_directory_uses_is_taken_if_everybody_has_it() {
        let in_use = IdKindsInUse {
            by_sync: None,
            by_directory: vec![IdKind::NsUniqueId],
        };
        let both: &[&str] = &["ipauniqueid", "nsuniqueid"];
        assert_eq!(chosen(&in_use, &[both]), Some(IdKind::NsUniqueId));
        assert_eq!(
            chosen(&in_use, &[both, &["ipauniqueid"]]),
            Some(IdKind::IpaUniqueId)
        );
    }
}
