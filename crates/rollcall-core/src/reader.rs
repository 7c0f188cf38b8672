//! From an entry to what it asks for: its id, its account's state and its fields. Runs, refreshes and checks
//! all read entries through this one type, so that a preview shows what a login will find.

use chrono::{DateTime, Utc};

use crate::dialect::Dialect;
use crate::dn::MAX_ENTRY_DN_BYTES;
use crate::entry::Entry;
use crate::exclusions::Exclusions;
use crate::external_id::{ExternalId, ExternalIdProblem, IdKind};
use crate::id_choice;
use crate::issue::{Issue, IssueKind};
use crate::judgement::EntryReading;
use crate::mapping::Mapping;
use crate::person::{self, NotAPerson};

/// Reads the entries of one directory by one mapping.
#[derive(Clone, Debug)]
pub struct EntryReader {
    dialect: Dialect,
    id_kinds: Vec<IdKind>,
    /// Attributes of the account's state that may not be read.
    hidden: Vec<&'static str>,
    mapping: Mapping,
    /// People whose entries are passed over: those on the directory's exclusion list.
    exclusions: Exclusions,
}

impl EntryReader {
    /// A reader for a directory of this kind. `id_attribute` overrides where the dialect looks for the id.
    pub fn new(dialect: Dialect, id_attribute: Option<&str>, mapping: Mapping) -> Self {
        Self {
            dialect,
            id_kinds: id_choice::candidates(dialect, id_attribute),
            hidden: Vec::new(),
            mapping,
            exclusions: Exclusions::default(),
        }
    }

    /// The same for a sync whose people have ids of this kind: an entry without one is nobody, whatever else it has.
    pub fn with_id_kind(self, kind: IdKind) -> Self {
        Self {
            id_kinds: vec![kind],
            ..self
        }
    }

    /// The same where these attributes of the account's state may not be read: one that is absent says nothing then.
    pub fn with_hidden(self, names: &[String]) -> Self {
        let deciding = self.dialect.deciding_attributes();
        let hidden =
            deciding.filter(|attribute| names.iter().any(|name| name.eq_ignore_ascii_case(attribute)));
        Self {
            hidden: hidden.collect(),
            ..self
        }
    }

    /// The same where these people are not to be taken.
    pub fn with_exclusions(self, exclusions: Exclusions) -> Self {
        Self { exclusions, ..self }
    }

    /// The attributes of the account's state that may not be read.
    pub fn hidden(&self) -> &[&'static str] {
        &self.hidden
    }

    /// The kinds of ids that entries may have.
    pub fn id_kinds(&self) -> &[IdKind] {
        &self.id_kinds
    }

