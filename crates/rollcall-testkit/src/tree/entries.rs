//! The tree itself: entries, what is hidden of them, and how a test edits them.

use std::collections::{BTreeMap, BTreeSet};

use super::dn;
use super::matching::{Values, folded, matches};
use super::schema::{self, KNOWN, OPERATIONAL};
use crate::scripted::filter::Filter;

/// An entry: its name, its values by attribute, and a password if somebody can bind as it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TreeEntry {
    /// The distinguished name, as it is shown.
    pub dn: String,
    /// Values by attribute, in the order in which they are shown. Operational ones too; `memberOf` is worked out.
    pub attributes: BTreeMap<String, Vec<Vec<u8>>>,
    /// What a simple bind must bring.
    pub password: Option<String>,
}

/// Entries by name. Whatever the test does with it, clients see from the next request on.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    /// In the order in which they were added.
    entries: Vec<TreeEntry>,
    hidden: BTreeSet<Vec<String>>,
    unreadable: BTreeSet<String>,
    /// The time that accounts expire by, as GeneralizedTime.
    pub(super) now: String,
    /// Which server it looks like.
    pub(super) flavour: Flavour,
    /// Whether clients may read which types there are.
    pub(super) publishes_schema: bool,
}

/// Which server a tree looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Flavour {
    /// OpenLDAP: `entryUUID`, and the state in `pwdAccountLockedTime` and the like, which it enforces without a word.
    #[default]
    OpenLdap,
    /// Active Directory: `objectGUID`, and the state in `userAccountControl` and `accountExpires`. Of an account that may
    /// not log in it says so once the password is right. It follows groups within groups.
    ActiveDirectory,
}

impl TreeEntry {
    /// An entry of this name with these values.
    pub fn new(dn: impl Into<String>, attributes: &[(&str, &str)]) -> Self {
        let mut entry = Self {
            dn: dn.into(),
            ..Self::default()
        };
        for (name, value) in attributes {
            entry.values_mut(name).push(value.as_bytes().to_vec());
        }
        entry
    }

    /// The values of an attribute, whatever the case of its name.
    pub fn values(&self, attribute: &str) -> &[Vec<u8>] {
        let found = self.attributes.iter();
        let mut found = found.filter(|(name, _)| name.eq_ignore_ascii_case(attribute));
        found.next().map_or(&[], |(_, values)| values)
    }

    /// The first value of an attribute as text.
    pub fn text(&self, attribute: &str) -> Option<&str> {
        std::str::from_utf8(self.values(attribute).first()?).ok()
    }

    /// Replaces the values of an attribute; none removes it.
    pub fn set<V: AsRef<[u8]>>(&mut self, attribute: &str, values: &[V]) {
        self.attributes
            .retain(|name, _| !name.eq_ignore_ascii_case(attribute));
        if !values.is_empty() {
            let values = values.iter().map(|value| value.as_ref().to_vec());
            self.attributes.insert(attribute.to_owned(), values.collect());
        }
    }

    fn values_mut(&mut self, attribute: &str) -> &mut Vec<Vec<u8>> {
        self.attributes.entry(attribute.to_owned()).or_default()
    }
}

impl Tree {
    /// Adds an entry. Its RDN becomes a value of it.
    pub fn add(&mut self, mut entry: TreeEntry) {
        add_rdn(&mut entry);
        self.entries.push(entry);
    }

    /// Adds an entry with the next entryUUID, as which one binds with this password.
    pub fn add_numbered(&mut self, dn: String, attributes: &[(&str, &str)], password: &str) {
        let number = self.entries.len() + 1;
        let mut entry = TreeEntry::new(dn, attributes);
        entry.set("entryUUID", &[format!("00000000-0000-4000-8000-{number:012x}")]);
        entry.password = Some(password.to_owned());
        self.add(entry);
    }

    /// Every entry, hidden ones too.
    pub fn entries(&self) -> &[TreeEntry] {
        &self.entries
    }

    /// The entry of this name. Active Directory takes `<GUID=...>` for a name too (MS-ADTS 3.1.1.3.1.2.4).
    pub fn entry(&self, name: &str) -> Option<&TreeEntry> {
        let guid = name
            .strip_prefix("<GUID=")
            .and_then(|rest| rest.strip_suffix('>'));
        if let (Flavour::ActiveDirectory, Some(guid)) = (self.flavour, guid) {
            let hex = |bytes: &Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            let has =
                |entry: &&TreeEntry| entry.values("objectGUID").first().map(hex).as_deref() == Some(guid);
            return self.entries.iter().find(has);
        }
        let name = dn::normal(name);
        self.entries.iter().find(|entry| dn::normal(&entry.dn) == name)
    }

    /// The entry of this name, to change it.
    pub fn entry_mut(&mut self, name: &str) -> Option<&mut TreeEntry> {
        let name = dn::normal(name);
        self.entries
            .iter_mut()
            .find(|entry| dn::normal(&entry.dn) == name)
    }

    /// Removes an entry, and its name from all groups.
    pub fn delete(&mut self, name: &str) {
        let gone = dn::normal(name);
        self.entries.retain(|entry| dn::normal(&entry.dn) != gone);
        self.rename_members(name, None);
    }

