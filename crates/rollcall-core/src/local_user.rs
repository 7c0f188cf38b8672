//! LOCAL users: what the product may write into the users that it keeps itself.

use crate::identifier::{Email, LoginPolicy};
use crate::user::Profile;
use crate::user_sync::{MAX_CUSTOM_FIELDS, MAX_LIST};
use crate::violation::{Violations, check_text};

/// Longest name of a person, in characters.
pub const MAX_NAME_CHARS: usize = 256;
/// Longest phone number, in characters.
pub const MAX_PHONE_CHARS: usize = 64;
/// Longest role and name of a custom field, in characters.
pub const MAX_WORD_CHARS: usize = 64;
/// Longest value of a custom field, in characters.
pub const MAX_CUSTOM_CHARS: usize = 1024;
/// Longest restriction, in characters.
pub const MAX_RESTRICTION_CHARS: usize = 254;

/// All mistakes in the profile of a LOCAL user, with the paths of `User`'s fields.
pub fn validate(profile: &Profile, policy: &LoginPolicy) -> Violations {
    let mut found = Violations::new();
    match profile.login.is_empty() {
        true => found.add("login", "is required"),
        false => {
            found.take("login", policy.check(&profile.login));
        }
    }
    if let Some(email) = &profile.email {
        found.take("email", Email::parse(email));
    }
    for (field, value, longest) in [
        ("display_name", &profile.display_name, MAX_NAME_CHARS),
        ("given_name", &profile.given_name, MAX_NAME_CHARS),
        ("family_name", &profile.family_name, MAX_NAME_CHARS),
        ("phone_number", &profile.phone_number, MAX_PHONE_CHARS),
    ] {
        check_text(
            &mut found,
            field,
            value.as_deref().unwrap_or_default(),
            0,
            longest,
        );
    }
    check_text(&mut found, "role", &profile.role, 1, MAX_WORD_CHARS);
    found.require(
        profile.restrictions.len() <= MAX_LIST,
        "restrictions",
        format!("at most {MAX_LIST} values are allowed"),
    );
    for (index, restriction) in profile.restrictions.iter().enumerate() {
        let field = format!("restrictions[{index}]");
        check_text(&mut found, &field, restriction, 1, MAX_RESTRICTION_CHARS);
    }
    found.require(
        profile.custom.len() <= MAX_CUSTOM_FIELDS,
        "custom",
        format!("at most {MAX_CUSTOM_FIELDS} custom fields are allowed"),
    );
    for (name, value) in &profile.custom {
        let field = format!("custom[{name}]");
        check_text(&mut found, &field, name, 1, MAX_WORD_CHARS);
        check_text(&mut found, &field, value, 0, MAX_CUSTOM_CHARS);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_is_reported() {
        let good = Profile {
            login: "ada".into(),
            email: Some("ada@example.com".into()),
            role: "user".into(),
            ..Profile::default()
        };
        assert!(validate(&good, &LoginPolicy::default()).is_empty());
        let bad = Profile {
            login: "a b".into(),
            email: Some("ada".into()),
            display_name: Some("x".repeat(257)),
            role: String::new(),
            restrictions: vec![String::new()],
            custom: [(String::new(), String::new())].into(),
            ..good
        };
        let found = validate(&bad, &LoginPolicy::default());
        let fields: Vec<_> = found.iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "login",
                "email",
                "display_name",
                "role",
                "restrictions[0]",
                "custom[]"
            ]
        );
    }
}
