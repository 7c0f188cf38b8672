//! The rows of `users`.

use rollcall_core::external_id::{ExternalId, IdKind};
use rollcall_core::id::{DirectoryId, TenantId, UserId, UserSyncId};
use rollcall_core::revision::Revision;
use rollcall_core::user::{Block, Origin, OtherEntry, Profile, StateReason, User, UserState};
use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};

use crate::db::row::from_row;
use crate::db::timestamp::{from_micros, to_micros};
use crate::error::{Result, StoreError};
use crate::tables::json::unreadable;
use crate::tables::json::user::{ProfileMirror, other_entry};
use crate::tables::labels::Label;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "users")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) tenant: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) id: Uuid,
    pub(crate) user_sync: Option<String>,
    pub(crate) directory: Option<String>,
    pub(crate) id_kind: Option<String>,
    pub(crate) external_id: Option<Vec<u8>>,
    pub(crate) linked: bool,
    pub(crate) details: String,
    pub(crate) state: String,
    pub(crate) state_reason: Option<String>,
    pub(crate) owner: bool,
    pub(crate) block_time: Option<i64>,
    pub(crate) fingerprint: Option<Vec<u8>>,
    pub(crate) revision: i64,
    pub(crate) create_time: i64,
    pub(crate) update_time: i64,
}

from_row!(Model {
    tenant,
    id,
    user_sync,
    directory,
    id_kind,
    external_id,
    linked,
    details,
    state,
    state_reason,
    owner,
    block_time,
    fingerprint,
    revision,
    create_time,
    update_time,
});

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// What people and directories wrote, as JSON.
#[derive(Serialize, Deserialize)]
struct Details {
    #[serde(with = "ProfileMirror")]
    profile: Profile,
    #[serde(default)]
    dn: String,
    #[serde(default)]
    block_reason: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    login_ambiguous: bool,
    #[serde(with = "other_entry", default, skip_serializing_if = "Option::is_none")]
    login_asked_by: Option<OtherEntry>,
}

impl Model {
    pub(crate) fn of(user: &User, fingerprint: Option<Vec<u8>>) -> Result<Self> {
        let details = Details {
            profile: user.profile.clone(),
            dn: user
                .origin
                .as_ref()
                .map(|origin| origin.dn.clone())
                .unwrap_or_default(),
            block_reason: user
                .block
                .as_ref()
                .map(|block| block.reason.clone())
                .unwrap_or_default(),
            login_ambiguous: user.login_ambiguous,
            login_asked_by: user.login_asked_by.clone(),
        };
        let origin = user.origin.as_ref();
        Ok(Self {
            tenant: user.tenant.to_string(),
            id: user.id.0,
            user_sync: origin.map(|origin| origin.user_sync.to_string()),
            directory: origin.map(|origin| origin.directory.to_string()),
            id_kind: origin.map(|origin| origin.external_id.kind().attribute().to_owned()),
            external_id: origin.map(|origin| origin.external_id.bytes().to_vec()),
            linked: origin.is_some_and(|origin| origin.linked),
            details: serde_json::to_string(&details).map_err(unreadable)?,
            state: user.state.label().to_owned(),
            state_reason: user.state_reason.map(|reason| reason.label().to_owned()),
            owner: user.owner,
            block_time: user.block.as_ref().map(|block| to_micros(block.time)),
            fingerprint,
            revision: user.revision.number(),
            create_time: to_micros(user.create_time),
            update_time: to_micros(user.update_time),
        })
    }

    pub(crate) fn into_domain(self) -> Result<User> {
        let details: Details = serde_json::from_str(&self.details).map_err(unreadable)?;
        let origin = match (self.user_sync, self.directory, self.id_kind, self.external_id) {
            (None, None, None, None) => None,
            (Some(user_sync), Some(directory), Some(kind), Some(bytes)) => Some(Origin {
                user_sync: UserSyncId::parse(&user_sync).ok_or_else(bad_id)?,
                directory: DirectoryId::parse(&directory).ok_or_else(bad_id)?,
                external_id: external_id(&kind, &bytes)?,
                dn: details.dn,
                linked: self.linked,
            }),
            _ => return Err(StoreError::corrupt("a user's origin is incomplete")),
        };
        let block = self.block_time.map(from_micros).transpose()?;
        Ok(User {
            tenant: TenantId::parse(&self.tenant).ok_or_else(bad_id)?,
            id: UserId(self.id),
            origin,
            profile: details.profile,
            state: UserState::from_label(&self.state)?,
            state_reason: self
                .state_reason
                .as_deref()
                .map(StateReason::from_label)
                .transpose()?,
            owner: self.owner,
            block: block.map(|time| Block {
                time,
                reason: details.block_reason,
            }),
            login_ambiguous: details.login_ambiguous,
            login_asked_by: details.login_asked_by,
            revision: Revision::new(self.revision),
            create_time: from_micros(self.create_time)?,
            update_time: from_micros(self.update_time)?,
        })
    }
}

fn bad_id() -> StoreError {
    StoreError::corrupt("a stored id is malformed")
}

/// The external id that is stored as this kind and these bytes.
pub(crate) fn external_id(kind: &str, bytes: &[u8]) -> Result<ExternalId> {
    IdKind::of_attribute(kind)
        .and_then(|kind| ExternalId::from_bytes(kind, bytes).ok())
        .ok_or_else(bad_id)
}

#[cfg(test)]
mod tests {
    use super::Details;
    use crate::tables::json::golden::{current_plain, earlier_plain};

    #[test]
    fn details_are_read_as_releases_have_written_them() {
        current_plain::<Details>(
            r#"{"profile":{"login":"ada","email":"ada@example.org","role":"user"},"dn":"uid=ada","block_reason":"keys lost","login_ambiguous":true,"login_asked_by":{"user_sync":"other","external_id":"entryUUID=00000000-0000-0000-0000-000000000003"}}"#,
        );
        earlier_plain::<Details>(r#"{"profile":{"login":"ada","role":"user"}}"#);
    }
}
