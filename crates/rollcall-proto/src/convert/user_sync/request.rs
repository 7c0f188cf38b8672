//! The requests of UserSyncService but for its checks.

use rollcall_core::error::Error;
use rollcall_core::id::{DirectoryId, TenantId, UserSyncId, UserSyncKey};
use rollcall_core::issue::HealthLevel;
use rollcall_core::revision::Revision;
use rollcall_core::run::RunMode;
use rollcall_core::user::UserDisposition;
use rollcall_core::user_sync::UserSyncSettings;
use rollcall_core::violation::{Violations, check_text};

use super::{decode, settings, wire};
use crate::convert::named_request;
use crate::decode::{
    Repeatable, choice, choices, finish, non_empty, parent, repeatable, request_id, required, resource_id,
    root,
};
use crate::etag::decode_etag;
use crate::page::AskedPage;
use crate::resource_name::{self, TenantScope, UserName};
use crate::{update_mask, v1};

/// CreateUserSync.
pub struct CreateUserSync {
    /// How to recognise a repeat.
    pub repeatable: Option<Repeatable>,
    /// The tenant.
    pub tenant: TenantId,
    /// The id; `None` to have one generated.
    pub id: Option<UserSyncId>,
    /// The settings.
    pub settings: UserSyncSettings,
}

/// ListUserSyncs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListUserSyncs {
    /// Whose.
    pub scope: TenantScope,
    /// Only those on this directory.
    pub directory: Option<DirectoryId>,
    /// Only those in one of these conditions; empty for any.
    pub health: Vec<HealthLevel>,
    /// Which page.
    pub page: AskedPage,
}

/// UpdateUserSync.
#[derive(Clone, PartialEq, Debug)]
pub struct UpdateUserSync {
    /// The user sync.
    pub key: UserSyncKey,
    /// The revision that the caller expects, if it does.
    pub revision: Option<Revision>,
    wire: v1::UserSync,
    paths: Vec<String>,
}

/// DeleteUserSync.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeleteUserSync {
    /// The user sync.
    pub key: UserSyncKey,
    /// The revision that the caller expects, if it does.
    pub revision: Option<Revision>,
    /// What becomes of its users.
    pub disposition: UserDisposition,
}

/// CloneUserSync.
pub struct CloneUserSync {
    /// How to recognise a repeat.
    pub repeatable: Option<Repeatable>,
    /// The original.
    pub key: UserSyncKey,
    /// The id of the copy; `None` to have one generated.
    pub id: Option<UserSyncId>,
    /// The display name of the copy; `None` for that of the original with " (copy)" after it.
    pub display_name: Option<String>,
}

/// RunUserSync.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RunUserSync {
    /// The user sync.
    pub key: UserSyncKey,
    /// What for.
    pub mode: RunMode,
    /// Identifies repeats of this call.
    pub request_id: Option<String>,
}

named_request!(GetUserSyncRequest => UserSyncKey, parse_user_sync, USER_SYNC);
named_request!(RefreshUserRequest => UserName, parse_user, USER);

impl UpdateUserSync {
    /// The settings after the update.
    ///
    /// # Errors
    /// INVALID_FIELD, with all fields that would not be valid.
    pub fn apply(&self, current: &UserSyncSettings) -> Result<UserSyncSettings, Error> {
        let mut merged = wire(&self.key.tenant, current);
        self.paths
            .iter()
            .for_each(|path| merged.overlay(&self.wire, path));
        let mut inner = Violations::new();
        let settings = settings(&mut inner, &merged, Some(&self.key.tenant));
        let mut found = Violations::new();
        found.nest("user_sync", inner);
        finish(found, Some(settings))
    }
}

impl TryFrom<v1::CreateUserSyncRequest> for CreateUserSync {
    type Error = Error;

    fn try_from(mut request: v1::CreateUserSyncRequest) -> Result<Self, Error> {
        let mut found = Violations::new();
        let repeatable = repeatable(&mut found, "CreateUserSync", &mut request, |it| {
            &mut it.request_id
        });
        let tenant = parent(&mut found, &request.parent);
        let id = resource_id(
            &mut found,
            "user_sync_id",
            &request.user_sync_id,
            UserSyncId::parse,
        );
        let settings = required(&mut found, "user_sync", request.user_sync).map(|wire| {
            let mut inner = Violations::new();
            let settings = settings(&mut inner, &wire, tenant.as_ref());
            found.nest("user_sync", inner);
            settings
        });
        let value = tenant.zip(settings);
        finish(
            found,
            value.map(|(tenant, settings)| Self {
                repeatable,
                tenant,
                id,
                settings,
            }),
        )
    }
}

impl TryFrom<v1::ListUserSyncsRequest> for ListUserSyncs {
    type Error = Error;

