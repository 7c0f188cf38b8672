//! The fields of a user that hold text: how long a value may be, and which values can be used at all.
//!
//! The limits are those of the contract (`User` in user_service.proto). The product's own writes and the mapping ask
//! here, so that what a run stored can be written again by UpdateUser.

use thiserror::Error;

use crate::identifier::{Email, EmailProblem, LoginPolicy, LoginProblem};
use crate::issue::IssueKind;
use crate::violation::Violations;

/// A field of a user that holds text, or each value of a list.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Field {
    /// `login`
    Login,
    /// `email`
    Email,
    /// One of the plain texts.
    Text(TextField),
    /// `role`
    Role,
    /// One value of `restrictions`.
    Restriction,
    /// One value of `custom`.
    Custom,
}

macro_rules! text_fields {
    ($($(#[$doc:meta])* $field:ident = $row:expr,)*) => {
        /// A field of a user that holds a plain text or nothing, filled by the mapping or by the product. To add one, add a
        /// row here, its field in the contract, and its place in `rollcall_proto::convert::text_fields`.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum TextField {
            $($(#[$doc])* $field,)*
        }

        impl TextField {
            /// All, in the contract's order.
            pub const ALL: &[Self] = &[$(Self::$field,)*];

            const fn row(self) -> TextRow {
                match self {
                    $(Self::$field => $row,)*
                }
            }
        }
    };
}

/// What is known of a [`TextField`].
struct TextRow {
    name: &'static str,
    max_chars: usize,
    /// Which values name the person, so that an erasure looks for them in other people's texts. Shorter values are also
    /// ordinary words or numbers.
    names_person: fn(&str) -> bool,
}

text_fields! {
    /// The full name.
    DisplayName = TextRow {
        name: "display_name",
        max_chars: 256,
        names_person: |name| name.split_whitespace().count() > 1,
    },
    /// The given name.
    GivenName = TextRow {
        name: "given_name",
        max_chars: 256,
        names_person: |_| false,
    },
    /// The family name.
    FamilyName = TextRow {
        name: "family_name",
        max_chars: 256,
        names_person: |_| false,
    },
    /// The phone number, as the directory has it.
    PhoneNumber = TextRow {
        name: "phone_number",
        max_chars: 64,
        names_person: |number| number.chars().count() >= 6,
    },
}

impl TextField {
    /// The field as the contract names it.
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// The field of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|field| field.name() == name)
    }

    /// True if this value names the person in other people's texts.
    pub fn names_person(self, value: &str) -> bool {
        (self.row().names_person)(value)
    }
}

/// Why a value cannot be used. Its text goes on after the field or value: "has 300 characters, ...".
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum ValueProblem {
    /// Nothing to be seen.
    #[error("is empty")]
    Empty,
    /// More characters than the field may have.
    #[error("has {characters} characters, at most {max_chars} are allowed")]
    TooLong {
        /// Characters found.
        characters: usize,
        /// Characters allowed.
        max_chars: usize,
    },
    /// A character that no field may hold.
    #[error("holds the character U+{:04X}, which no field may hold", *first as u32)]
    IllegalCharacter {
        /// The first such character.
        first: char,
    },
    /// Not a login.
    #[error(transparent)]
    Login(#[from] LoginProblem),
    /// Not an e-mail address.
    #[error(transparent)]
    Email(#[from] EmailProblem),
}

impl ValueProblem {
    /// The issue of an entry that has no value for the field but unusable ones; `None` if it has no value at all.
    pub(crate) fn issue_kind(self) -> Option<IssueKind> {
        match self {
            ValueProblem::Empty => None,
            ValueProblem::TooLong { .. } => Some(IssueKind::ValueTooLong),
            ValueProblem::IllegalCharacter { .. } => Some(IssueKind::ValueIllegalCharacters),
            ValueProblem::Login(LoginProblem::TooShort { .. }) => Some(IssueKind::LoginTooShort),
            ValueProblem::Login(LoginProblem::TooLong { .. }) => Some(IssueKind::LoginTooLong),
            ValueProblem::Login(LoginProblem::IllegalCharacters { .. }) => {
                Some(IssueKind::LoginIllegalCharacters)
            }
            ValueProblem::Email(_) => Some(IssueKind::EmailInvalid),
        }
    }
}

impl Field {
    /// The field as the contract names it, for issues. A custom field has a name of its own: `custom.badge`.
    pub const fn name(self) -> &'static str {
        match self {
            Field::Login => "login",
            Field::Email => "email",
            Field::Text(text) => text.name(),
            Field::Role => "role",
            Field::Restriction => "restrictions",
            Field::Custom => "custom",
        }
    }

    /// Longest value, in characters (Unicode scalar values). `None` where other rules decide: a login's length is the
    /// policy's, and an e-mail address is measured in bytes.
    pub(crate) const fn max_chars(self) -> Option<usize> {
        match self {
            Field::Login | Field::Email => None,
            Field::Text(text) => Some(text.row().max_chars),
            Field::Role => Some(64),
            Field::Restriction => Some(254),
            Field::Custom => Some(1024),
        }
    }

    /// Checks a text by the field's length and by the characters that no field may hold. Logins and addresses have
    /// further rules.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn check(self, text: &str) -> Result<(), ValueProblem> {
        let characters = text.chars().count();
        if let Some(max_chars) = self.max_chars().filter(|max_chars| characters > *max_chars) {
            return Err(ValueProblem::TooLong {
                characters,
                max_chars,
            });
        }
        match text.chars().find(|c| is_illegal(*c)) {
            Some(first) => Err(ValueProblem::IllegalCharacter { first }),
            None => Ok(()),
        }
    }
}

/// The value that a field gets from a text of a directory, or why it cannot be used.
///
/// Surrounding spaces and the marks that copying leaves around a text (byte order mark, direction marks) are no part
/// of a value. Line breaks and tabs within it, as addresses have them, become one space. What then still holds a
/// control character, or a direction control such as U+202E, cannot be used: it shows another text than it is.
/// Joiners and the plain marks U+200E and U+200F stay, since names are written with them.
///
/// # Errors
/// What is wrong with the value.
pub fn usable(field: Field, text: &str, policy: &LoginPolicy) -> Result<String, ValueProblem> {
    match field {
        Field::Login => Ok(policy.check(text)?.as_str().to_owned()),
        Field::Email => Ok(Email::parse(text)?.as_str().to_owned()),
        Field::Text(_) | Field::Role | Field::Restriction | Field::Custom => {
            let text = one_line(text);
            field.check(&text)?;
            if text.chars().all(crate::identifier::is_invisible) {
                return Err(ValueProblem::Empty);
            }
            Ok(text)
        }
    }
}

/// Records what is wrong with a value that the product writes. It is not mended, since the product can do that.
pub fn validate(found: &mut Violations, path: &str, field: Field, text: &str, policy: &LoginPolicy) {
    let problem = match field {
        Field::Login => policy.check(text).err().map(ValueProblem::from),
        Field::Email => Email::parse(text).err().map(ValueProblem::from),
        Field::Text(_) | Field::Role | Field::Restriction | Field::Custom => field.check(text).err(),
    };
    if let Some(problem) = problem {
        found.add(path, problem.to_string());
    }
}

/// The text in one line, without what surrounds it.
fn one_line(text: &str) -> String {
    let text = text.trim_matches(|c: char| c.is_whitespace() || is_direction_control(c) || c == '\u{feff}');
    let is_break = |c: char| c.is_whitespace() && is_illegal(c);
    if !text.contains(is_break) {
        return text.to_owned();
    }
    let lines = text
        .split(is_break)
        .map(str::trim)
        .filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join(" ")
}

/// Controls (C0, C1), line and paragraph separators, and what turns the direction of the text around it.
fn is_illegal(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') || is_direction_control(c)
}

/// Embeddings, overrides and isolates of UAX 9.
fn is_direction_control(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn used(field: Field, text: &str) -> Result<String, ValueProblem> {
        usable(field, text, &LoginPolicy::default())
    }

    #[test]
    fn a_value_of_the_longest_length_is_used_and_one_more_is_not() {
        for (field, max_chars) in [
            (Field::Text(TextField::DisplayName), 256),
            (Field::Text(TextField::GivenName), 256),
            (Field::Text(TextField::FamilyName), 256),
            (Field::Text(TextField::PhoneNumber), 64),
            (Field::Role, 64),
            (Field::Restriction, 254),
            (Field::Custom, 1024),
        ] {
            let longest = "\u{e9}".repeat(max_chars);
            assert_eq!(used(field, &longest), Ok(longest.clone()), "{field:?}");
            let characters = max_chars + 1;
            assert_eq!(
                used(field, &format!("{longest}x")),
                Err(ValueProblem::TooLong {
                    characters,
                    max_chars
                }),
                "{field:?}"
            );
        }
    }

    #[test]
    fn a_value_is_one_line_without_its_surroundings() {
        for (text, value) in [
            ("  Ada ", "Ada"),
            ("Main Street 1\r\n  Floor 2\n", "Main Street 1 Floor 2"),
            ("a\u{2028}b\u{85}c\td\u{2029}", "a b c d"),
            ("\u{202a}+49 30 1234\u{202c}", "+49 30 1234"),
            ("\u{feff}Ada", "Ada"),
            ("Ada  King", "Ada  King"),
            ("\u{6a9}\u{200c}\u{627}", "\u{6a9}\u{200c}\u{627}"),
            ("\u{915}\u{94d}\u{200d}", "\u{915}\u{94d}\u{200d}"),
            ("\u{5d0}\u{200f}!", "\u{5d0}\u{200f}!"),
        ] {
            assert_eq!(
                used(Field::Text(TextField::DisplayName), text).as_deref(),
                Ok(value),
                "{text:?}"
            );
        }
    }

    #[test]
    fn what_shows_another_text_than_it_is_cannot_be_used() {
        for first in [
            '\0', '\u{1b}', '\u{7f}', '\u{9b}', '\u{202e}', '\u{202c}', '\u{2066}', '\u{2069}',
        ] {
            assert_eq!(
                used(Field::Text(TextField::GivenName), &format!("a{first}b")),
                Err(ValueProblem::IllegalCharacter { first })
            );
        }
        for nothing in ["", " ", "\n", "\u{200b}", "\u{202e}", "\u{feff} \u{200d}"] {
            assert_eq!(
                used(Field::Custom, nothing),
                Err(ValueProblem::Empty),
                "{nothing:?}"
            );
        }
    }

    #[test]
    fn a_login_and_an_address_have_their_own_rules() {
        assert_eq!(used(Field::Login, " ada ").as_deref(), Ok("ada"));
        assert!(matches!(used(Field::Login, "a b c"), Err(ValueProblem::Login(_))));
        assert_eq!(used(Field::Email, " a@b.example ").as_deref(), Ok("a@b.example"));
        for placeholder in ["-", "n/a", "none", "a@b.example\u{202e}x"] {
            assert!(
                matches!(used(Field::Email, placeholder), Err(ValueProblem::Email(_))),
                "{placeholder}"
            );
        }
    }

    #[test]
    fn the_product_is_told_what_a_directory_is_forgiven() {
        let mut found = Violations::new();
        let policy = LoginPolicy::default();
        validate(
            &mut found,
            "user.phone_number",
            Field::Text(TextField::PhoneNumber),
            "1\n2",
            &policy,
        );
        validate(
            &mut found,
            "user.given_name",
            Field::Text(TextField::GivenName),
            "",
            &policy,
        );
        assert_eq!(found.iter().count(), 1);
    }

    proptest! {
        #[test]
        fn what_can_be_used_can_be_written_again(text in any::<String>(), soup in "[a \n\u{0}\u{85}\u{202e}\u{2028}\u{feff}]{0,12}") {
            for text in [text, soup] {
                for field in [Field::Login, Field::Email, Field::Text(TextField::DisplayName), Field::Custom] {
                    let Ok(value) = used(field, &text) else { continue };
                    prop_assert_eq!(used(field, &value), Ok(value.clone()));
                    let mut found = Violations::new();
                    validate(&mut found, "f", field, &value, &LoginPolicy::default());
                    prop_assert!(found.is_empty());
                }
            }
        }
    }
}