    /// The attributes to ask a server for: operational ones come only by name (RFC 4511 section 4.5.1.8).
    pub fn attributes(&self) -> Vec<String> {
        let ids = self.id_attributes();
        let class = person::ATTRIBUTE.to_lowercase();
        let states = self.dialect.state_attributes().map(str::to_lowercase);
        let mut names: Vec<String> = ids
            .into_iter()
            .chain(states)
            .chain(self.mapping.attributes())
            .chain([class])
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The attributes that may hold the id.
    pub fn id_attributes(&self) -> Vec<String> {
        self.id_kinds
            .iter()
            .map(|kind| kind.attribute().to_lowercase())
            .collect()
    }

    /// The attributes that tell who an entry is, and whether it is anybody.
    pub fn identity_attributes(&self) -> Vec<String> {
        let mut names = self.id_attributes();
        names.push(person::ATTRIBUTE.to_lowercase());
        names
    }

    /// The kind of server whose entries are read.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The mapping that fills the fields.
    pub fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    /// Why the entry is not a person; `None` if it may be one. Ask this before anything else about the entry.
    pub fn not_a_person(&self, entry: &Entry) -> Option<NotAPerson> {
        let is_excluded = || {
            let id = self.external_id(entry);
            id.is_ok_and(|id| self.exclusions.has(&id))
                .then_some(NotAPerson::Excluded)
        };
        let excluded = || (!self.exclusions.is_empty()).then(is_excluded).flatten();
        person::not_a_person(self.dialect, entry).or_else(excluded)
    }

    /// The entry's stable id.
    ///
    /// # Errors
    /// `MISSING_EXTERNAL_ID` if no id attribute has exactly one usable value; `UNDECODABLE_ENTRY` if the entry cannot be taken
    /// whatever its id is.
    pub fn external_id(&self, entry: &Entry) -> Result<ExternalId, Box<Issue>> {
        if let Some(issue) = cannot_be_taken(entry) {
            return Err(Box::new(issue));
        }
        for kind in &self.id_kinds {
            let values = entry.values(kind.attribute());
            if values.is_empty() {
                continue;
            }
            return ExternalId::from_values(kind.clone(), values)
                .map_err(|problem| unusable_id(kind, values, problem, &entry.dn));
        }
        let message = "the entry shows no attribute with a stable id";
        let wanted: Vec<&str> = self.id_kinds.iter().map(IdKind::attribute).collect();
        let wanted = wanted.join(", ");
        Err(Box::new(
            Issue::new(IssueKind::MissingExternalId, &entry.dn, message).about(&wanted, ""),
        ))
    }

    /// Reads an entry whose id is known.
    pub fn read(&self, external_id: ExternalId, entry: &Entry, now: DateTime<Utc>) -> EntryReading {
        let (state, unreadable_state) = self.dialect.read_state(entry, now, &self.hidden);
        EntryReading {
            external_id,
            dn: entry.dn.clone(),
            dn_unreadable: entry.tainted,
            status: state.status,
            unreadable_state,
            offers: self.mapping.read(entry),
        }
    }
}

/// The issue of an entry that cannot be taken. Its user does not count as absent: the DN tells whose entry it is.
fn cannot_be_taken(entry: &Entry) -> Option<Issue> {
    if let Some(attribute) = &entry.oversized {
        let message = format!(
            "the entry is so large that the server's message with it was passed over; the largest of its attributes is \
             {attribute}"
        );
        let issue = Issue::new(IssueKind::EntryTooLarge, &entry.dn, message);
        return Some(issue.about(attribute, ""));
    }
    let length = entry.dn.len();
    (length > MAX_ENTRY_DN_BYTES).then(|| {
        let message = format!(
            "the DN has {length} bytes, and at most {MAX_ENTRY_DN_BYTES} are sent with a bind, so nobody could log in as \
             this entry"
        );
        let start: String = entry.dn.chars().take(200).collect();
        Issue::new(IssueKind::EntryTooLarge, &start, message)
    })
}

/// The issue of an id attribute whose value is no id. It shows the value, since somebody has to mend that.
fn unusable_id(kind: &IdKind, values: &[Vec<u8>], problem: ExternalIdProblem, dn: &str) -> Box<Issue> {
    let mut message = problem.to_string();
    if problem == ExternalIdProblem::Malformed {
        message = format!("{message}: {}", kind.form());
    }
    let shown: Vec<String> = values
        .iter()
        .map(|value| match std::str::from_utf8(value) {
            Ok(text) if !text.is_empty() && !text.contains(char::is_control) => text.to_owned(),
            _ => format!("{} bytes", value.len()),
        })
        .collect();
    let issue = Issue::new(IssueKind::MissingExternalId, dn, message);
    Box::new(issue.about(kind.attribute(), &shown.join(", ")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeMap;

    use super::*;
    use crate::identifier::LoginPolicy;
    use crate::user_sync::tests::settings;

    fn reader(dialect: Dialect, id_attribute: Option<&str>) -> EntryReader {
        EntryReader::new(
            dialect,
            id_attribute,
            Mapping::new(&settings(), LoginPolicy::default()),
        )
    }

    fn entry(attributes: &[(&str, &[u8])]) -> Entry {
        let attributes: BTreeMap<_, _> = attributes
            .iter()
            .map(|(name, value)| ((*name).to_owned(), vec![value.to_vec()]))
            .collect();
        Entry {
            dn: "cn=ada".into(),
            attributes,
            tainted: false,
            oversized: None,
        }
    }

    const UUID: &[u8] = b"6a1f7c1e-29d5-4a7c-b17b-6a0d3a0e8f11";

    #[test]
    fn the_id_comes_from_the_first_attribute_that_the_entry_has() {
        let of = |reader: EntryReader, entry: &Entry| reader.external_id(entry).map(|id| id.kind().clone());
        let both = entry(&[("entryuuid", UUID), ("ipauniqueid", UUID)]);
        assert_eq!(
            of(reader(Dialect::Dirsrv389, None), &both),
            Ok(IdKind::IpaUniqueId)
        );
        assert_eq!(of(reader(Dialect::OpenLdap, None), &both), Ok(IdKind::EntryUuid));
        assert_eq!(
            of(reader(Dialect::OpenLdap, Some("ipaUniqueID")), &both),
            Ok(IdKind::IpaUniqueId)
        );
    }

    #[test]
    fn an_entry_without_an_id_is_an_issue() {
        for entry in [entry(&[("uid", b"ada")]), entry(&[("entryuuid", b"nonsense")])] {
            let issue = reader(Dialect::OpenLdap, None).external_id(&entry).unwrap_err();
            assert_eq!(issue.kind, IssueKind::MissingExternalId);
        }
    }

    #[test]
    fn an_id_of_another_form_is_said_to_be_one_and_not_to_be_hidden() {
        let reader = reader(Dialect::ActiveDirectory, None);
        let gil = reader.external_id(&entry(&[("objectguid", b"7c9e6679-7425-40de-944b-e07fc1f90ae7")]));
        let bytes = b"\x79\x66\x9e\x7c\x25\x74\xde\x40\x94\x4b\xe0\x7f\xc1\xf9\x0a\xe7";
        assert_eq!(gil, reader.external_id(&entry(&[("objectguid", bytes)])));
        let hal = reader.external_id(&entry(&[("objectguid", b"100")])).unwrap_err();
        assert_eq!(hal.kind, IssueKind::MissingExternalId);
        assert_eq!(hal.value.as_deref(), Some("100"));
        assert!(hal.message.contains("16 bytes, or a UUID as text"), "{hal:?}");
        assert!(
            hal.hint().contains("form") && !hal.hint().contains("read"),
            "{hal:?}"
        );
        let hidden = reader.external_id(&entry(&[("uid", b"x")])).unwrap_err();
        assert!(hidden.hint().contains("read"), "{hidden:?}");
    }

    #[test]
    fn disabled_accounts_are_told_from_locked_ones() {
        let read = |value: &[u8]| {
            let entry = entry(&[
                ("entryuuid", UUID),
                ("uid", b"ada"),
                ("pwdaccountlockedtime", value),
            ]);
            let reader = reader(Dialect::OpenLdap, None);
            let id = reader.external_id(&entry).unwrap();
            reader.read(id, &entry, DateTime::UNIX_EPOCH).is_enabled()
        };
        assert!(!read(b"000001010000Z"));
        assert!(read(b"20260101000000Z"));
    }

    #[test]
    fn ids_states_and_mapped_attributes_are_asked_for() {
        let attributes = reader(Dialect::ActiveDirectory, None).attributes();
        for name in ["objectguid", "useraccountcontrol", "uid", "objectclass"] {
            assert!(attributes.contains(&name.to_owned()), "{name}");
        }
    }
}
