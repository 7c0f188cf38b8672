//! An event in two parts: the row, which stays, and the payload, which holds what is personal and can be erased.

use rollcall_core::audit::{AuditCaller, AuditEvent, AuditKind, LoginReason, Subject};
use rollcall_core::id::{DirectoryId, TenantId, UserId, UserSyncId};
use sea_orm::FromQueryResult;

use crate::audit::chain::AuditRow;
use crate::db::timestamp::{from_micros, to_micros};
use crate::error::{Result, StoreError};
use crate::tables::json::audit::AuditPayload;
use crate::tables::labels::Label;

/// A payload as it is stored, if there is one.
#[derive(FromQueryResult)]
pub(crate) struct Payload {
    salt: Option<Vec<u8>>,
    pub(crate) payload: Option<String>,
}

impl Payload {
    /// Whether something was erased, so that the row no longer backs what is left.
    pub(crate) fn is_erased(&self) -> bool {
        self.salt().is_none()
    }

    /// The salt with which the row backs the payload.
    pub(crate) fn salt(&self) -> Option<&[u8]> {
        self.salt.as_deref().filter(|salt| !salt.is_empty())
    }
}

impl AuditRow {
    /// The row of an event, neither digested nor chained yet.
    pub(crate) fn of(event: &AuditEvent, position: i64) -> Self {
        let Subject {
            user,
            user_sync,
            directory,
        } = event.kind.subject();
        let (method, resource, outcome, reason) = match &event.kind {
            AuditKind::Login { outcome, reason, .. } => {
                (None, None, Some(outcome.label()), Some(reason.as_str()))
            }
            AuditKind::Change { method, resource, .. } => {
                (Some(method.as_ref()), Some(resource.as_str()), None, None)
            }
        };
        Self {
            position,
            id: event.id,
            time: to_micros(event.time),
            tenant: event.tenant.as_ref().map(ToString::to_string),
            caller: event.caller.name.clone(),
            credential: event.caller.credential.clone(),
            method: method.map(stored),
            resource: resource.filter(|name| !name.is_empty()).map(stored),
            outcome: outcome.map(stored),
            reason: reason.map(stored),
            user_id: user.map(|user| user.0),
            user_sync: user_sync.map(|id| id.to_string()),
            directory: directory.map(|id| id.to_string()),
            digest: Vec::new(),
            hash: Vec::new(),
        }
    }

    /// The event with its payload.
    pub(crate) fn into_domain(self, payload: Payload) -> Result<AuditEvent> {
        let erased = payload.is_erased();
        let payload = payload.payload.as_deref().map(AuditPayload::from_json);
        let payload = payload.transpose()?.unwrap_or_default();
        let kind = match self.outcome {
            Some(outcome) => AuditKind::Login {
                outcome: Label::from_label(&outcome)?,
                reason: LoginReason::parse(&self.reason.unwrap_or_default()),
                user: self.user_id.map(UserId),
                user_sync: self
                    .user_sync
                    .map(|id| id_of(&id, UserSyncId::parse))
                    .transpose()?,
                directory: self
                    .directory
                    .map(|id| id_of(&id, DirectoryId::parse))
                    .transpose()?,
                unknown_login: payload.unknown_login,
                client_address: payload.client_address,
                flood: payload.flood,
            },
            None => AuditKind::Change {
                method: self.method.unwrap_or_default().into(),
                resource: self.resource.unwrap_or_default(),
                changes: payload.changes,
            },
        };
        Ok(AuditEvent {
            id: self.id,
            time: from_micros(self.time)?,
            tenant: self.tenant.map(|id| id_of(&id, TenantId::parse)).transpose()?,
            caller: AuditCaller {
                name: self.caller,
                credential: self.credential,
            },
            actor: payload.actor.unwrap_or_default(),
            kind,
            erased,
        })
    }
}

impl AuditPayload {
    /// The personal data of an event.
    pub(crate) fn of(event: &AuditEvent) -> Self {
        let actor = (!event.actor.is_nobody()).then(|| event.actor.clone());
        match &event.kind {
            AuditKind::Login {
                unknown_login,
                client_address,
                flood,
                ..
            } => Self {
                actor,
                client_address: client_address.clone(),
                unknown_login: unknown_login.clone(),
                flood: *flood,
                changes: Vec::new(),
            },
            AuditKind::Change { changes, .. } => Self {
                actor,
                changes: changes.clone(),
                ..Self::default()
            },
        }
    }

    /// The actor's name, in the form in which it is looked for.
    pub(crate) fn actor_name(&self) -> Option<String> {
        self.actor.as_ref().map(|actor| stored(&actor.name))
    }

    /// The client address, in the form in which it is looked for.
    pub(crate) fn address(&self) -> Option<String> {
        self.client_address.as_deref().map(stored)
    }
}

/// The event with what is left of its payload.
pub(crate) fn with_payload(event: AuditEvent, left: AuditPayload) -> AuditEvent {
    let kind = match event.kind {
        AuditKind::Login {
            outcome,
            reason,
            user,
            user_sync,
            directory,
            ..
        } => AuditKind::Login {
            outcome,
            reason,
            user,
            user_sync,
            directory,
            unknown_login: left.unknown_login,
            client_address: left.client_address,
            flood: left.flood,
        },
        AuditKind::Change { method, resource, .. } => AuditKind::Change {
            method,
            resource,
            changes: left.changes,
        },
    };
    AuditEvent {
        actor: left.actor.unwrap_or_default(),
        kind,
        erased: true,
        ..event
    }
}

/// PostgreSQL's TEXT cannot hold U+0000.
fn stored(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

fn id_of<T>(text: &str, parse: fn(&str) -> Option<T>) -> Result<T> {
    parse(text).ok_or(StoreError::corrupt("a stored id is malformed"))
}
