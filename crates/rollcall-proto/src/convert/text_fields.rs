//! The plain texts of a user on the wire, found by their names. A test holds that the contract has a field for each.

use std::collections::BTreeMap;

use rollcall_core::field::TextField;

use crate::v1;

/// Takes the texts out of a user: those that are not empty.
pub(super) fn take_from_user(user: &mut v1::User) -> BTreeMap<TextField, String> {
    taken(|name| user.text_mut(name).map(std::mem::take))
}

/// Puts the texts into a user.
pub(super) fn put_into_user(user: &mut v1::User, texts: &BTreeMap<TextField, String>) {
    for (field, text) in texts {
        if let Some(to) = user.text_mut(field.name()) {
            to.clone_from(text);
        }
    }
}

/// Takes the candidates of each text out of a mapping: those that are not empty.
pub(super) fn take_from_mappings(mappings: &mut v1::FieldMappings) -> BTreeMap<TextField, Vec<String>> {
    taken(|name| mappings.text_mut(name).map(std::mem::take))
}

/// Puts the candidates of each text into a mapping.
pub(super) fn put_into_mappings(mappings: &mut v1::FieldMappings, texts: &BTreeMap<TextField, Vec<String>>) {
    for (field, candidates) in texts {
        if let Some(to) = mappings.text_mut(field.name()) {
            to.clone_from(candidates);
        }
    }
}

fn taken<T: Default + PartialEq>(mut take: impl FnMut(&str) -> Option<T>) -> BTreeMap<TextField, T> {
    let mut all = BTreeMap::new();
    for field in TextField::ALL {
        if let Some(value) = take(field.name()).filter(|value| *value != T::default()) {
            all.insert(*field, value);
        }
    }
    all
}