    /// Gives an entry without children another name; its old RDN is a value no more. Groups follow.
    pub fn rename(&mut self, from: &str, to: &str) {
        let Some(entry) = self.entry_mut(from) else { return };
        if let Some((name, value)) = dn::rdn(&entry.dn) {
            let values = entry.values(&name).iter();
            let kept: Vec<_> = values
                .filter(|kept| folded(&name, kept) != folded(&name, value.as_bytes()))
                .cloned()
                .collect();
            entry.set(&name, &kept);
        }
        entry.dn = to.to_owned();
        add_rdn(entry);
        self.rename_members(from, Some(to));
        if self.hidden.remove(&dn::normal(from)) {
            self.hidden.insert(dn::normal(to));
        }
    }

    /// Shows or hides an entry.
    pub fn show_entry(&mut self, name: &str, shown: bool) {
        let name = dn::normal(name);
        if shown {
            self.hidden.remove(&name);
        } else {
            self.hidden.insert(name);
        }
    }

    /// Whether an entry is shown.
    pub fn is_shown(&self, name: &str) -> bool {
        !self.hidden.contains(&dn::normal(name))
    }

    /// Lets an attribute be read, or be as if it were absent everywhere.
    pub fn show_attribute(&mut self, attribute: &str, shown: bool) {
        let name = attribute.to_lowercase();
        if shown {
            self.unreadable.remove(&name);
        } else {
            self.unreadable.insert(name);
        }
    }

    /// Whether an attribute may be read.
    pub fn is_readable(&self, attribute: &str) -> bool {
        !self.unreadable.contains(&attribute.to_lowercase())
    }

    /// Lets clients read from now on which types and classes there are. By that they can find out which attributes they
    /// may not read: a filter on one of them is Undefined.
    pub fn publish_schema(&mut self) {
        self.publishes_schema = true;
    }

    /// Looks like this server from now on.
    pub fn imitate(&mut self, flavour: Flavour) {
        self.flavour = flavour;
    }

    /// Which server it looks like.
    pub(crate) fn flavour(&self) -> Flavour {
        self.flavour
    }

    /// The time that accounts expire by.
    pub fn set_time(&mut self, generalized: &str) {
        self.now = generalized.to_owned();
    }

    /// What a search finds, in the order of the tree, with the attributes that were asked for; `None` if the base is
    /// not there.
    pub fn search(
        &self,
        base: &str,
        scope: i64,
        filter: &Filter,
        attributes: &[String],
    ) -> Option<Vec<TreeEntry>> {
        if self.publishes_schema && scope == 0 && dn::normal(base) == dn::normal(schema::DN) {
            return Some(vec![self.subschema()]);
        }
        let base = match self.entry(base) {
            Some(entry) => dn::normal(&entry.dn),
            None => dn::normal(base),
        };
        let seen = |entry: &&TreeEntry| !self.hidden.contains(&dn::normal(&entry.dn));
        let mut seen_entries = self.entries.iter().filter(seen);
        if !base.is_empty() && !seen_entries.any(|entry| dn::normal(&entry.dn) == base) {
            return None;
        }
        let found = self.entries.iter().filter(seen).filter(|entry| {
            let name = dn::normal(&entry.dn);
            let depth = name.len().checked_sub(base.len());
            let below = depth.is_some() && name.ends_with(&base);
            below
                && match scope {
                    0 => depth == Some(0),
                    1 => depth == Some(1),
                    _ => true,
                }
        });
        let found = found.filter(|entry| matches(filter, &Seen { tree: self, entry }) == Some(true));
        Some(found.map(|entry| self.selected(entry, attributes)).collect())
    }

    /// Whether somebody can bind so: 0, or 49 for whatever is wrong, as OpenLDAP has it; and what the server says to it.
    pub(super) fn bind(&self, name: &str, password: &[u8]) -> (i64, &'static str) {
        let right = |entry: &&TreeEntry| entry.password.as_ref().map(String::as_bytes) == Some(password);
        let entry = self.entry(name).filter(right);
        match (self.flavour, entry) {
            (Flavour::OpenLdap, Some(entry)) if self.is_open(entry) => (0, ""),
            (Flavour::OpenLdap, _) => (49, ""),
            (Flavour::ActiveDirectory, None) => (
                49,
                "80090308: LdapErr: DSID-0C09044E, comment: AcceptSecurityContext error, data 52e, v4563",
            ),
            (Flavour::ActiveDirectory, Some(entry)) => match entry.text("userAccountControl") {
                Some("514") => (
                    49,
                    "80090308: LdapErr: DSID-0C09044E, comment: AcceptSecurityContext error, data 533, v4563",
                ),
                _ if self.has_expired(entry) => (
                    49,
                    "80090308: LdapErr: DSID-0C09044E, comment: AcceptSecurityContext error, data 701, v4563",
                ),
                _ => (0, ""),
            },
        }
    }

