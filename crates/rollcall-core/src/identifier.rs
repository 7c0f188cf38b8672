//! Logins and e-mail addresses: which are acceptable, and when two of them are the same.
//!
//! Directories compare both without regard to case, width or surplus spaces (RFC 4518), so Rollcall must
//! too: otherwise one person would have several throttle counters and two people one login.

use std::collections::BTreeSet;

use icu_casemap::CaseMapper;
use thiserror::Error;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Longest e-mail address, in bytes (RFC 5321, 4.5.3.1.3 less the angle brackets).
pub const MAX_EMAIL_BYTES: usize = 254;
const MAX_LOCAL_PART_BYTES: usize = 64;
const MAX_DOMAIN_LABEL_BYTES: usize = 63;

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
fn is_invisible(c: char) -> bool {
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

/// Why a login is not acceptable.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum LoginProblem {
    /// Fewer characters than the policy asks for.
    #[error("has {characters} characters, at least {min_chars} are needed")]
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

/// An e-mail address of acceptable syntax.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Email {
    text: String,
    key: String,
}

impl Email {
    /// Accepts an address that mail systems deliver to: one `@`, a local part without spaces, quotes or
    /// brackets, a domain of valid labels. Surrounding spaces are no part of it.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn parse(text: &str) -> Result<Self, EmailProblem> {
        let text = text.trim();
        check_email_syntax(text)?;
        let key = normalize(text);
        check_email_syntax(&key)?;
        Ok(Self {
            text: text.to_owned(),
            key,
        })
    }

    /// The address as it was written, without surrounding spaces.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The address as it is compared; see [`normalize`].
    pub fn key(&self) -> &str {
        &self.key
    }
}

/// Why a text is no e-mail address.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum EmailProblem {
    /// Longer than [`MAX_EMAIL_BYTES`].
    #[error("an e-mail address has at most {MAX_EMAIL_BYTES} bytes")]
    TooLong,
    /// No `@`, or more than one.
    #[error("an e-mail address has exactly one @")]
    NotOneAt,
    /// The part before the `@` is empty, over 64 bytes, or holds a space, a control or `()<>[]:;,\"`.
    #[error("the part before the @ is empty, too long or holds an illegal character")]
    LocalPart,
    /// The part after the `@` is not a host name.
    #[error("the part after the @ is not a domain")]
    Domain,
}

fn check_email_syntax(text: &str) -> Result<(), EmailProblem> {
    if text.len() > MAX_EMAIL_BYTES {
        return Err(EmailProblem::TooLong);
    }
    let (local, domain) = text.split_once('@').ok_or(EmailProblem::NotOneAt)?;
    if domain.contains('@') {
        return Err(EmailProblem::NotOneAt);
    }
    let illegal = |c: char| c.is_whitespace() || is_invisible(c) || r#"()<>[]:;,\""#.contains(c);
    if local.is_empty() || local.len() > MAX_LOCAL_PART_BYTES || local.contains(illegal) {
        return Err(EmailProblem::LocalPart);
    }
    if domain.split('.').all(is_domain_label) {
        Ok(())
    } else {
        Err(EmailProblem::Domain)
    }
}

fn is_domain_label(label: &str) -> bool {
    let legal = |c: char| (c.is_alphanumeric() || is_combining_mark(c) || c == '-') && !is_invisible(c);
    !label.is_empty()
        && label.len() <= MAX_DOMAIN_LABEL_BYTES
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.chars().all(legal)
}

/// True if [`Email::parse`] accepts the text.
pub fn is_email(text: &str) -> bool {
    Email::parse(text).is_ok()
}

