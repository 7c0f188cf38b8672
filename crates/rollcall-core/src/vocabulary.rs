//! Vocabularies that are stored and shown. A newer release has words that this one does not know, and both may run on one
//! store while a deployment rolls on or back: such a word is read as it is, shown as unspecified, and kept.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// Newer words that a process keeps: far more than any release has.
const MAX_WORDS: usize = 1_000;
/// Longest word.
const MAX_BYTES: usize = 64;

static WORDS: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());

/// A stored word that this release does not know.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NewerWord(&'static str);

impl NewerWord {
    /// The word; `None` if the text is not a word of any release, or if too many are kept already.
    pub fn of(word: &str) -> Option<Self> {
        let is_word = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        if word.is_empty() || word.len() > MAX_BYTES || !word.bytes().all(is_word) {
            return None;
        }
        let mut words = WORDS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = words.get(word) {
            return Some(Self(known));
        }
        if words.len() >= MAX_WORDS {
            return None;
        }
        let kept: &'static str = Box::leak(Box::from(word));
        words.insert(kept);
        Some(Self(kept))
    }

    /// The word as it is stored.
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

/// Defines an enum whose variants have one stored word each. Words are for ever: rename a variant, never its word. A `closed`
/// one takes no newer words: there the word decides what is done, such as the state of a user, and a release that does not
/// know the word must not act.
macro_rules! vocabulary {
    (
        $(#[$meta:meta])*
        pub closed enum $enum:ident { $($(#[$doc:meta])* $name:ident = $word:literal,)* }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum $enum {
            $($(#[$doc])* $name,)*
        }

        impl $enum {
            /// All.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// As it is stored.
            pub fn word(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// What is stored as this word; `None` if this release does not know it.
            pub fn of_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$name),)* _ => None }
            }
        }
    };
    (
        $(#[$meta:meta])*
        pub enum $enum:ident { $($(#[$doc:meta])* $name:ident = $word:literal,)* }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum $enum {
            $($(#[$doc])* $name,)*
            /// A word that only a newer release knows. It stays as it is stored.
            Newer($crate::vocabulary::NewerWord),
        }

        impl $enum {
            /// All that this release knows.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// As it is stored.
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                    Self::Newer(word) => word.as_str(),
                }
            }

            /// What is stored as this word; `None` if it cannot be one.
            pub fn of_word(word: &str) -> Option<Self> {
                match word {
                    $($word => Some(Self::$name),)*
                    word => $crate::vocabulary::NewerWord::of(word).map(Self::Newer),
                }
            }
        }
    };
}

pub(crate) use vocabulary;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::audit::LoginOutcome;
    use crate::check::{StageKind, StageResult};
    use crate::directory::{PasswordStrength, TransportSecurity};
    use crate::event::EventType;
    use crate::guard::HoldRule;
    use crate::issue::{HealthLevel, IssueKind};
    use crate::plan::ChangeKind;
    use crate::run::{RunMode, RunState, RunTrigger};
    use crate::soft_lock::SoftLockMode;
    use crate::user::{StateReason, UserState};
    use crate::user_sync::{ExistingUsers, LoginChanges, MissingUsers, NewUsers, ReportWhen, SearchScope};

    macro_rules! each_is_read_back {
        ($($type:ident),* $(,)?) => { $(
            for known in $type::ALL {
                assert_eq!($type::of_word(known.word()), Some(*known));
                let namesakes = $type::ALL.iter().filter(|other| other.word() == known.word());
                assert_eq!(namesakes.count(), 1, "{known:?}");
            }
            for no_word in ["", "lower", "A B", "Ä"] {
                assert_eq!($type::of_word(no_word), None, "{no_word:?}");
            }
        )* };
    }

    macro_rules! newer_is_kept {
        ($($type:ident),* $(,)?) => { $(
            let newer = $type::of_word("OF_TOMORROW").unwrap();
            assert!(matches!(newer, $type::Newer(_)), "{newer:?}");
            assert_eq!(newer.word(), "OF_TOMORROW");
            assert_eq!($type::of_word("OF_TOMORROW"), Some(newer));
        )* };
    }

    macro_rules! newer_is_refused {
        ($($type:ident),* $(,)?) => { $(
            assert_eq!($type::of_word("OF_TOMORROW"), None);
        )* };
    }

    macro_rules! vocabularies {
        (open { $($open:ident,)* } closed { $($closed:ident,)* }) => {
            const TRIED: &[&str] = &[$(stringify!($open),)* $(stringify!($closed),)*];

            #[test]
            fn each_word_is_read_back_and_a_newer_one_is_kept_as_it_is() {
                each_is_read_back!($($open,)* $($closed,)*);
                newer_is_kept!($($open,)*);
                newer_is_refused!($($closed,)*);
                assert_eq!(NewerWord::of(&"X".repeat(MAX_BYTES + 1)), None);
            }
        };
    }

    vocabularies! {
        open { EventType, HoldRule, IssueKind, LoginOutcome, RunTrigger, StageKind, StateReason, }
        closed {
            ChangeKind, ExistingUsers, HealthLevel, LoginChanges, MissingUsers, NewUsers, PasswordStrength, ReportWhen,
            RunMode, RunState, SearchScope, SoftLockMode, StageResult, TransportSecurity, UserState,
        }
    }

    fn defined_in(folder: &std::path::Path, names: &mut BTreeSet<String>) {
        for item in std::fs::read_dir(folder).unwrap() {
            let path = item.unwrap().path();
            if path.is_dir() {
                defined_in(&path, names);
            } else if !path.ends_with("vocabulary.rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                for definition in text.split("vocabulary! {\n").skip(1) {
                    let (_, name) = definition.split_once("enum ").unwrap();
                    names.insert(name.split_whitespace().next().unwrap().to_owned());
                }
            }
        }
    }

    #[test]
    fn each_vocabulary_is_tried() {
        let mut names = BTreeSet::new();
        defined_in(
            std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")),
            &mut names,
        );
        let tried: BTreeSet<String> = TRIED.iter().map(ToString::to_string).collect();
        assert_eq!(names, tried, "name it in `vocabularies!` above");
    }
}
