//! AuditService.

use std::collections::BTreeMap;

use rollcall_core::audit::{
    About, Actor, AuditClass, AuditEvent, AuditFilter, AuditKind, AuditOrder, AuditedFieldChange,
    LoginOutcome, LoginReason, SecretChange, ValueChange,
};
use rollcall_core::error::Error;
use rollcall_core::id::TenantId;
use rollcall_core::violation::{Violations, check_text};

use crate::decode::{choice, choices, finish, non_empty, wire_enum};
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
    pub filter: AuditFilter,
    /// Which page.
    pub page: AskedPage,
}

/// WatchAuditEvents.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WatchAuditEvents {
    /// Whose events.
    pub scope: TenantScope,
    /// The cursor after which to go on, as it came; empty for none.
    pub after: String,
    /// Which events.
    pub filter: AuditFilter,
}

wire_enum!(
    AuditedSecretChange,
    SecretChange {
        Set,
        Replaced,
        Removed
    }
);

wire_enum!(AuditEventKind, AuditClass { Login, Change });

wire_enum!(
    AuditEventOrder,
    AuditOrder {
        NewestFirst,
        OldestFirst
    }
);

wire_enum!(
    vocabulary LoginOutcome,
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
        let scope = scope(&mut found, &request.parent);
        let wire = request.filter.unwrap_or_default();
        let order = request.order.to_string();
        let binding = ["ListAuditEvents", &request.parent, &format!("{wire:?}"), &order];
        let page = AskedPage::decode(&mut found, request.page_size, request.page_token, &binding);
        let mut filter = filter(&mut found, wire);
        filter.order =
            choice::<v1::AuditEventOrder, _>(&mut found, "order", request.order).unwrap_or_default();
        finish(found, scope.map(|scope| Self { scope, filter, page }))
    }
}

impl TryFrom<v1::WatchAuditEventsRequest> for WatchAuditEvents {
    type Error = Error;

    fn try_from(request: v1::WatchAuditEventsRequest) -> Result<Self, Error> {
        let mut found = Violations::new();
        let scope = scope(&mut found, &request.parent);
        let filter = filter(&mut found, request.filter.unwrap_or_default());
        let after = request.after;
        finish(found, scope.map(|scope| Self { scope, after, filter }))
    }
}

fn scope(found: &mut Violations, parent: &str) -> Option<TenantScope> {
    resource_name::decode(
        found,
        "parent",
        parent,
        resource_name::TENANT_SCOPE,
        resource_name::parse_tenant_scope,
    )
}

impl From<&AuditEvent> for v1::AuditEvent {
    fn from(event: &AuditEvent) -> Self {
        Self {
            name: resource_name::audit_event(event.tenant.as_ref(), event.id, event.time),
            event_time: Some(timestamp(event.time)),
            caller: event.caller.name.clone(),
            caller_credential: event.caller.credential.clone(),
            actor: actor(&event.actor),
            kind: Some(kind(&event.kind, event.tenant.as_ref())),
            erased: event.erased,
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
                reason_code: reason_code(*reason).into(),
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
            details: BTreeMap::new(),
        }),
    }
}

/// The reason by its name. A test holds that the contract has each.
pub fn reason_code(reason: LoginReason) -> v1::LoginReason {
    match reason {
        LoginReason::Error(_) => v1::LoginReason::CallFailed,
        LoginReason::Own(_) | LoginReason::Directory(_) => {
            let name = format!("LOGIN_REASON_{}", reason.as_str());
            v1::LoginReason::from_str_name(&name).unwrap_or_default()
        }
    }
}

/// The actor that a caller named; absent if it named none.
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

fn filter(found: &mut Violations, wire: v1::AuditEventFilter) -> AuditFilter {
    let mut inner = Violations::new();
    let filter = conditions(&mut inner, wire);
    found.nest("filter", inner);
    filter
}

fn conditions(found: &mut Violations, wire: v1::AuditEventFilter) -> AuditFilter {
    check_text(found, "resource", &wire.resource, 0, 300);
    check_text(found, "caller", &wire.caller, 0, 300);
    check_text(found, "method", &wire.method, 0, 100);
    check_text(found, "client_address", &wire.client_address, 0, 64);
    check_text(found, "login_reason", &wire.login_reason, 0, 100);
    found.require(wire.actor.len() <= 256, "actor", "must have at most 256 bytes");
    let from = decode_time(found, "start_time", wire.start_time);
    let to = decode_time(found, "end_time", wire.end_time);
    let backwards = from.zip(to).is_some_and(|(start, end)| start >= end);
    found.require(!backwards, "end_time", "must be after start_time");
    let about = non_empty(&wire.resource).and_then(|resource| {
        let about = About::new(&resource, wire.include_below);
        found.require(
            about.is_some(),
            "resource",
            "must be the name of a tenant's resource",
        );
        about
    });
    found.require(
        !(wire.include_below && wire.resource.is_empty()),
        "include_below",
        "needs a resource",
    );
    let user = non_empty(&wire.user).and_then(|user| {
        resource_name::decode(
            found,
            "user",
            &user,
            "tenants/{tenant}/users/{user}",
            resource_name::parse_user,
        )
    });
    AuditFilter {
        class: choice::<v1::AuditEventKind, _>(found, "kind", wire.kind),
        method: non_empty(&wire.method),
        about,
        user: user.map(|name| name.user),
        actor: non_empty(&wire.actor),
        caller: non_empty(&wire.caller),
        client_address: non_empty(&wire.client_address),
        outcomes: choices::<v1::LoginOutcome, _>(found, "login_outcomes", &wire.login_outcomes),
        reason: non_empty(&wire.login_reason),
        from,
        to,
        order: AuditOrder::default(),
    }
}
