//! Erasing a person: where something of them is left, and what stands there afterwards. Ids stay, and so do counts.

mod mail;
mod person;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use aho_corasick::AhoCorasick;

use crate::audit::{Actor, AskedBy};
use crate::external_id::ExternalId;
use crate::id::{DirectoryId, TenantId, UserId};
use crate::identifier::normalize;
use crate::issue::Issue;
use crate::plan::Change;
use crate::user::OtherEntry;

pub use person::Person;

/// What stands where a text was that named somebody who was erased.
pub const LEFT_OUT: &str = "left out: it named a person who was erased";

/// Users who left are kept for at least this long: a day longer than the guard looks back.
pub const MIN_ERASE_AFTER: Duration = Duration::from_secs(8 * 86_400);

/// The longest time for which users who left may be kept.
pub(crate) const MAX_ERASE_AFTER: Duration = Duration::from_secs(3_653 * 86_400);

/// Shorter texts are part of too many others.
const SHORTEST_WORD: usize = 3;

/// Takes people of one tenant out of what is kept.
pub struct Eraser {
    tenant: TenantId,
    users: HashSet<UserId>,
    entries: HashSet<(DirectoryId, ExternalId)>,
    dns: HashSet<String>,
    identifiers: HashSet<String>,
    /// Finds their names, logins, addresses and DNs in a text.
    words: AhoCorasick,
    /// The person whom each word names.
    owners: Vec<UserId>,
}

impl Eraser {
    /// An eraser of these people of a tenant; `None` if they have more names than can be looked for.
    pub fn new(tenant: &TenantId, people: &[Person]) -> Option<Self> {
        let mut owners: HashMap<&str, UserId> = HashMap::new();
        for person in people {
            let words = person.dns.iter().chain(&person.identifiers).chain(&person.names);
            let words = words.filter(|word| word.chars().count() >= SHORTEST_WORD);
            owners.extend(words.map(|word| (word.as_str(), person.user)));
        }
        let (words, owners): (Vec<&str>, Vec<UserId>) = owners.into_iter().unzip();
        let words = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .build(words)
            .ok()?;
        Some(Self {
            tenant: tenant.clone(),
            users: people.iter().map(|person| person.user).collect(),
            entries: people.iter().flat_map(|person| person.entries.clone()).collect(),
            dns: people
                .iter()
                .flat_map(|person| &person.dns)
                .map(|dn| dn.to_lowercase())
                .collect(),
            identifiers: people
                .iter()
                .flat_map(|person| &person.identifiers)
                .map(|identifier| normalize(identifier))
                .collect(),
            words,
            owners,
        })
    }

    /// One of the people, if the text names any. A name counts only as whole words.
    pub fn named_in(&self, text: &str) -> Option<UserId> {
        let is_apart = |start: usize, end: usize| {
            let before = text.get(..start).and_then(|before| before.chars().next_back());
            let after = text.get(end..).and_then(|after| after.chars().next());
            let goes_on = |c: char| c == '_' || c.is_alphanumeric();
            ![before, after].into_iter().flatten().any(goes_on)
        };
        let mut found = self.words.find_overlapping_iter(text);
        let found = found.find(|found| is_apart(found.start(), found.end()))?;
        self.owners.get(found.pattern().as_usize()).copied()
    }

    /// What stands in place of a text; `None` if it names none of the people.
    pub fn text(&self, text: &str) -> Option<String> {
        self.named_in(text).map(|_| LEFT_OUT.to_owned())
    }

    /// Whether a change of a plan is about one of the people.
    pub fn concerns(&self, change: &Change) -> bool {
        let entry = (change.origin.directory.clone(), change.origin.external_id.clone());
        self.users.contains(&change.user) || self.entries.contains(&entry)
    }

    /// Whether this is the entry of one of the people.
    pub fn is_entry_of(&self, entry: &OtherEntry) -> bool {
        self.entries.iter().any(|(_, id)| *id == entry.external_id)
    }

    /// What is left of an issue; `None` if it stays as it is. An issue about one of the people keeps its kind, field
    /// and attribute; an issue about somebody else loses what names one of the people.
    pub fn issue(&self, issue: &Issue) -> Option<Issue> {
        let is_theirs = |dn: &str| self.dns.contains(&dn.to_lowercase());
        let own = is_theirs(&issue.dn);
        let beside = issue.other_dn.as_deref().is_some_and(is_theirs);
        let asks = issue.value.as_deref().is_some_and(|value| {
            self.identifiers.contains(&normalize(value)) || self.named_in(value).is_some()
        });
        let told = own || self.named_in(&issue.message).is_some();
        if !(own || beside || asks || told) {
            return None;
        }
        let mut left = issue.clone();
        if own {
            left.dn.clear();
        }
        if own || beside {
            left.other_dn = None;
        }
        if own || asks {
            left.value = None;
        }
        if told {
            LEFT_OUT.clone_into(&mut left.message);
        }
        Some(left)
    }

    /// What is left of an actor; `None` if it stays as it is. If it is one of the people, the user's resource name
    /// takes the place of the name.
    pub fn actor(&self, actor: &Actor) -> Option<Actor> {
        let (who, why) = (self.named_in(&actor.name), self.named_in(&actor.reason));
        if who.is_none() && why.is_none() {
            return None;
        }
        let mut left = actor.clone();
        if let Some(user) = who {
            left.name = format!("tenants/{}/users/{user}", self.tenant);
            left.address.clear();
        }
        if why.is_some() {
            LEFT_OUT.clone_into(&mut left.reason);
        }
        Some(left)
    }

    /// The same for the caller and actor who asked for a change.
    pub fn asked_by(&self, asked_by: &AskedBy) -> Option<AskedBy> {
        Some(AskedBy {
            caller: asked_by.caller.clone(),
            actor: self.actor(&asked_by.actor)?,
        })
    }
}
