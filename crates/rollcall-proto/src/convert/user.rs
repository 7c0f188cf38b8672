//! UserService, as far as users are read.

use chrono::{DateTime, Utc};
use rollcall_core::error::Error;
use rollcall_core::event::{Event, EventType};
use rollcall_core::id::{DirectoryId, TenantId, UserId, UserSyncId};
use rollcall_core::user::{FieldChange, Origin, Profile, StateReason, User, UserState};
use rollcall_core::violation::{Violations, check_text};

use super::audit::actor;
use super::{named_request, text_fields};
use crate::decode::{choices, finish, non_empty, parent, wire_enum};
use crate::etag::etag;
use crate::page::AskedPage;
use crate::resource_name::{self, TenantScope, UserName};
use crate::time::decode_time;
use crate::{timestamp, v1};

/// Most users of one BatchGetUsers.
pub const MAX_BATCH: usize = 100;
/// Longest login or e-mail address in a request, in characters.
pub(crate) const MAX_IDENTIFIER_CHARS: usize = 320;

/// BatchGetUsers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BatchGetUsers {
    /// The tenant.
    pub tenant: TenantId,
    /// Its users, in the order of the answer.
    pub users: Vec<UserId>,
}

/// ListUsers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListUsers {
    /// Whose users.
    pub scope: TenantScope,
    /// Which users.
    pub filter: UserFilter,
    /// Which page.
    pub page: AskedPage,
}

/// Chooses users. Every condition that is set must hold.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct UserFilter {
    /// In one of these states; empty for any.
    pub states: Vec<UserState>,
    /// Synced (true) or LOCAL (false).
    pub synced: Option<bool>,
    /// Owned by this user sync.
    pub user_sync: Option<UserSyncId>,
    /// From this directory.
    pub directory: Option<DirectoryId>,
    /// With this role.
    pub role: Option<String>,
    /// Blocked, or not.
    pub blocked: Option<bool>,
    /// The tenant's owners, or everybody else.
    pub owner: Option<bool>,
    /// Login, e-mail address or display name starts with this, whatever its case.
    pub prefix: Option<String>,
    /// With this external id, as text; `directory` is set too.
    pub external_id: Option<String>,
    /// Without a login at this time or later.
    pub no_login_since: Option<DateTime<Utc>>,
    /// Without any login.
    pub never_logged_in: bool,
}

/// LookupUser.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LookupUser {
    /// The tenant.
    pub tenant: TenantId,
    /// A login or an e-mail address, as it was typed.
    pub identifier: String,
}

named_request!(GetUserRequest => UserName, parse_user, USER);

wire_enum!(
    UserState,
    UserState {
        Active,
        Deactivated,
        Archived
    }
);
wire_enum!(
    vocabulary UserStateReason,
    StateReason {
        Gone,
        OutOfScope,
        DisabledInDirectory,
        ExpiredInDirectory,
        ByProduct,
        SyncDeleted,
    }
);
wire_enum!(
    vocabulary UserEventType,
    EventType {
        Created,
        Updated,
        Linked,
        Unlinked,
        Deactivated,
        Reactivated,
        Archived,
        Transferred,
        Blocked,
        Unblocked,
        Deleted,
        Erased,
    }
);

impl TryFrom<v1::BatchGetUsersRequest> for BatchGetUsers {
    type Error = Error;

    fn try_from(request: v1::BatchGetUsersRequest) -> Result<Self, Error> {
        let mut found = Violations::new();
        let tenant = parent(&mut found, &request.parent);
        found.require(!request.names.is_empty(), "names", "needs at least one name");
        found.require(
            request.names.len() <= MAX_BATCH,
            "names",
            format!(
                "has {} names, at most {MAX_BATCH} are allowed",
                request.names.len()
            ),
        );
        let mut users = Vec::new();
        for (index, name) in request.names.iter().enumerate().take(MAX_BATCH) {
            let field = format!("names[{index}]");
            let pattern = resource_name::USER;
            if let Some(name) =
                resource_name::decode(&mut found, &field, name, pattern, resource_name::parse_user)
            {
                let same = tenant.as_ref().is_none_or(|tenant| *tenant == name.tenant);
                found.require(same, field, "is not of the tenant that parent names");
                users.push(name.user);
            }
        }
        finish(found, tenant.map(|tenant| Self { tenant, users }))
    }
}

impl TryFrom<v1::ListUsersRequest> for ListUsers {
    type Error = Error;

    fn try_from(request: v1::ListUsersRequest) -> Result<Self, Error> {
        let mut found = Violations::new();
        let pattern = resource_name::TENANT_SCOPE;
        let parse = resource_name::parse_tenant_scope;
        let scope = resource_name::decode(&mut found, "parent", &request.parent, pattern, parse);
        let wire = request.filter.unwrap_or_default();
        let binding = ["ListUsers", &request.parent, &format!("{wire:?}")];
        let page = AskedPage::decode(&mut found, request.page_size, request.page_token, &binding);
        let mut inner = Violations::new();
        let filter = filter(&mut inner, wire, scope.as_ref());
        found.nest("filter", inner);
        finish(found, scope.map(|scope| Self { scope, filter, page }))
    }
}

impl TryFrom<v1::LookupUserRequest> for LookupUser {
    type Error = Error;

    fn try_from(request: v1::LookupUserRequest) -> Result<Self, Error> {
        let mut found = Violations::new();
        let tenant = parent(&mut found, &request.parent);
        let identifier = request.identifier;
        check_text(&mut found, "identifier", &identifier, 1, MAX_IDENTIFIER_CHARS);
        finish(found, tenant.map(|tenant| Self { tenant, identifier }))
    }
}

