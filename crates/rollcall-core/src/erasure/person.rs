//! What is known of a person who is erased, to find them in everything that is kept.

use std::collections::{BTreeSet, HashSet};

use crate::external_id::ExternalId;
use crate::field::TextField;
use crate::id::{DirectoryId, UserId};
use crate::plan::Change;
use crate::user::{FieldChange, Origin, Profile, User};

/// All that is known of a person who is erased, as far as it may stand elsewhere too.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Person {
    /// The user.
    pub user: UserId,
    /// The entries that the user was.
    pub entries: HashSet<(DirectoryId, ExternalId)>,
    /// The DNs of these entries.
    pub dns: BTreeSet<String>,
    /// Logins and e-mail addresses.
    pub identifiers: BTreeSet<String>,
    /// Full names of several words, and telephone numbers. A name of one word is part of too many texts.
    pub names: BTreeSet<String>,
}

impl Person {
    /// A person of whom only the user id is known yet.
    pub fn new(user: UserId) -> Self {
        Self {
            user,
            entries: HashSet::new(),
            dns: BTreeSet::new(),
            identifiers: BTreeSet::new(),
            names: BTreeSet::new(),
        }
    }

    /// The person as the user is.
    pub fn of(user: &User) -> Self {
        let mut person = Self::new(user.id);
        person.learn(user);
        person
    }

    /// Adds what the user was at some time.
    pub fn learn(&mut self, user: &User) {
        if let Some(origin) = &user.origin {
            self.learn_origin(origin);
        }
        self.learn_profile(&user.profile);
    }

    /// Adds what a change of a plan makes of the user.
    pub fn learn_change(&mut self, change: &Change) {
        self.learn_origin(&change.origin);
        self.learn_profile(&change.profile);
        self.learn_fields(&change.changes);
    }

    /// Adds the values before these changes.
    pub fn learn_fields(&mut self, changes: &[FieldChange]) {
        for FieldChange { field, old, new } in changes {
            let values = [old, new].into_iter().flatten().cloned();
            match field.as_str() {
                "login" | "email" => self.identifiers.extend(values.filter(|text| is_there(text))),
                "dn" => self.dns.extend(values.filter(|text| is_there(text))),
                name => {
                    if let Some(text) = TextField::named(name) {
                        self.names.extend(values.filter(|value| text.names_person(value)));
                    }
                }
            }
        }
    }

    pub(super) fn learn_origin(&mut self, origin: &Origin) {
        self.entries
            .insert((origin.directory.clone(), origin.external_id.clone()));
        self.dns
            .extend(Some(origin.dn.clone()).filter(|text| is_there(text)));
    }

    pub(super) fn learn_profile(&mut self, profile: &Profile) {
        let identifiers = [Some(&profile.login), profile.email.as_ref()];
        let identifiers = identifiers.into_iter().flatten();
        self.identifiers
            .extend(identifiers.filter(|text| is_there(text)).cloned());
        let naming = profile
            .texts
            .iter()
            .filter(|(field, value)| field.names_person(value));
        self.names.extend(naming.map(|(_, value)| value.clone()));
    }
}

fn is_there(text: &str) -> bool {
    !text.is_empty()
}
