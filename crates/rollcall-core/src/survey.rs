//! What a check sees in all the entries that a user sync would take: how many have what. What a run would make of them is
//! for the planner to say.

mod fields;
mod ids;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::check::{Stage, StageKind, StageResult};
use crate::dialect::Dialect;
use crate::entry::Entry;
use crate::external_id::{ExternalId, ExternalIdProblem, IdKind};
use crate::id_choice::{IdKindsInUse, IdTally, choose};
use crate::issue::{Issue, IssueKind};
use crate::person::NotAPerson;
use crate::reader::EntryReader;
use crate::schema::Schema;
use crate::text_form::text_form;
use crate::user_sync::Search;
use crate::wording::counted;

/// The entries of all searches, each once. It holds the ids and DNs of all of them, so whoever feeds it
/// stops somewhere.
pub struct Survey {
    reader: EntryReader,
    /// The attributes that were asked for, without options.
    asked: BTreeSet<String>,
    seen: HashSet<String>,
    by_search: Vec<OfSearch>,
    tally: IdTally,
    ids: HashMap<ExternalId, String>,
    shared_ids: BTreeMap<IdKind, (String, String)>,
    bad_ids: BTreeMap<IdKind, Issue>,
    /// Entries that have a value, by attribute in lower case.
    with_attribute: BTreeMap<String, u64>,
    /// Entries with a value that is no text, by attribute in lower case.
    undecodable: BTreeMap<String, u64>,
    /// Entries with a value, by field.
    filled: BTreeMap<String, u64>,
    /// Names that nobody asked for, with the DN of an entry that has one.
    strangers: BTreeMap<String, String>,
}

#[derive(Default)]
struct OfSearch {
    people: u64,
    not_people: BTreeMap<NotAPerson, u64>,
}

/// Strange names that are kept.
const MAX_STRANGERS: usize = 100;

impl Survey {
    /// A survey of entries that were asked for with the reader's attributes. The sync's kind of id is chosen from the
    /// reader's kinds.
    pub fn new(reader: EntryReader) -> Self {
        let base = |name: &String| name.split(';').next().unwrap_or_default().to_owned();
        Self {
            asked: reader.attributes().iter().map(base).collect(),
            reader,
            seen: HashSet::new(),
            by_search: Vec::new(),
            tally: IdTally::default(),
            ids: HashMap::new(),
            shared_ids: BTreeMap::new(),
            bad_ids: BTreeMap::new(),
            with_attribute: BTreeMap::new(),
            undecodable: BTreeMap::new(),
            filled: BTreeMap::new(),
            strangers: BTreeMap::new(),
        }
    }

    /// Takes in an entry that a search, by its place in the list, has found.
    pub fn see(&mut self, search: usize, entry: &Entry) {
        let missing = (search + 1).saturating_sub(self.by_search.len());
        self.by_search.extend((0..missing).map(|_| OfSearch::default()));
        if let Some(what) = self.reader.not_a_person(entry) {
            *self.by_search[search].not_people.entry(what).or_default() += 1;
            return;
        }
        self.by_search[search].people += 1;
        if !self.seen.insert(entry.dn.clone()) {
            return;
        }
        self.tally.see(self.reader.id_kinds(), entry);
        self.see_ids(entry);
        self.see_fields(entry);
    }

    /// The kind of id that a run would take for the sync.
    pub fn id_kind(&self, in_use: &IdKindsInUse) -> Option<IdKind> {
        choose(self.reader.id_kinds(), in_use, &self.tally)
    }

    /// The attributes that no entry has, and the DN of an entry with values under names that nobody asked for. `None`
    /// unless there are both: then, without the schema, the server may have answered by another name.
    pub fn unanswered(&self) -> Option<(Vec<String>, &str)> {
        let (_, dn) = self.strangers.first_key_value()?;
        let mapped = self.reader.mapping().attributes().into_iter();
        let unanswered: Vec<String> = mapped.filter(|name| self.with(name) == 0).collect();
        (!unanswered.is_empty()).then_some((unanswered, dn))
    }

    /// The stages about the entries. `kind` is the kind of the ids. `answered` has the names that the server uses for
    /// the names asked for, where it does so against its schema.
    pub fn stages(
        &self,
        searches: &[Search],
        kind: Option<&IdKind>,
        schema: &Schema,
        answered: &BTreeMap<String, String>,
    ) -> Vec<Stage> {
        let mut stages: Vec<Stage> = searches
            .iter()
            .zip(&self.by_search)
            .filter_map(|(search, of)| of.stage(search))
            .collect();
        stages.extend(self.id_stages(kind, schema));
        stages.extend(self.field_stages(schema, answered));
        stages
    }

    fn with(&self, attribute: &str) -> u64 {
        self.with_attribute.get(attribute).copied().unwrap_or(0)
    }
}

impl OfSearch {
    /// What is said of entries that are no people.
    fn stage(&self, search: &Search) -> Option<Stage> {
        let (what, _) = self.not_people.first_key_value()?;
        let count: u64 = self.not_people.values().sum();
        let (result, message) = match self.people {
            0 if count == 1 => (
                StageResult::Fail,
                format!("The one entry is no person: it is {}.", what.description()),
            ),
            0 => (
                StageResult::Fail,
                format!(
                    "None of the {count} entries is a person: each is {}.",
                    what.description()
                ),
            ),
            people => (
                StageResult::Warn,
                format!(
                    "{count} of {} {} not taken: {}.",
                    entries_of(people + count),
                    if count == 1 {
                        "is no person and is"
                    } else {
                        "are no people and are"
                    },
                    what.description()
                ),
            ),
        };
        let subject = format!("{} {}", search.base_dn, search.filter);
        let hint = IssueKind::NotAPerson.hint();
        Some(stage(StageKind::SearchFilter, subject, result, message, hint))
    }
}

fn entries_of(count: u64) -> String {
    counted(count, "entry", "entries")
}

fn stage(
    kind: StageKind,
    subject: impl Into<String>,
    result: StageResult,
    message: impl Into<String>,
    hint: impl Into<String>,
) -> Stage {
    Stage {
        kind,
        subject: subject.into(),
        result,
        duration: std::time::Duration::ZERO,
        message: message.into(),
        hint: hint.into(),
    }
}

#[cfg(test)]
mod tests;