/// The normalized domain of what may be an e-mail address; none if it is not one.
pub fn email_domain(text: &str) -> Option<String> {
    let email = Email::parse(text).ok()?;
    email.key.split_once('@').map(|(_, domain)| domain.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spellings_that_a_directory_takes_for_one_have_one_key() {
        for (one, other) in [
            ("Alice", "aLICE"),
            ("user7 ", "\u{ff55}ser7"),
            ("  anna   maria ", "Anna\u{a0}Maria"),
            ("jos\u{e9}", "JOSE\u{301}"),
            ("strasse", "STRA\u{df}E"),
            ("\u{3c3}", "\u{3c2}"),
            ("ali\u{ad}ce", "alice\u{200b}"),
            ("office", "of\u{fb01}ce"),
            ("a\tb", "a b"),
        ] {
            assert_eq!(normalize(one), normalize(other), "{one:?} {other:?}");
        }
        assert_ne!(normalize("anna maria"), normalize("annamaria"));
        assert_ne!(normalize("jose"), normalize("jos\u{e9}"));
        assert_eq!(normalize(" \t "), "");
    }

    #[test]
    fn the_policy_counts_characters_not_bytes() {
        let policy = LoginPolicy::default();
        assert_eq!(
            policy.check("\u{738b}\u{5c0f}\u{660e}").unwrap().key(),
            "\u{738b}\u{5c0f}\u{660e}"
        );
        assert_eq!(policy.check(" Al.i-ce_1 ").unwrap().as_str(), "Al.i-ce_1");
        assert_eq!(
            policy.check("al"),
            Err(LoginProblem::TooShort {
                characters: 2,
                min_chars: 3
            })
        );
        assert_eq!(
            policy.check("  "),
            Err(LoginProblem::TooShort {
                characters: 0,
                min_chars: 3
            })
        );
        assert!(policy.check(&"\u{e9}".repeat(128)).is_ok());
        let problem = LoginProblem::TooLong {
            characters: 129,
            max_chars: 128,
        };
        assert_eq!(policy.check(&"\u{e9}".repeat(129)), Err(problem));
    }

    #[test]
    fn a_key_obeys_the_policy_as_its_login_does() {
        let policy = LoginPolicy::default();
        let expanding = "\u{fdfa}\u{fdfa}\u{fdfa}"; // 3 characters, 18 words after NFKC
        assert!(matches!(
            policy.check(expanding),
            Err(LoginProblem::IllegalCharacters { first: ' ' })
        ));
        let problem = LoginProblem::TooLong {
            characters: 256,
            max_chars: 128,
        };
        assert_eq!(policy.check(&"\u{df}".repeat(128)), Err(problem));
    }

    #[test]
    fn scripts_that_need_marks_can_be_logins() {
        let policy = LoginPolicy::default();
        for login in [
            "\u{939}\u{93f}\u{928}\u{94d}\u{926}\u{940}",
            "jose\u{301}",
            "\u{645}\u{62d}\u{645}\u{62f}",
        ] {
            assert!(policy.check(login).is_ok(), "{login}");
        }
    }

    #[test]
    fn illegal_characters_are_named() {
        let policy = LoginPolicy::default();
        for (login, first) in [
            ("alice@example.com", '@'),
            ("anna maria", ' '),
            ("al\u{ff20}ice", '\u{ff20}'),
            ("alice\u{1f600}", '\u{1f600}'),
            ("ali\u{200b}ce", '\u{200b}'),
            ("ali\u{3164}ce", '\u{3164}'),
            ("ali\0ce", '\0'),
            ("a*(b)", '*'),
        ] {
            assert_eq!(
                policy.check(login),
                Err(LoginProblem::IllegalCharacters { first }),
                "{login:?}"
            );
        }
        let allowed = AllowedCharacters::with_punctuation(".@").unwrap();
        let policy = LoginPolicy {
            allowed,
            ..LoginPolicy::default()
        };
        assert!(policy.check("alice@example.com").is_ok());
        assert_eq!(
            policy.check("a_b"),
            Err(LoginProblem::IllegalCharacters { first: '_' })
        );
        assert_eq!(AllowedCharacters::with_punctuation(". "), Err(' '));
    }

    #[test]
    fn addresses_that_mail_is_delivered_to_are_accepted() {
        for good in [
            "a@b",
            "Anna.O'Neil+x@Mail.Example.COM",
            "\u{7528}\u{6237}@\u{4f8b}\u{5b50}.cn",
            " a@b.c ",
        ] {
            assert!(is_email(good), "{good}");
        }
        let long = format!("{}@b.c", "a".repeat(65));
        for (bad, problem) in [
            ("", EmailProblem::NotOneAt),
            ("alice", EmailProblem::NotOneAt),
            ("a@b@c", EmailProblem::NotOneAt),
            ("a\u{ff20}b@c", EmailProblem::NotOneAt),
            ("@b.c", EmailProblem::LocalPart),
            ("a b@c.d", EmailProblem::LocalPart),
            ("a\u{0}b@c.d", EmailProblem::LocalPart),
            ("<a@b.c>", EmailProblem::LocalPart),
            (long.as_str(), EmailProblem::LocalPart),
            ("a@", EmailProblem::Domain),
            ("a@b..c", EmailProblem::Domain),
            ("a@-b.c", EmailProblem::Domain),
            ("a@b_c.d", EmailProblem::Domain),
            ("a@b.c.", EmailProblem::Domain),
        ] {
            assert_eq!(Email::parse(bad), Err(problem), "{bad:?}");
        }
        assert_eq!(
            Email::parse(&format!("a@{}", "b.".repeat(130))),
            Err(EmailProblem::TooLong)
        );
    }

    #[test]
    fn the_domain_is_that_of_the_only_at() {
        assert_eq!(email_domain("Anna@EXAMPLE.com").as_deref(), Some("example.com"));
        assert_eq!(email_domain("a\u{ff20}evil.test@example.com"), None);
        assert_eq!(email_domain("anna"), None);
    }

    proptest! {
        #[test]
        fn normalizing_twice_changes_nothing(text in any::<String>()) {
            let once = normalize(&text);
            prop_assert_eq!(normalize(&once), once);
        }

        #[test]
        fn any_text_gets_an_answer(text in any::<String>()) {
            if let Ok(login) = LoginPolicy::default().check(&text) {
                prop_assert!(LoginPolicy::default().check(login.key()).is_ok());
            }
            if let Ok(email) = Email::parse(&text) {
                prop_assert!(Email::parse(email.key()).is_ok());
            }
        }
    }
}
