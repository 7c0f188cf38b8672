//! Users as a whole (in events), their fields, and differences between them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use rollcall_core::external_id::{ExternalId, IdKind};
use rollcall_core::field::TextField;
use rollcall_core::id::{DirectoryId, TenantId, UserId, UserSyncId};
use rollcall_core::revision::Revision;
use rollcall_core::user::{Block, FieldChange, Origin, OtherEntry, Profile, StateReason, User, UserState};
use serde::{Deserialize, Serialize};

use crate::db::timestamp;
use crate::tables::json::{JsonColumn, json_column, list_of, option_of, text_of};
use crate::tables::labels;

/// `kind=text`, as the id shows itself.
fn external_id_text(id: &ExternalId) -> String {
    format!("{}={id}", id.kind().attribute())
}

fn parse_external_id(text: &str) -> Option<ExternalId> {
    let (kind, text) = text.split_once('=')?;
    ExternalId::parse(IdKind::of_attribute(kind)?, text).ok()
}

text_of!(external_id, ExternalId, external_id_text, parse_external_id);

#[derive(Serialize, Deserialize)]
#[serde(remote = "Profile")]
pub(crate) struct ProfileMirror {
    login: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    #[serde(flatten, with = "crate::tables::json::text_fields")]
    texts: BTreeMap<TextField, String>,
    role: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    restrictions: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    custom: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Origin")]
pub(crate) struct OriginMirror {
    #[serde(with = "crate::tables::json::user_sync_id")]
    user_sync: UserSyncId,
    #[serde(with = "crate::tables::json::directory_id")]
    directory: DirectoryId,
    #[serde(with = "external_id")]
    external_id: ExternalId,
    dn: String,
    linked: bool,
}

option_of!(optional_origin, Origin, "OriginMirror");

#[derive(Serialize, Deserialize)]
#[serde(remote = "OtherEntry")]
pub(crate) struct OtherEntryMirror {
    #[serde(with = "crate::tables::json::user_sync_id")]
    user_sync: UserSyncId,
    #[serde(with = "external_id")]
    external_id: ExternalId,
}

option_of!(other_entry, OtherEntry, "OtherEntryMirror");

#[derive(Serialize, Deserialize)]
#[serde(remote = "FieldChange")]
struct FieldChangeMirror {
    field: String,
    old: Option<String>,
    new: Option<String>,
}

list_of!(field_changes, FieldChange, "FieldChangeMirror");

#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct FieldChangesMirror(#[serde(with = "field_changes")] Vec<FieldChange>);

#[derive(Serialize, Deserialize)]
#[serde(remote = "Block")]
struct BlockMirror {
    #[serde(with = "timestamp::micros")]
    time: DateTime<Utc>,
    reason: String,
}

option_of!(optional_block, Block, "BlockMirror");

#[derive(Serialize, Deserialize)]
#[serde(remote = "User")]
struct UserMirror {
    #[serde(with = "crate::tables::json::tenant_id")]
    tenant: TenantId,
    #[serde(with = "crate::tables::json::user_id")]
    id: UserId,
    #[serde(with = "optional_origin")]
    origin: Option<Origin>,
    #[serde(with = "ProfileMirror")]
    profile: Profile,
    #[serde(with = "labels")]
    state: UserState,
    #[serde(with = "labels::optional")]
    state_reason: Option<StateReason>,
    owner: bool,
    #[serde(with = "optional_block")]
    block: Option<Block>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    login_ambiguous: bool,
    #[serde(with = "other_entry", default, skip_serializing_if = "Option::is_none")]
    login_asked_by: Option<OtherEntry>,
    #[serde(with = "crate::tables::json::revision")]
    revision: Revision,
    #[serde(with = "timestamp::micros")]
    create_time: DateTime<Utc>,
    #[serde(with = "timestamp::micros")]
    update_time: DateTime<Utc>,
}

json_column!(Profile, ProfileMirror);
json_column!(User, UserMirror);

impl JsonColumn for Vec<FieldChange> {
    fn to_json(&self) -> crate::error::Result<String> {
        serde_json::to_string(&FieldChangesMirror(self.clone())).map_err(crate::tables::json::unreadable)
    }

    fn from_json(text: &str) -> crate::error::Result<Self> {
        let mirror: FieldChangesMirror =
            serde_json::from_str(text).map_err(crate::tables::json::unreadable)?;
        Ok(mirror.0)
    }
}
