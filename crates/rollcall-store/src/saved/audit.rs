//! What audit events are about.

use std::borrow::Cow;
use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use rollcall_core::audit::{AuditKind, Flood, LoginOutcome};
use rollcall_core::id::{DirectoryId, UserId, UserSyncId};
use serde::{Deserialize, Serialize};

use crate::saved::{option_of, optional_text_of, saved_as};
use crate::{clock, words};

#[derive(Serialize, Deserialize)]
#[serde(remote = "AuditKind", tag = "type", rename_all = "snake_case")]
enum AuditKindMirror {
    Login {
        #[serde(with = "words")]
        outcome: LoginOutcome,
        reason: Cow<'static, str>,
        #[serde(with = "optional_user_id")]
        user: Option<UserId>,
        #[serde(with = "crate::saved::optional_user_sync_id")]
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
    #[serde(with = "clock::micros")]
    since: DateTime<Utc>,
}

option_of!(optional_flood, Flood, "FloodMirror");
optional_text_of!(optional_user_id, UserId, UserId::parse);
optional_text_of!(optional_directory_id, DirectoryId, DirectoryId::parse);

saved_as!(AuditKind, AuditKindMirror);
