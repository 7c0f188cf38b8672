//! What audit events are about.

use std::borrow::Cow;
use std::collections::BTreeMap;

use rollcall_core::audit::{AuditKind, LoginOutcome};
use rollcall_core::id::{DirectoryId, UserId, UserSyncId};
use serde::{Deserialize, Serialize};

use crate::saved::{optional_text_of, saved_as};
use crate::words;

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
    },
    Change {
        method: Cow<'static, str>,
        resource: String,
        details: BTreeMap<String, String>,
    },
}

optional_text_of!(optional_user_id, UserId, UserId::parse);
optional_text_of!(optional_directory_id, DirectoryId, DirectoryId::parse);

saved_as!(AuditKind, AuditKindMirror);
