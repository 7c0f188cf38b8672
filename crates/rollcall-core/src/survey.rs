//! What a check sees in all the entries that a user sync would take: how many have what, and whatever a run would raise
//! as an issue about them.

mod fields;
mod ids;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chrono::{DateTime, Utc};

use crate::check::{Stage, StageKind, StageResult};
use crate::dialect::Dialect;
use crate::entry::Entry;
use crate::external_id::{ExternalId, ExternalIdProblem, IdKind};
use crate::id_choice::{IdKindsInUse, IdTally, choose};
use crate::identifier::normalize;
use crate::issue::{Issue, IssueKind};
use crate::person::Nobody;
use crate::reader::EntryReader;
use crate::role::RoleFinding;
use crate::schema::Schema;
use crate::text_form::text_form;
use crate::user_sync::Search;

/// The entries of all searches, each once. It holds the ids, logins and addresses of all of them, so whoever feeds it
/// stops somewhere.
pub struct Survey {
    reader: EntryReader,
    /// The attributes that were asked for, without options.
    asked: BTreeSet<String>,
    now: DateTime<Utc>,
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
    issues: BTreeMap<(IssueKind, Option<String>), (u64, Issue)>,
    claims: HashMap<String, Vec<Claim>>,
}

#[derive(Default)]
struct OfSearch {
    people: u64,
    nobodies: BTreeMap<Nobody, u64>,
}

/// An entry that asks for a login or an e-mail address.
struct Claim {
    dn: String,
    is_login: bool,
}

/// Claims on one identifier that are kept.
const MAX_CLAIMS: usize = 3;
/// Strange names that are kept.
const MAX_STRANGERS: usize = 100;

impl Survey {
    /// Of entries that were asked for with the reader's attributes. The reader's kinds of ids are those that may be
    /// chosen from.
    pub fn new(reader: EntryReader, now: DateTime<Utc>) -> Self {
        let base = |name: &String| name.split(';').next().unwrap_or_default().to_owned();
        Self {
            asked: reader.attributes().iter().map(base).collect(),
            reader,
            now,
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
            issues: BTreeMap::new(),
            claims: HashMap::new(),
        }
    }

    /// Takes in an entry that a search, by its place in the list, has found.
    pub fn see(&mut self, search: usize, entry: &Entry) {
        let missing = (search + 1).saturating_sub(self.by_search.len());
        self.by_search.extend((0..missing).map(|_| OfSearch::default()));
        if let Some(what) = self.reader.nobody(entry) {
            *self.by_search[search].nobodies.entry(what).or_default() += 1;
            return;
        }
        self.by_search[search].people += 1;
        if !self.seen.insert(entry.dn.clone()) {
            return;
        }
        self.tally.see(self.reader.id_kinds(), entry);
        self.see_ids(entry);
        self.see_fields(entry);
        self.read(entry);
    }

    /// The kind of id that a run would take for the sync.
    pub fn id_kind(&self, in_use: &IdKindsInUse) -> Option<IdKind> {
        choose(self.reader.id_kinds(), in_use, &self.tally)
    }

    /// Attributes that no entry has although there are values under names that nobody asked for, and an entry with
    /// such: where the schema is not known, the server may answer by another name.
    pub fn unanswered(&self) -> Option<(Vec<String>, &str)> {
        let (_, dn) = self.strangers.first_key_value()?;
        let mapped = self.reader.mapping().attributes().into_iter();
        let unanswered: Vec<String> = mapped.filter(|name| self.with(name) == 0).collect();
        (!unanswered.is_empty()).then_some((unanswered, dn))
    }

