//! AuditService.

use chrono::{DateTime, Utc};
use rollcall_core::audit::{
    Actor, AuditEvent, AuditKind, AuditedFieldChange, LoginOutcome, SecretChange, ValueChange,
};
use rollcall_core::error::Error;
use rollcall_core::id::TenantId;
use rollcall_core::violation::{Violations, check_text};

use crate::decode::{choices, finish, non_empty, wire_enum};
use crate::page::AskedPage;
use crate::resource_name::{self, TenantScope};
use crate::time::decode_time;
use crate::{timestamp, v1};

/// ListAuditEvents.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListAuditEvents {
    /// Whose events.
    pub scope: TenantScope,
    /// Which events.
    pub filter: AuditEventFilter,
    /// Which page.
    pub page: AskedPage,
}

/// Chooses audit events. Every condition that is set must hold.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AuditEventFilter {
    /// About this resource.
    pub resource: Option<String>,
    /// By this caller.
    pub caller: Option<String>,
    /// At or after this time.
    pub start_time: Option<DateTime<Utc>>,
    /// Before this time.
    pub end_time: Option<DateTime<Utc>>,
    /// Logins that ended like this; empty for events of any kind.
    pub login_outcomes: Vec<LoginOutcome>,
}

wire_enum!(
    AuditedSecretChange,
    SecretChange {
        Set,
        Replaced,
        Removed
    }
);

wire_enum!(
    LoginOutcome,
    LoginOutcome {
        Authenticated,
        Denied,
        Error
    }
);

impl TryFrom<v1::ListAuditEventsRequest> for ListAuditEvents {
    type Error = Error;

    fn try_from(request: v1::ListAuditEventsRequest) -> Result<Self, Error> {
        let mut found = Violations::new();
        let scope = resource_name::decode(
            &mut found,
            "parent",
            &request.parent,
            resource_name::TENANT_SCOPE,
            resource_name::parse_tenant_scope,
        );
        let wire = request.filter.unwrap_or_default();
        let binding = ["ListAuditEvents", &request.parent, &format!("{wire:?}")];
        let page = AskedPage::decode(&mut found, request.page_size, request.page_token, &binding);
        let mut inner = Violations::new();
        let filter = filter(&mut inner, wire);
        found.nest("filter", inner);
        finish(found, scope.map(|scope| Self { scope, filter, page }))
    }
}

impl From<&AuditEvent> for v1::AuditEvent {
    fn from(event: &AuditEvent) -> Self {
        Self {
            name: resource_name::audit_event(event.tenant.as_ref(), event.position),
            event_time: Some(timestamp(event.time)),
            caller: event.caller.name.clone(),
            caller_credential: event.caller.credential.clone(),
            actor: actor(&event.actor),
            kind: Some(kind(&event.kind, event.tenant.as_ref())),
        }
    }
}

fn kind(kind: &AuditKind, tenant: Option<&TenantId>) -> v1::audit_event::Kind {
    match kind {
        AuditKind::Login {
            outcome,
            reason,
            user,
            user_sync,
            directory,
            unknown_login,
            client_address,
            flood,
        } => {
            let user = tenant
                .zip(*user)
                .map(|(tenant, id)| resource_name::user(tenant, id));
            let user_sync = tenant
                .zip(user_sync.as_ref())
                .map(|(tenant, id)| resource_name::user_sync(tenant, id));
            let directory = tenant
                .zip(directory.as_ref())
                .map(|(tenant, id)| resource_name::directory(tenant, id));
            v1::audit_event::Kind::Login(v1::LoginAttempt {
                outcome: v1::LoginOutcome::from(*outcome).into(),
                reason: reason.as_str().to_owned(),
                user: user.unwrap_or_default(),
                user_sync: user_sync.unwrap_or_default(),
                directory: directory.unwrap_or_default(),
                unknown_login: unknown_login.clone().unwrap_or_default(),
                client_address: client_address.clone().unwrap_or_default(),
                attempts: flood.map_or(0, |flood| i64::try_from(flood.attempts).unwrap_or(i64::MAX)),
                first_attempt_time: flood.map(|flood| timestamp(flood.since)),
            })
        }
        AuditKind::Change {
            method,
            resource,
            changes,
        } => v1::audit_event::Kind::Change(v1::AuditedChange {
            method: method.to_string(),
            resource: resource.clone(),
            changes: changes.iter().map(field_change).collect(),
            ..v1::AuditedChange::default()
        }),
    }
}

/// Whom a caller named; absent for nobody.
pub fn actor(actor: &Actor) -> Option<v1::Actor> {
    let Actor {
        name,
        address,
        reason,
    } = actor;
    (!actor.is_nobody()).then(|| v1::Actor {
        name: name.clone(),
        address: address.clone(),
        reason: reason.clone(),
    })
}

fn field_change(change: &AuditedFieldChange) -> v1::AuditedFieldChange {
    let (before, after, secret) = match &change.value {
        ValueChange::Shown { before, after } => (
            before.clone(),
            after.clone(),
            v1::AuditedSecretChange::Unspecified,
        ),
        ValueChange::Secret(secret) => (None, None, (*secret).into()),
    };
    v1::AuditedFieldChange {
        path: change.path.clone(),
        before,
        after,
        secret: secret.into(),
    }
}

fn filter(found: &mut Violations, wire: v1::AuditEventFilter) -> AuditEventFilter {
    check_text(found, "resource", &wire.resource, 0, 300);
    check_text(found, "caller", &wire.caller, 0, 300);
    let start_time = decode_time(found, "start_time", wire.start_time);
    let end_time = decode_time(found, "end_time", wire.end_time);
    let backwards = start_time.zip(end_time).is_some_and(|(start, end)| start >= end);
    found.require(!backwards, "end_time", "must be after start_time");
    AuditEventFilter {
        resource: non_empty(&wire.resource),
        caller: non_empty(&wire.caller),
        start_time,
        end_time,
        login_outcomes: choices::<v1::LoginOutcome, _>(found, "login_outcomes", &wire.login_outcomes),
    }
}