impl From<&User> for v1::User {
    fn from(user: &User) -> Self {
        let User {
            tenant,
            id,
            origin,
            profile,
            state,
            state_reason,
            owner,
            block,
            login_ambiguous,
            // Which entry asks for the login is told by the issues of its run.
            login_asked_by: _,
            revision,
            create_time,
            update_time,
        } = user;
        let Profile {
            login,
            email,
            texts,
            role,
            restrictions,
            custom,
        } = profile;
        let mut wire = Self {
            name: resource_name::user(tenant, *id),
            source: v1::UserSource::Local.into(),
            login: login.clone(),
            email: email.clone().unwrap_or_default(),
            role: role.clone(),
            restrictions: restrictions.clone(),
            custom: custom.clone(),
            state: v1::UserState::from(*state).into(),
            state_reason: state_reason
                .map(v1::UserStateReason::from)
                .unwrap_or_default()
                .into(),
            owner: *owner,
            block: block.as_ref().map(|block| v1::UserBlock {
                reason: block.reason.clone(),
                block_time: Some(timestamp(block.time)),
            }),
            revision: revision.number(),
            etag: etag(*revision),
            create_time: Some(timestamp(*create_time)),
            update_time: Some(timestamp(*update_time)),
            login_ambiguous: *login_ambiguous,
            ..Self::default()
        };
        if let Some(origin) = origin {
            let Origin {
                user_sync,
                directory,
                external_id,
                dn,
                linked,
            } = origin;
            wire.source = v1::UserSource::Synced.into();
            wire.user_sync = resource_name::user_sync(tenant, user_sync);
            wire.directory = resource_name::directory(tenant, directory);
            wire.external_id = external_id.to_string();
            external_id
                .kind()
                .attribute()
                .clone_into(&mut wire.external_id_attribute);
            wire.dn.clone_from(dn);
            wire.linked = *linked;
        }
        text_fields::put_into_user(&mut wire, texts);
        wire
    }
}

impl From<&FieldChange> for v1::FieldChange {
    fn from(change: &FieldChange) -> Self {
        Self {
            field: change.field.clone(),
            old_value: change.old.clone(),
            new_value: change.new.clone(),
        }
    }
}

/// An event of a feed in which it stands at `cursor`.
pub fn event(event: &Event, cursor: String) -> v1::UserEvent {
    let asked_by = event.asked_by.as_ref();
    let run = event.run.zip(event.user_sync.as_ref()).map(|(run, user_sync)| {
        let user_sync = resource_name::user_sync(&event.tenant, user_sync);
        format!("{user_sync}/runs/{run}")
    });
    let user = match &event.after {
        Some(user) => user.into(),
        None => v1::User {
            name: resource_name::user(&event.tenant, event.user),
            ..v1::User::default()
        },
    };
    v1::UserEvent {
        cursor,
        r#type: v1::UserEventType::from(event.event_type).into(),
        user: Some(user),
        field_changes: event.changes.iter().map(Into::into).collect(),
        run: run.unwrap_or_default(),
        event_time: Some(timestamp(event.time)),
        caller: asked_by.map_or_else(String::new, |by| by.caller.clone()),
        actor: asked_by.and_then(|by| actor(&by.actor)),
    }
}

fn filter(found: &mut Violations, wire: v1::UserFilter, scope: Option<&TenantScope>) -> UserFilter {
    let synced = match v1::UserSource::try_from(wire.source) {
        Ok(v1::UserSource::Unspecified) => None,
        Ok(source) => Some(source == v1::UserSource::Synced),
        Err(_) => {
            found.add(
                "source",
                format!("{} is none of the values that this version knows", wire.source),
            );
            None
        }
    };
    let of_tenant = |named: &TenantId| match scope {
        Some(TenantScope::One(tenant)) => tenant == named,
        Some(TenantScope::All) => false,
        None => true,
    };
    let user_sync = non_empty(&wire.user_sync).and_then(|text| {
        let pattern = resource_name::USER_SYNC;
        let key = resource_name::decode(found, "user_sync", &text, pattern, resource_name::parse_user_sync)?;
        found.require(
            of_tenant(&key.tenant),
            "user_sync",
            "is not of the tenant that parent names",
        );
        Some(key.user_sync)
    });
    let directory = non_empty(&wire.directory).and_then(|text| {
        let pattern = resource_name::DIRECTORY;
        let name = resource_name::decode(found, "directory", &text, pattern, resource_name::parse_directory)?;
        found.require(
            of_tenant(&name.tenant),
            "directory",
            "is not of the tenant that parent names",
        );
        Some(name.directory)
    });
    check_text(found, "role", &wire.role, 0, 64);
    check_text(found, "prefix", &wire.prefix, 0, 128);
    check_text(found, "external_id", &wire.external_id, 0, 1024);
    found.require(
        wire.external_id.is_empty() || !wire.directory.is_empty(),
        "directory",
        "is required with external_id",
    );
    UserFilter {
        states: choices::<v1::UserState, _>(found, "states", &wire.states),
        synced,
        user_sync,
        directory,
        role: non_empty(&wire.role),
        blocked: wire.blocked,
        owner: wire.owner,
        prefix: non_empty(&wire.prefix),
        external_id: non_empty(&wire.external_id),
        no_login_since: decode_time(found, "no_login_since", wire.no_login_since),
        never_logged_in: wire.never_logged_in,
    }
}
