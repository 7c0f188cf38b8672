//! The labels that stand for enums in columns and in stored JSON. Labels are for ever: rename a variant, never its
//! label. They are defined with the enums (`rollcall_core::vocabulary`). The labels of open vocabularies may be newer
//! than this release. All other labels decide what is done, so reading a row with an unknown one fails.

use rollcall_core::audit::LoginOutcome;
use rollcall_core::check::{StageKind, StageResult};
use rollcall_core::dialect::Dialect;
use rollcall_core::directory::{PasswordStrength, TransportSecurity};
use rollcall_core::event::EventType;
use rollcall_core::guard::HoldRule;
use rollcall_core::issue::{HealthLevel, IssueKind};
use rollcall_core::plan::ChangeKind;
use rollcall_core::run::{RunMode, RunState, RunTrigger};
use rollcall_core::soft_lock::SoftLockMode;
use rollcall_core::user::{StateReason, UserState};
use rollcall_core::user_sync::{
    ExistingUsers, LoginChanges, MissingUsers, NewUsers, ReportWhen, SearchScope,
};
use serde::{Deserialize, Deserializer, Serializer};

use crate::error::{Result, StoreError};

/// An enum with a stored label for each variant.
pub(crate) trait Label: Sized + Copy {
    fn label(self) -> &'static str;

    fn parse_label(label: &str) -> Option<Self>;

    fn from_label(label: &str) -> Result<Self> {
        Self::parse_label(label).ok_or(StoreError::corrupt("a stored label is unknown"))
    }
}

impl Label for Dialect {
    fn label(self) -> &'static str {
        self.row().word
    }

    fn parse_label(label: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|dialect| dialect.row().word == label)
    }
}

macro_rules! by_word {
    ($($type:ident,)*) => {
        $(impl Label for $type {
            fn label(self) -> &'static str {
                self.word()
            }

            fn parse_label(label: &str) -> Option<Self> {
                Self::of_word(label)
            }
        })*
    };
}

by_word! {
    ChangeKind,
    EventType,
    ExistingUsers,
    HealthLevel,
    HoldRule,
    IssueKind,
    LoginChanges,
    LoginOutcome,
    MissingUsers,
    NewUsers,
    PasswordStrength,
    ReportWhen,
    RunMode,
    RunState,
    RunTrigger,
    SearchScope,
    SoftLockMode,
    StageKind,
    StageResult,
    StateReason,
    TransportSecurity,
    UserState,
}

pub(crate) fn serialize<T: Label, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(value.label())
}

pub(crate) fn deserialize<'de, T: Label, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    let label = std::borrow::Cow::<str>::deserialize(deserializer)?;
    T::parse_label(&label).ok_or_else(|| serde::de::Error::custom("unknown label"))
}

/// The same for an optional value.
pub(crate) mod optional {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::Label;

    pub(crate) fn serialize<T: Label, S: Serializer>(value: &Option<T>, s: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => s.serialize_some(value.label()),
            None => s.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, T: Label, D: Deserializer<'de>>(d: D) -> Result<Option<T>, D::Error> {
        let label = Option::<String>::deserialize(d)?;
        label
            .map(|label| T::parse_label(&label).ok_or_else(|| serde::de::Error::custom("unknown label")))
            .transpose()
    }
}
