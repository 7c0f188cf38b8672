//! What audit events are about.

use std::borrow::Cow;
use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use rollcall_core::audit::{
    Actor, AskedBy, AuditKind, AuditedFieldChange, Decision, Flood, LoginOutcome, LoginReason, SecretChange,
    ValueChange,
};
use rollcall_core::id::{DirectoryId, UserId, UserSyncId};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::db::timestamp;
use crate::error::StoreError;
use crate::tables::json::{json_column, option_of, optional_text_of, unreadable};
use crate::tables::labels;

#[derive(Serialize, Deserialize)]
#[serde(remote = "AuditKind", tag = "type", rename_all = "snake_case")]
enum AuditKindMirror {
    Login {
        #[serde(with = "labels")]
        outcome: LoginOutcome,
        #[serde(with = "reason")]
        reason: LoginReason,
        #[serde(with = "crate::tables::json::optional_user_id")]
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
        /// Rows of former releases have `details` instead: the new values alone, in the words of that release.
        #[serde(with = "field_changes", alias = "details")]
        changes: Vec<AuditedFieldChange>,
    },
}

/// The personal data of an audit event, which can be erased.
#[derive(Serialize, Deserialize, Default)]
pub(crate) struct AuditPayload {
    #[serde(with = "optional_actor", default, skip_serializing_if = "Option::is_none")]
    pub(crate) actor: Option<Actor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) client_address: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) unknown_login: Option<String>,
    #[serde(with = "optional_flood", default, skip_serializing_if = "Option::is_none")]
    pub(crate) flood: Option<Flood>,
    #[serde(with = "field_changes", default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) changes: Vec<AuditedFieldChange>,
}

impl AuditPayload {
    pub(crate) fn to_json(&self) -> Result<String, StoreError> {
        serde_json::to_string(self).map_err(unreadable)
    }

    pub(crate) fn from_json(text: &str) -> Result<Self, StoreError> {
        serde_json::from_str(text).map_err(unreadable)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Actor")]
struct ActorMirror {
    name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    address: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    reason: String,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "AskedBy")]
struct AskedByMirror {
    caller: String,
    #[serde(with = "ActorMirror", default, skip_serializing_if = "Actor::is_nobody")]
    actor: Actor,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Decision")]
struct DecisionMirror {
    #[serde(with = "AskedByMirror")]
    by: AskedBy,
    #[serde(with = "timestamp::micros")]
    time: DateTime<Utc>,
}

/// A [`AuditedFieldChange`].
#[derive(Serialize, Deserialize)]
struct SavedChange {
    path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    secret: Option<SavedSecret>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SavedSecret {
    Set,
    Replaced,
    Removed,
}

impl From<&AuditedFieldChange> for SavedChange {
    fn from(change: &AuditedFieldChange) -> Self {
        let (before, after, secret) = match &change.value {
            ValueChange::Shown { before, after } => (before.clone(), after.clone(), None),
            ValueChange::Secret(SecretChange::Set) => (None, None, Some(SavedSecret::Set)),
            ValueChange::Secret(SecretChange::Replaced) => (None, None, Some(SavedSecret::Replaced)),
            ValueChange::Secret(SecretChange::Removed) => (None, None, Some(SavedSecret::Removed)),
        };
        Self {
            path: change.path.clone(),
            before,
            after,
            secret,
        }
    }
}

impl From<SavedChange> for AuditedFieldChange {
    fn from(saved: SavedChange) -> Self {
        let value = match saved.secret {
            Some(SavedSecret::Set) => ValueChange::Secret(SecretChange::Set),
            Some(SavedSecret::Replaced) => ValueChange::Secret(SecretChange::Replaced),
            Some(SavedSecret::Removed) => ValueChange::Secret(SecretChange::Removed),
            None => ValueChange::Shown {
                before: saved.before,
                after: saved.after,
            },
        };
        Self {
            path: saved.path,
            value,
        }
    }
}

mod field_changes {
    use super::*;

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Saved {
        Changes(Vec<SavedChange>),
        Details(BTreeMap<String, String>),
    }

    pub(super) fn serialize<S: Serializer>(
        changes: &[AuditedFieldChange],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(changes.iter().map(SavedChange::from))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<AuditedFieldChange>, D::Error> {
        Ok(match Saved::deserialize(deserializer)? {
            Saved::Changes(changes) => changes.into_iter().map(AuditedFieldChange::from).collect(),
            Saved::Details(details) => details
                .into_iter()
                .map(|(path, value)| AuditedFieldChange::asked(&path, value))
                .collect(),
        })
    }
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
option_of!(optional_actor, Actor, "ActorMirror");
optional_text_of!(optional_directory_id, DirectoryId, DirectoryId::parse);

json_column!(Actor, ActorMirror);
json_column!(AskedBy, AskedByMirror);
json_column!(Decision, DecisionMirror);
json_column!(AuditKind, AuditKindMirror);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use crate::tables::json::{JsonColumn as _, golden};

    #[test]
    fn a_payload_is_read_as_releases_have_written_it() {
        golden::current_plain::<AuditPayload>(
            r#"{"actor":{"name":"eve","address":"192.0.2.1"},"client_address":"192.0.2.2","unknown_login":"af3b:7","flood":{"attempts":3,"since":1700000000000000},"changes":[{"path":"email","before":"a@x.org"},{"path":"bind_password","secret":"set"}]}"#,
        );
        golden::current_plain::<AuditPayload>("{}");
        golden::earlier_plain::<AuditPayload>(r#"{"changes":{"display_name":"\"Acme\""}}"#);
    }

    #[test]
    fn a_row_of_an_earlier_release_is_read() {
        let row = r#"{"type":"change","method":"TenantService.CreateTenant","resource":"tenants/acme",
            "details":{"display_name":"\"Acme\""}}"#;
        let AuditKind::Change { changes, .. } = AuditKind::from_json(row).unwrap() else {
            panic!("a change");
        };
        assert_eq!(changes, [AuditedFieldChange::asked("display_name", "\"Acme\"")]);
    }

    #[test]
    fn a_row_of_a_newer_release_is_read() {
        let row = r#"{"type":"login","outcome":"POSTPONED","reason":"FULL_MOON","user":null,"user_sync":null,
            "directory":null,"unknown_login":null,"client_address":null}"#;
        let AuditKind::Login { outcome, reason, .. } = AuditKind::from_json(row).unwrap() else {
            panic!("a login");
        };
        assert_eq!((outcome.word(), reason.as_str()), ("POSTPONED", "UNRECOGNIZED"));
    }

    #[test]
    fn changes_are_read_as_they_were_written() {
        let kind = AuditKind::Change {
            method: "UserService.UpdateUser".into(),
            resource: "tenants/acme/users/1".into(),
            changes: vec![
                AuditedFieldChange {
                    path: "email".into(),
                    value: ValueChange::Shown {
                        before: Some(String::new()),
                        after: None,
                    },
                },
                AuditedFieldChange::secret("bind_password", SecretChange::Replaced),
            ],
        };
        assert_eq!(AuditKind::from_json(&kind.to_json().unwrap()).unwrap(), kind);
    }
}