    fn is_open(&self, entry: &TreeEntry) -> bool {
        let mut ends = entry.text("pwdEndTime").into_iter();
        entry.values("pwdAccountLockedTime").is_empty() && !ends.any(|end| end <= self.now.as_str())
    }

    /// Whether `accountExpires`, which counts from 1601, is past; a test takes one that is far from its own time.
    fn has_expired(&self, entry: &TreeEntry) -> bool {
        let ticks = entry
            .text("accountExpires")
            .and_then(|ticks| ticks.parse::<i64>().ok());
        let year: i64 = self
            .now
            .get(..4)
            .and_then(|year| year.parse().ok())
            .unwrap_or(9999);
        let begins = (year - 1601) * 365 * 24 * 3_600 * 10_000_000;
        ticks.is_some_and(|ticks| ticks > 0 && ticks < begins)
    }

    fn selected(&self, entry: &TreeEntry, wanted: &[String]) -> TreeEntry {
        let asked = |name: &str| wanted.iter().any(|wanted| wanted.eq_ignore_ascii_case(name));
        let names = entry.attributes.keys().map(String::as_str).chain(["memberOf"]);
        let mut shown = TreeEntry {
            dn: entry.dn.clone(),
            ..TreeEntry::default()
        };
        for name in names {
            let operational = OPERATIONAL.contains(&name.to_lowercase().as_str());
            let all = if operational {
                asked("+")
            } else {
                wanted.is_empty() || asked("*")
            };
            let values = Seen { tree: self, entry }.values(name).unwrap_or_default();
            if (all || asked(name)) && !values.is_empty() {
                shown.attributes.insert(name.to_owned(), values);
            }
        }
        shown
    }

    fn subschema(&self) -> TreeEntry {
        let used = self.entries.iter().flat_map(|entry| entry.attributes.keys());
        let classes = self.entries.iter().flat_map(|entry| entry.values("objectClass"));
        let mut entry = TreeEntry::new(schema::DN, &[("objectClass", "subschema"), ("cn", "Subschema")]);
        entry.set("attributeTypes", &schema::attribute_types(used));
        entry.set("objectClasses", &schema::object_classes(classes));
        entry
    }

    fn rename_members(&mut self, from: &str, to: Option<&str>) {
        let from = dn::normal(from);
        for entry in &mut self.entries {
            for name in ["member", "uniqueMember"] {
                let values = entry.values(name).to_vec();
                let is_it = |value: &Vec<u8>| dn::normal(&String::from_utf8_lossy(value)) == from;
                if values.iter().any(is_it) {
                    let kept = values.iter().filter_map(|value| {
                        if is_it(value) {
                            to.map(Into::into)
                        } else {
                            Some(value.clone())
                        }
                    });
                    let kept: Vec<Vec<u8>> = kept.collect();
                    entry.set(name, &kept);
                }
            }
        }
    }

    fn knows(&self, attribute: &str) -> bool {
        let name = attribute.to_lowercase();
        KNOWN.contains(&name.as_str())
            || OPERATIONAL.contains(&name.as_str())
            || self.entries.iter().any(|entry| !entry.values(&name).is_empty())
    }
}

/// An entry as a client sees it.
struct Seen<'a> {
    tree: &'a Tree,
    entry: &'a TreeEntry,
}

impl Values for Seen<'_> {
    fn values(&self, attribute: &str) -> Option<Vec<Vec<u8>>> {
        if !self.tree.is_readable(attribute) || !self.tree.knows(attribute) {
            return None;
        }
        if !attribute.eq_ignore_ascii_case("memberOf") {
            return Some(self.entry.values(attribute).to_vec());
        }
        let name = dn::normal(&self.entry.dn);
        let groups = self.tree.entries.iter().filter(|group| {
            let mut members = group.values("member").iter();
            members.any(|member| dn::normal(&String::from_utf8_lossy(member)) == name)
        });
        Some(groups.map(|group| group.dn.clone().into_bytes()).collect())
    }

    fn is_in_chain(&self, group: &[u8]) -> Option<bool> {
        if self.tree.flavour != Flavour::ActiveDirectory {
            return None;
        }
        let wanted = dn::normal(&String::from_utf8_lossy(group));
        let mut above = vec![dn::normal(&self.entry.dn)];
        let mut next = 0;
        while let Some(name) = above.get(next).cloned() {
            next += 1;
            for group in &self.tree.entries {
                let mut members = group.values("member").iter();
                let is_member = members.any(|member| dn::normal(&String::from_utf8_lossy(member)) == name);
                let group = dn::normal(&group.dn);
                if is_member && group == wanted && self.tree.is_readable("member") {
                    return Some(true);
                }
                if is_member && !above.contains(&group) {
                    above.push(group);
                }
            }
        }
        Some(false)
    }
}

fn add_rdn(entry: &mut TreeEntry) {
    let Some((name, value)) = dn::rdn(&entry.dn) else {
        return;
    };
    let key = folded(&name, value.as_bytes());
    if !entry
        .values(&name)
        .iter()
        .any(|value| folded(&name, value) == key)
    {
        let mut values = entry.values(&name).to_vec();
        values.insert(0, value.into_bytes());
        entry.set(&name, &values);
    }
}
