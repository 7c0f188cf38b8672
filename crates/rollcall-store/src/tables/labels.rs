//! The words by which enums are stored. Stored words are for ever: rename a variant, never its word.

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

/// An enum with a stored word for each variant.
pub(crate) trait Word: Sized + Copy {
    fn word(self) -> &'static str;

    fn find(word: &str) -> Option<Self>;

    fn from_word(word: &str) -> Result<Self> {
        Self::find(word).ok_or(StoreError::corrupt("a stored word is unknown"))
    }
}

macro_rules! words {
    ($($type:ident { $($variant:ident = $word:literal,)* })*) => {
        $(impl Word for $type {
            fn word(self) -> &'static str {
                match self { $($type::$variant => $word,)* }
            }

            fn find(word: &str) -> Option<Self> {
                match word { $($word => Some($type::$variant),)* _ => None }
            }
        })*
    };
}

words! {
    ChangeKind {
        Create = "CREATE", Link = "LINK", Update = "UPDATE", Reactivate = "REACTIVATE",
        Deactivate = "DEACTIVATE", Archive = "ARCHIVE", Transfer = "TRANSFER", Relink = "RELINK",
    }
    Dialect {
        ActiveDirectory = "ACTIVE_DIRECTORY", OpenLdap = "OPEN_LDAP", Dirsrv389 = "DIRSRV_389", Generic = "GENERIC",
    }
    EventType {
        Created = "CREATED", Updated = "UPDATED", Linked = "LINKED", Unlinked = "UNLINKED",
        Deactivated = "DEACTIVATED", Reactivated = "REACTIVATED", Archived = "ARCHIVED",
        Transferred = "TRANSFERRED", Blocked = "BLOCKED", Unblocked = "UNBLOCKED", Deleted = "DELETED",
    }
    ExistingUsers { Update = "UPDATE", Ignore = "IGNORE", }
    HealthLevel { Ok = "OK", Warning = "WARNING", Error = "ERROR", }
    HoldRule {
        Removals = "REMOVALS", MostUsers = "MOST_USERS", RoleChanges = "ROLE_CHANGES",
        LoginChanges = "LOGIN_CHANGES", EmailChanges = "EMAIL_CHANGES", LostField = "LOST_FIELD",
        Returns = "RETURNS", Takeovers = "TAKEOVERS", Links = "LINKS", Growth = "GROWTH",
        Relinked = "RELINKED", ConfigurationChanged = "CONFIGURATION_CHANGED",
    }
    LoginChanges { Reject = "REJECT", Allow = "ALLOW", }
    LoginOutcome { Authenticated = "AUTHENTICATED", Denied = "DENIED", Error = "ERROR", }
    MissingUsers { Ignore = "IGNORE", Deactivate = "DEACTIVATE", Archive = "ARCHIVE", }
    NewUsers { Create = "CREATE", Ignore = "IGNORE", }
    PasswordStrength { Weak = "WEAK", Fair = "FAIR", Strong = "STRONG", }
    ReportWhen { Always = "ALWAYS", OnIssues = "ON_ISSUES", Never = "NEVER", }
    RunMode { Apply = "APPLY", Preview = "PREVIEW", Relink = "RELINK", }
    RunState {
        Pending = "PENDING", Pulling = "PULLING", Planned = "PLANNED", Held = "HELD", Applying = "APPLYING",
        Succeeded = "SUCCEEDED", SucceededWithIssues = "SUCCEEDED_WITH_ISSUES", Failed = "FAILED",
        Cancelled = "CANCELLED", Superseded = "SUPERSEDED", Expired = "EXPIRED",
    }
    RunTrigger { Schedule = "SCHEDULE", Call = "CALL", }
    SearchScope { Base = "BASE", OneLevel = "ONE_LEVEL", Subtree = "SUBTREE", }
    StageKind {
        Parse = "PARSE", EgressPolicy = "EGRESS_POLICY", Dns = "DNS", Tcp = "TCP", Tls = "TLS", Bind = "BIND",
        RootDse = "ROOT_DSE", SearchBase = "SEARCH_BASE", SearchFilter = "SEARCH_FILTER", Paging = "PAGING",
        ExternalId = "EXTERNAL_ID", FieldMappings = "FIELD_MAPPINGS", RoleRules = "ROLE_RULES",
        Overlaps = "OVERLAPS", Privilege = "PRIVILEGE",
    }
    StageResult { Pass = "PASS", Warn = "WARN", Fail = "FAIL", Skipped = "SKIPPED", }
    StateReason {
        Gone = "GONE", OutOfScope = "OUT_OF_SCOPE", DisabledInDirectory = "DISABLED_IN_DIRECTORY",
        ExpiredInDirectory = "EXPIRED_IN_DIRECTORY", ByProduct = "BY_PRODUCT", SyncDeleted = "SYNC_DELETED",
    }
    SoftLockMode { Enforce = "ENFORCE", Log = "LOG", }
    TransportSecurity { Ldaps = "LDAPS", StartTls = "START_TLS", Plaintext = "PLAINTEXT", }
    UserState { Active = "ACTIVE", Deactivated = "DEACTIVATED", Archived = "ARCHIVED", }
}

impl Word for IssueKind {
    fn word(self) -> &'static str {
        self.as_str()
    }

    fn find(word: &str) -> Option<Self> {
        Self::parse(word)
    }
}

pub(crate) fn serialize<T: Word, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(value.word())
}

pub(crate) fn deserialize<'de, T: Word, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    let word = std::borrow::Cow::<str>::deserialize(deserializer)?;
    T::find(&word).ok_or_else(|| serde::de::Error::custom("unknown word"))
}

/// The same for an optional value.
pub(crate) mod optional {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::Word;

    pub(crate) fn serialize<T: Word, S: Serializer>(value: &Option<T>, s: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => s.serialize_some(value.word()),
            None => s.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, T: Word, D: Deserializer<'de>>(d: D) -> Result<Option<T>, D::Error> {
        let word = Option::<String>::deserialize(d)?;
        word.map(|word| T::find(&word).ok_or_else(|| serde::de::Error::custom("unknown word")))
            .transpose()
    }
}
