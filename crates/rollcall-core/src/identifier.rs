//! Logins and e-mail addresses: which are acceptable, and when two of them are the same.
//!
//! Directories compare both without regard to case, width or surplus spaces (RFC 4518), so Rollcall must
//! too: otherwise one person would have several counters of wrong passwords and two people one login.

mod email;

use std::collections::BTreeSet;

use icu_casemap::CaseMapper;
use thiserror::Error;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use crate::id::UserId;
use crate::wording::counted;

pub use email::{Email, EmailProblem, MAX_EMAIL_BYTES, email_domain};

/// Who has an identifier.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Holder {
    /// This user of the tenant.
    User(UserId),
    /// Somebody of another tenant, where identifiers are unique in the whole deployment.
    Foreign,
}

/// The key under which a login or e-mail address is stored, looked up and counted: compatibility forms
/// composed (NFKC), case folded, invisible characters dropped, spaces trimmed and collapsed.
///
/// Applying it twice changes nothing.
pub fn normalize(text: &str) -> String {
    if text.is_ascii() {
        return collapse_spaces(text.chars().map(|c| c.to_ascii_lowercase()));
    }
    // A fold can undo composition and a composition can bring something to fold, hence twice
    // (Unicode 3.13, D146 and NFKC_Casefold).
    let case = CaseMapper::new();
    let visible: String = text.nfd().filter(|c| !is_invisible(*c)).collect();
    let once: String = case
        .fold_string(&visible)
        .nfkc()
        .filter(|c| !is_invisible(*c))
        .collect();
    let twice = case.fold_string(&once);
    collapse_spaces(twice.nfkc())
}

fn collapse_spaces(characters: impl Iterator<Item = char>) -> String {
    let mut result = String::new();
    let mut space_due = false;
    for c in characters {
        if c.is_whitespace() {
            space_due = !result.is_empty();
        } else if !is_invisible(c) {
            if std::mem::take(&mut space_due) {
                result.push(' ');
            }
            result.push(c);
        }
    }
    result
}

/// What RFC 4518 2.2 maps to nothing, and the other characters that Unicode calls default ignorable.
pub(crate) fn is_invisible(c: char) -> bool {
    if c.is_ascii() {
        return c.is_control() && !c.is_whitespace();
    }
    (c.is_control() && !c.is_whitespace())
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffc}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// A login that a [`LoginPolicy`] accepted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Login {
    text: String,
    key: String,
}

impl Login {
    /// The login as it was written, without surrounding spaces.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The login as it is compared; see [`normalize`].
    pub fn key(&self) -> &str {
        &self.key
    }
}

/// "1 character", "2 characters".
fn counted_characters(characters: &usize) -> String {
    counted(*characters as u64, "character", "characters")
}

/// Why a login is not acceptable.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum LoginProblem {
    /// Fewer characters than the policy asks for.
    #[error("has {}, at least {min_chars} are needed", counted_characters(.characters))]
    TooShort {
        /// Characters found.
        characters: usize,
        /// Characters needed.
        min_chars: usize,
    },
    /// More characters than the policy allows.
    #[error("has {characters} characters, at most {max_chars} are allowed")]
    TooLong {
        /// Characters found.
        characters: usize,
        /// Characters allowed.
        max_chars: usize,
    },
    /// A character that is neither a letter, a digit nor on the policy's list.
    #[error("holds {first:?}, which is not allowed in a login")]
    IllegalCharacters {
        /// The first such character.
        first: char,
    },
}

/// The characters that a login may hold: letters and digits of every script, and a list of others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AllowedCharacters {
    punctuation: BTreeSet<char>,
}

impl AllowedCharacters {
    /// Letters, digits and these characters.
    ///
    /// # Errors
    /// The first character that no login may ever hold: a space, a control or an invisible character.
    pub fn with_punctuation(punctuation: &str) -> Result<Self, char> {
        match punctuation
            .chars()
            .find(|c| c.is_whitespace() || c.is_control() || is_invisible(*c))
        {
            Some(bad) => Err(bad),
            None => Ok(Self {
                punctuation: punctuation.chars().collect(),
            }),
        }
    }

    /// True if a login may hold `c`.
    pub fn contains(&self, c: char) -> bool {
        (c.is_alphanumeric() || is_combining_mark(c) || self.punctuation.contains(&c)) && !is_invisible(c)
    }
}

impl Default for AllowedCharacters {
    /// Letters, digits, `.`, `_` and `-`. Not `@`: an e-mail address is no login.
    fn default() -> Self {
        Self {
            punctuation: BTreeSet::from(['.', '_', '-']),
        }
    }
}

/// Which logins are acceptable in this deployment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoginPolicy {
    /// Fewest characters (Unicode scalar values).
    pub min_chars: usize,
    /// Most characters (Unicode scalar values).
    pub max_chars: usize,
    /// The characters that a login may hold.
    pub allowed: AllowedCharacters,
}

impl Default for LoginPolicy {
    fn default() -> Self {
        Self {
            min_chars: 3,
            max_chars: 128,
            allowed: AllowedCharacters::default(),
        }
    }
}

impl LoginPolicy {
    /// Accepts a login or says what is wrong with it. Surrounding spaces are no part of it.
    ///
    /// # Errors
    /// Length first, then characters. Lengths hold for the login as written and for its key.
    pub fn check(&self, text: &str) -> Result<Login, LoginProblem> {
        let text = text.trim();
        let characters = text.chars().count();
        if characters > self.max_chars {
            return Err(LoginProblem::TooLong {
                characters,
                max_chars: self.max_chars,
            });
        }
        let key = normalize(text);
        let (shortest, longest) = minmax(characters, key.chars().count());
        if shortest < self.min_chars {
            return Err(LoginProblem::TooShort {
                characters: shortest,
                min_chars: self.min_chars,
            });
        }
        // Compatibility forms can stand for text that the list excludes, such as the full-width `@`.
        let illegal = |c: &char| !self.allowed.contains(*c);
        if let Some(first) = text.chars().find(illegal).or_else(|| key.chars().find(illegal)) {
            return Err(LoginProblem::IllegalCharacters { first });
        }
        if longest > self.max_chars {
            return Err(LoginProblem::TooLong {
                characters: longest,
                max_chars: self.max_chars,
            });
        }
        Ok(Login {
            text: text.to_owned(),
            key,
        })
    }
}

fn minmax(a: usize, b: usize) -> (usize, usize) {
    (a.min(b), a.max(b))
}

#[cfg(test)]
mod tests;