    fn try_from(request: v1::ListUserSyncsRequest) -> Result<Self, Error> {
        let mut found = Violations::new();
        let pattern = resource_name::TENANT_SCOPE;
        let parse = resource_name::parse_tenant_scope;
        let scope = resource_name::decode(&mut found, "parent", &request.parent, pattern, parse);
        let directory = match request.directory.as_str() {
            "" => None,
            text => {
                let pattern = resource_name::DIRECTORY;
                resource_name::decode(
                    &mut found,
                    "directory",
                    text,
                    pattern,
                    resource_name::parse_directory,
                )
            }
        };
        if let (Some(directory), Some(scope)) = (&directory, &scope) {
            found.require(
                scope.tenant() == Some(&directory.tenant),
                "directory",
                "is not of the tenant that parent names",
            );
        }
        let health = choices::<v1::HealthState, _>(&mut found, "health_states", &request.health_states);
        let binding = [
            "ListUserSyncs",
            &request.parent,
            &request.directory,
            &format!("{:?}", request.health_states),
        ];
        let page = AskedPage::decode(&mut found, request.page_size, request.page_token, &binding);
        let directory = directory.map(|name| name.directory);
        finish(
            found,
            scope.map(|scope| Self {
                scope,
                directory,
                health,
                page,
            }),
        )
    }
}

impl TryFrom<v1::UpdateUserSyncRequest> for UpdateUserSync {
    type Error = Error;

    fn try_from(request: v1::UpdateUserSyncRequest) -> Result<Self, Error> {
        let mut found = Violations::new();
        let Some(wire) = required(&mut found, "user_sync", request.user_sync) else {
            return Err(Error::invalid(found));
        };
        let key = user_sync_key(&mut found, "user_sync.name", &wire.name);
        let revision = decode_etag(&mut found, "user_sync.etag", &wire.etag);
        let (writable, populated) = (v1::UserSync::WRITABLE, wire.populated());
        let mask = request.update_mask;
        let paths = update_mask::paths(&mut found, mask, writable, v1::UserSync::is_writable, populated);
        let mut inner = Violations::new();
        decode(&mut inner, &wire, key.as_ref().map(|key| &key.tenant));
        let mut changed = Violations::new();
        for violation in inner
            .iter()
            .filter(|violation| paths.iter().any(|path| root(path) == root(&violation.field)))
        {
            changed.add(&violation.field, &violation.description);
        }
        found.nest("user_sync", changed);
        finish(
            found,
            key.map(|key| Self {
                key,
                revision,
                wire,
                paths,
            }),
        )
    }
}

impl TryFrom<v1::DeleteUserSyncRequest> for DeleteUserSync {
    type Error = Error;

    fn try_from(request: v1::DeleteUserSyncRequest) -> Result<Self, Error> {
        let mut found = Violations::new();
        let key = user_sync_key(&mut found, "name", &request.name);
        let revision = decode_etag(&mut found, "etag", &request.etag);
        let disposition =
            specified::<v1::UserDisposition, _>(&mut found, "user_disposition", request.user_disposition);
        let value = key.zip(disposition);
        finish(
            found,
            value.map(|(key, disposition)| Self {
                key,
                revision,
                disposition,
            }),
        )
    }
}

impl TryFrom<v1::CloneUserSyncRequest> for CloneUserSync {
    type Error = Error;

    fn try_from(mut request: v1::CloneUserSyncRequest) -> Result<Self, Error> {
        let mut found = Violations::new();
        let repeatable = repeatable(&mut found, "CloneUserSync", &mut request, |it| &mut it.request_id);
        let key = user_sync_key(&mut found, "name", &request.name);
        let id = resource_id(
            &mut found,
            "user_sync_id",
            &request.user_sync_id,
            UserSyncId::parse,
        );
        check_text(&mut found, "display_name", &request.display_name, 0, 200);
        let display_name = non_empty(&request.display_name);
        finish(
            found,
            key.map(|key| Self {
                repeatable,
                key,
                id,
                display_name,
            }),
        )
    }
}

impl TryFrom<v1::RunUserSyncRequest> for RunUserSync {
    type Error = Error;

    fn try_from(request: v1::RunUserSyncRequest) -> Result<Self, Error> {
        let mut found = Violations::new();
        let key = user_sync_key(&mut found, "name", &request.name);
        let mode = specified::<v1::SyncRunMode, _>(&mut found, "mode", request.mode);
        let request_id = request_id(&mut found, request.request_id);
        finish(
            found,
            key.zip(mode).map(|(key, mode)| Self {
                key,
                mode,
                request_id,
            }),
        )
    }
}

impl TryFrom<v1::RunDueUserSyncsRequest> for TenantScope {
    type Error = Error;

    fn try_from(request: v1::RunDueUserSyncsRequest) -> Result<Self, Error> {
        let mut found = Violations::new();
        let scope = resource_name::decode(
            &mut found,
            "parent",
            &request.parent,
            resource_name::TENANT_SCOPE,
            resource_name::parse_tenant_scope,
        );
        finish(found, scope)
    }
}

impl TryFrom<v1::CheckOverlapsRequest> for TenantId {
    type Error = Error;

    fn try_from(request: v1::CheckOverlapsRequest) -> Result<Self, Error> {
        let mut found = Violations::new();
        let tenant = parent(&mut found, &request.parent);
        finish(found, tenant)
    }
}

/// The value of an enum field that must be specified.
fn specified<W, D>(found: &mut Violations, field: &str, value: i32) -> Option<D>
where
    W: TryFrom<i32>,
    Option<D>: From<W>,
{
    let decoded = choice::<W, D>(found, field, value);
    found.require(decoded.is_some() || value != 0, field, "must be specified");
    decoded
}

fn user_sync_key(found: &mut Violations, field: &str, text: &str) -> Option<UserSyncKey> {
    resource_name::decode(
        found,
        field,
        text,
        resource_name::USER_SYNC,
        resource_name::parse_user_sync,
    )
}
