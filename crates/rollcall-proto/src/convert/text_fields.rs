//! The plain texts of a user on the wire. The compiler asks here for a new one.

use std::collections::BTreeMap;

use rollcall_core::field::TextField;

use crate::v1;

fn of_user(user: &mut v1::User, field: TextField) -> &mut String {
    match field {
        TextField::DisplayName => &mut user.display_name,
        TextField::GivenName => &mut user.given_name,
        TextField::FamilyName => &mut user.family_name,
        TextField::PhoneNumber => &mut user.phone_number,
    }
}

fn of_mappings(mappings: &mut v1::FieldMappings, field: TextField) -> &mut Vec<String> {
    match field {
        TextField::DisplayName => &mut mappings.display_name,
        TextField::GivenName => &mut mappings.given_name,
        TextField::FamilyName => &mut mappings.family_name,
        TextField::PhoneNumber => &mut mappings.phone_number,
    }
}

/// Takes the texts out of a user: those that are not empty.
pub(super) fn take_from_user(user: &mut v1::User) -> BTreeMap<TextField, String> {
    let taken = TextField::ALL
        .iter()
        .map(|field| (*field, std::mem::take(of_user(user, *field))));
    taken.filter(|(_, text)| !text.is_empty()).collect()
}

/// Puts the texts into a user.
pub(super) fn put_into_user(user: &mut v1::User, texts: &BTreeMap<TextField, String>) {
    for (field, text) in texts {
        of_user(user, *field).clone_from(text);
    }
}

/// Takes the candidates of each text out of a mapping: those that are not empty.
pub(super) fn take_from_mappings(mappings: &mut v1::FieldMappings) -> BTreeMap<TextField, Vec<String>> {
    let taken = TextField::ALL
        .iter()
        .map(|field| (*field, std::mem::take(of_mappings(mappings, *field))));
    taken.filter(|(_, candidates)| !candidates.is_empty()).collect()
}

/// Puts the candidates of each text into a mapping.
pub(super) fn put_into_mappings(mappings: &mut v1::FieldMappings, texts: &BTreeMap<TextField, Vec<String>>) {
    for (field, candidates) in texts {
        of_mappings(mappings, *field).clone_from(candidates);
    }
}
