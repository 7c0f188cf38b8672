//! What audit events are about.

use std::borrow::Cow;
use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use rollcall_core::audit::{AuditKind, Flood, LoginOutcome, LoginReason};
use rollcall_core::id::{DirectoryId, UserId, UserSyncId};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::db::timestamp;
use crate::tables::json::{json_column, option_of, optional_text_of};
use crate::tables::labels;

#[derive(Serialize, Deserialize)]
#[serde(remote = "AuditKind", tag = "type", rename_all = "snake_case")]
enum AuditKindMirror {
    Login {
        #[serde(with = "labels")]
        outcome: LoginOutcome,
        #[serde(with = "reason")]
        reason: LoginReason,
        #[serde(with = "optional_user_id")]
        user: Option<UserId>,
        #[serde(with = "crate::tables::json::optional_user_sync_id")]
        user_sync: Option<UserSyncId>,
        #[serde(with = "optional_directory_id")]
        directory: Option<DirectoryId>,
        unknown_login: Option<String>,
        client_address: Option<String>,
        #[serde(with = "optional_flood", default)]
        flood: Option<Flood>,
    },
    Change {
        method: Cow<'static, str>,
        resource: String,
        details: BTreeMap<String, String>,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Flood")]
struct FloodMirror {
    attempts: u64,
    #[serde(with = "timestamp::micros")]
    since: DateTime<Utc>,
}

mod reason {
    use super::*;

    pub(super) fn serialize<S: Serializer>(reason: &LoginReason, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(reason.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<LoginReason, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        Ok(LoginReason::parse(&text))
    }
}

option_of!(optional_flood, Flood, "FloodMirror");
optional_text_of!(optional_user_id, UserId, UserId::parse);
optional_text_of!(optional_directory_id, DirectoryId, DirectoryId::parse);

json_column!(AuditKind, AuditKindMirror);