    /// The stages about the entries. `kind` is that of the ids; `answered` has the names by which the server answers
    /// for those that were asked for, if it does so unknown to the schema.
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
        stages.extend(self.issue_stages());
        stages.extend(self.claim_stage());
        stages
    }

    /// What a run would say of this entry because of others: who else asks for its login or address. An address never
    /// stands against a login; and whoever does not get the login is not taken, so that nothing is said of the address.
    pub fn rivalries(&self, dn: &str) -> Vec<Issue> {
        let mut rivalries: Vec<(bool, Issue)> = self
            .rivals()
            .filter_map(|(value, claims)| {
                let is_login = claims.iter().any(|claim| claim.dn == dn && claim.is_login);
                claims.iter().find(|claim| claim.dn == dn)?;
                let others: BTreeSet<&str> = claims
                    .iter()
                    .filter(|claim| claim.dn != dn && (claim.is_login || !is_login))
                    .map(|claim| claim.dn.as_str())
                    .collect();
                if others.is_empty() {
                    return None;
                }
                let others: Vec<&str> = others.into_iter().collect();
                let message = format!("this is asked for by another entry too: {}", others.join("; "));
                let issue = Issue::new(IssueKind::DuplicateInDirectory, dn, message);
                Some((is_login, issue.about("", value)))
            })
            .collect();
        let without_login = rivalries.iter().any(|(is_login, _)| *is_login);
        rivalries.retain(|(is_login, _)| *is_login || !without_login);
        let mut rivalries: Vec<Issue> = rivalries.into_iter().map(|(_, issue)| issue).collect();
        rivalries.sort_by(|a, b| a.value.cmp(&b.value));
        rivalries
    }

    fn with(&self, attribute: &str) -> u64 {
        self.with_attribute.get(attribute).copied().unwrap_or(0)
    }

    /// What a run would make of it.
    fn read(&mut self, entry: &Entry) {
        // Which id it has matters to nothing that is counted here.
        let Ok(id) = ExternalId::from_bytes(IdKind::EntryUuid, &[0; 16]) else {
            return;
        };
        let reading = self.reader.read(id, entry, self.now);
        let issues = match reading.for_new(&RoleFinding::certain("")) {
            Ok(judged) => judged.issues,
            Err(issues) => issues,
        };
        issues.into_iter().for_each(|issue| self.note(issue));
        if reading.is_enabled() {
            for (offer, is_login) in [(&reading.offers.login, true), (&reading.offers.email, false)] {
                if let Some(value) = offer.values.first() {
                    self.claim(value, entry, is_login);
                }
            }
        }
    }

    fn note(&mut self, issue: Issue) {
        let key = (issue.kind, issue.attribute.clone());
        self.issues.entry(key).or_insert((0, issue)).0 += 1;
    }

    fn claim(&mut self, value: &str, entry: &Entry, is_login: bool) {
        let claims = self.claims.entry(normalize(value)).or_default();
        if claims.len() < MAX_CLAIMS {
            claims.push(Claim {
                dn: entry.dn.clone(),
                is_login,
            });
        }
    }

    /// Identifiers that several entries ask for.
    fn rivals(&self) -> impl Iterator<Item = (&str, &Vec<Claim>)> {
        let several = |claims: &Vec<Claim>| claims.iter().any(|claim| claim.dn != claims[0].dn);
        let rivals = self.claims.iter().filter(move |(_, claims)| several(claims));
        rivals.map(|(value, claims)| (value.as_str(), claims))
    }

    fn issue_stages(&self) -> Vec<Stage> {
        let entries = self.tally.entries();
        // The stages of the fields say these.
        let said = |kind: &IssueKind, attribute: &Option<String>| match kind {
            IssueKind::MissingRequiredField => true,
            IssueKind::UndecodableEntry => attribute.is_some(),
            _ => false,
        };
        self.issues
            .iter()
            .filter(|((kind, attribute), _)| !said(kind, attribute))
            .map(|((_, attribute), (count, first))| {
                let message = format!(
                    "{count} of {}: {}; one is {}.",
                    entries_of(entries),
                    first.message,
                    first.dn
                );
                let subject = attribute.clone().unwrap_or_default();
                stage(
                    StageKind::FieldMappings,
                    subject,
                    StageResult::Warn,
                    message,
                    first.hint(),
                )
            })
            .collect()
    }

    fn claim_stage(&self) -> Option<Stage> {
        let mut rivals: Vec<_> = self.rivals().collect();
        rivals.sort_unstable_by_key(|(value, _)| *value);
        let (value, claims) = rivals.first()?;
        let dns: BTreeSet<&str> = claims.iter().map(|claim| claim.dn.as_str()).collect();
        let dns: Vec<&str> = dns.into_iter().collect();
        let what = match claims.iter().any(|claim| claim.is_login) {
            true => "login",
            false => "e-mail address",
        };
        let message = format!(
            "{} asked for by several entries each, for example the {what} {value:?}: {}.",
            match rivals.len() {
                1 => "1 login or e-mail address is".to_owned(),
                count => format!("{count} logins or e-mail addresses are"),
            },
            dns.join("; ")
        );
        let hint = IssueKind::DuplicateInDirectory.hint();
        Some(stage(
            StageKind::FieldMappings,
            "",
            StageResult::Warn,
            message,
            hint,
        ))
    }
}

impl OfSearch {
    /// What is said of entries that are no people.
    fn stage(&self, search: &Search) -> Option<Stage> {
        let (what, _) = self.nobodies.first_key_value()?;
        let count: u64 = self.nobodies.values().sum();
        let (result, message) = match self.people {
            0 => (
                StageResult::Fail,
                format!(
                    "None of the {} is a person: each is {}.",
                    entries_of(count),
                    what.words()
                ),
            ),
            people => (
                StageResult::Warn,
                format!(
                    "{count} of {} are no people and are not taken: {}.",
                    entries_of(people + count),
                    what.words()
                ),
            ),
        };
        let subject = format!("{} {}", search.base_dn, search.filter);
        let hint = IssueKind::NotAPerson.hint();
        Some(stage(StageKind::SearchFilter, subject, result, message, hint))
    }
}

fn entries_of(count: u64) -> String {
    match count {
        1 => "1 entry".to_owned(),
        _ => format!("{count} entries"),
    }
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
