//! LOCAL users: what the product may write into the users that it keeps itself.

use crate::field::{self, Field};
use crate::identifier::LoginPolicy;
use crate::user::Profile;
use crate::violation::{Violations, check_text};

/// Most custom fields of one user.
pub(crate) const MAX_CUSTOM_FIELDS: usize = 50;
/// Most restrictions of one user.
pub(crate) const MAX_RESTRICTIONS: usize = 100;
/// Longest name of a custom field, in characters.
pub(crate) const MAX_CUSTOM_NAME_CHARS: usize = 64;

/// All mistakes in the profile of a LOCAL user, with the paths of `User`'s fields.
///
/// Values that an update leaves as they are cannot be mistakes. A user who was synced may have a login that this
/// deployment's rules refuse, and must still be able to get another name.
pub fn validate(profile: &Profile, before: Option<&Profile>, policy: &LoginPolicy) -> Violations {
    let Profile {
        login,
        email,
        texts,
        role,
        restrictions,
        custom,
    } = profile;
    let mut found = Violations::new();
    for (field, value, old) in [
        (Field::Login, login, before.map(|before| &before.login)),
        (Field::Role, role, before.map(|before| &before.role)),
    ] {
        match value.is_empty() {
            true => found.add(field.name(), "is required"),
            false if old == Some(value) => {}
            false => field::validate(&mut found, field.name(), field, value, policy),
        }
    }
    let old_email = before.and_then(|before| before.email.as_ref());
    let email = email.iter().map(|email| (Field::Email, email, old_email));
    let old_text = |field| before.and_then(|before| before.texts.get(field));
    let texts = texts
        .iter()
        .map(|(field, text)| (Field::Text(*field), text, old_text(field)));
    for (field, value, old) in email.chain(texts) {
        if old != Some(value) {
            field::validate(&mut found, field.name(), field, value, policy);
        }
    }
    if before.is_none_or(|before| before.restrictions != *restrictions) {
        validate_restrictions(&mut found, restrictions);
    }
    let old = |name: &String| before.and_then(|before| before.custom.get(name));
    let grown = before.is_none_or(|before| custom.len() > before.custom.len());
    found.require(
        custom.len() <= MAX_CUSTOM_FIELDS || !grown,
        "custom",
        format!("at most {MAX_CUSTOM_FIELDS} custom fields are allowed"),
    );
    for (name, value) in custom.iter().filter(|(name, value)| old(name) != Some(value)) {
        let path = format!("custom[{name}]");
        check_text(&mut found, &path, name, 1, MAX_CUSTOM_NAME_CHARS);
        field::validate(&mut found, &path, Field::Custom, value, policy);
    }
    found
}

/// Records the mistakes in the restrictions of a user, or in those that a user sync gives to its users.
pub(crate) fn validate_restrictions(found: &mut Violations, restrictions: &[String]) {
    found.require(
        restrictions.len() <= MAX_RESTRICTIONS,
        "restrictions",
        format!("at most {MAX_RESTRICTIONS} values are allowed"),
    );
    for (index, restriction) in restrictions.iter().enumerate() {
        let path = format!("restrictions[{index}]");
        match restriction.is_empty() {
            true => found.add(path, "is required"),
            false => {
                found.take(&path, Field::Restriction.check(restriction));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::TextField;

    #[test]
    fn every_mistake_is_reported() {
        let good = Profile {
            login: "ada".into(),
            email: Some("ada@example.com".into()),
            role: "user".into(),
            ..Profile::default()
        };
        assert!(validate(&good, None, &LoginPolicy::default()).is_empty());
        let bad = Profile {
            login: "a b".into(),
            email: Some("ada".into()),
            texts: [(TextField::DisplayName, "x".repeat(257))].into(),
            role: String::new(),
            restrictions: vec![String::new()],
            custom: [(String::new(), String::new())].into(),
        };
        let found = validate(&bad, None, &LoginPolicy::default());
        let fields: Vec<_> = found.iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "login",
                "role",
                "email",
                "display_name",
                "restrictions[0]",
                "custom[]"
            ]
        );
    }

    #[test]
    fn what_an_update_leaves_is_not_held_against_it() {
        let before = Profile {
            login: "was synced".into(),
            texts: [(TextField::PhoneNumber, "1".repeat(1000))].into(),
            role: "user".into(),
            restrictions: vec!["x".repeat(300)],
            custom: [("note".into(), "x".repeat(2000))].into(),
            ..Profile::default()
        };
        let policy = LoginPolicy::default();
        let mut after = before.clone();
        after.set_text(TextField::DisplayName, Some("Ada".into()));
        assert!(validate(&after, Some(&before), &policy).is_empty());
        after.set_text(TextField::PhoneNumber, Some("2".repeat(1000)));
        after.custom.insert("note".into(), "y".repeat(2000));
        let found = validate(&after, Some(&before), &policy);
        let fields: Vec<_> = found.iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(fields, ["phone_number", "custom[note]"]);
    }
}
