//! CheckConnection and CheckUserSync, and the report that both return.

use std::time::Duration;

use chrono::{DateTime, Utc};
use rollcall_core::check::{CheckReport, Stage, StageKind, StageResult};
use rollcall_core::directory::DirectorySettings;
use rollcall_core::error::Error;
use rollcall_core::id::{DirectoryId, TenantId, UserSyncId};
use rollcall_core::user_sync::UserSyncSettings;
use rollcall_core::violation::Violations;

use super::{directory, user_sync};
use crate::convert::directory::DirectorySecrets;
use crate::decode::{finish, parent, wire_enum};
use crate::resource_name::{self, DirectoryName};
use crate::{duration, timestamp, v1};

/// Entries shown when the request does not say how many.
pub(crate) const DEFAULT_SAMPLE_SIZE: usize = 10;
/// Most entries shown; more is taken as this.
pub const MAX_SAMPLE_SIZE: usize = 100;

/// CheckConnection.
pub struct CheckConnection {
    /// The tenant.
    pub tenant: TenantId,
    /// What to try.
    pub target: DirectoryTarget,
}

/// A directory to try.
pub enum DirectoryTarget {
    /// A stored one.
    Stored(DirectoryId),
    /// One that need not be stored.
    Draft {
        /// The stored directory that lends its secrets if the endpoint is equal.
        stored: Option<DirectoryId>,
        /// The settings.
        settings: Box<DirectorySettings>,
        /// The secrets; with a bind password unless a stored directory is named.
        secrets: DirectorySecrets,
    },
}

/// CheckUserSync.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CheckUserSync {
    /// The tenant.
    pub tenant: TenantId,
    /// What to try.
    pub target: UserSyncTarget,
    /// How many entries to show, 1 to [`MAX_SAMPLE_SIZE`].
    pub sample_size: usize,
}

/// A user sync to try.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum UserSyncTarget {
    /// A stored one.
    Stored(UserSyncId),
    /// One that need not be stored.
    Draft {
        /// The stored user sync that it is to become, which it does not overlap with.
        stored: Option<UserSyncId>,
        /// The settings.
        settings: Box<UserSyncSettings>,
    },
}

wire_enum!(
    CheckOutcome,
    StageResult {
        Pass,
        Warn,
        Fail,
        Skipped
    }
);
wire_enum!(
    vocabulary CheckStageKind,
    StageKind {
        Parse,
        EgressPolicy,
        Dns,
        Tcp,
        Tls,
        Bind,
        RootDse,
        SearchBase,
        SearchFilter,
        Paging,
        ExternalId,
        FieldMappings,
        AccountState,
        RoleRules,
        Overlaps,
        Privilege,
    }
);

/// The report of a check that began at `time` and took so long.
pub fn report(report: &CheckReport, time: DateTime<Utc>, took: Duration) -> v1::CheckReport {
    v1::CheckReport {
        outcome: v1::CheckOutcome::from(report.result()).into(),
        stages: report.stages.iter().map(Into::into).collect(),
        check_time: Some(timestamp(time)),
        duration: Some(duration(took)),
    }
}

impl From<&Stage> for v1::CheckStage {
    fn from(stage: &Stage) -> Self {
        Self {
            kind: v1::CheckStageKind::from(stage.kind).into(),
            subject: stage.subject.clone(),
            outcome: v1::CheckOutcome::from(stage.result).into(),
            message: stage.message.clone(),
            hint: stage.hint.clone(),
            duration: Some(duration(stage.duration)),
        }
    }
}

impl TryFrom<v1::CheckConnectionRequest> for CheckConnection {
    type Error = Error;

    fn try_from(request: v1::CheckConnectionRequest) -> Result<Self, Error> {
        use v1::check_connection_request::Target;
        let mut found = Violations::new();
        let tenant = parent(&mut found, &request.parent);
        let target = match request.target {
            None => {
                found.add("target", "is required: directory or draft");
                None
            }
            Some(Target::Directory(name)) => {
                stored_directory(&mut found, "directory", &name, tenant.as_ref()).map(DirectoryTarget::Stored)
            }
            Some(Target::Draft(mut wire)) => {
                let stored = match wire.name.is_empty() {
                    true => None,
                    false => stored_directory(&mut found, "draft.name", &wire.name, tenant.as_ref()),
                };
                let mut inner = Violations::new();
                let has_password = !wire.bind_password.is_empty();
                inner.require(
                    has_password || !wire.name.is_empty(),
                    "bind_password",
                    "is required, unless name is that of a stored directory with the same endpoint",
                );
                let secrets = DirectorySecrets::take(&mut inner, &mut wire);
                let settings = Box::new(directory::settings(&mut inner, &wire));
                found.nest("draft", inner);
                Some(DirectoryTarget::Draft {
                    stored,
                    settings,
                    secrets,
                })
            }
        };
        let value = tenant.zip(target);
        finish(found, value.map(|(tenant, target)| Self { tenant, target }))
    }
}

impl TryFrom<v1::CheckUserSyncRequest> for CheckUserSync {
    type Error = Error;

    fn try_from(request: v1::CheckUserSyncRequest) -> Result<Self, Error> {
        use v1::check_user_sync_request::Target;
        let mut found = Violations::new();
        let tenant = parent(&mut found, &request.parent);
        let target = match request.target {
            None => {
                found.add("target", "is required: user_sync or draft");
                None
            }
            Some(Target::UserSync(name)) => user_sync_target(&mut found, Ok(name), tenant.as_ref()),
            Some(Target::Draft(wire)) => user_sync_target(&mut found, Err(Box::new(wire)), tenant.as_ref()),
        };
        let sample_size = match usize::try_from(request.sample_size) {
            Ok(0) => DEFAULT_SAMPLE_SIZE,
            Ok(size) => size.min(MAX_SAMPLE_SIZE),
            Err(_) => {
                found.add("sample_size", "must not be negative");
                DEFAULT_SAMPLE_SIZE
            }
        };
        let value = tenant.zip(target);
        finish(
            found,
            value.map(|(tenant, target)| Self {
                tenant,
                target,
                sample_size,
            }),
        )
    }
}

fn stored_directory(
    found: &mut Violations,
    field: &str,
    text: &str,
    tenant: Option<&TenantId>,
) -> Option<DirectoryId> {
    let pattern = resource_name::DIRECTORY;
    let name: DirectoryName =
        resource_name::decode(found, field, text, pattern, resource_name::parse_directory)?;
    let same = tenant.is_none_or(|tenant| *tenant == name.tenant);
    found.require(same, field, "is not of the tenant that parent names");
    Some(name.directory)
}

fn stored_user_sync(
    found: &mut Violations,
    field: &str,
    text: &str,
    tenant: Option<&TenantId>,
) -> Option<UserSyncId> {
    let pattern = resource_name::USER_SYNC;
    let key = resource_name::decode(found, field, text, pattern, resource_name::parse_user_sync)?;
    let same = tenant.is_none_or(|tenant| *tenant == key.tenant);
    found.require(same, field, "is not of the tenant that parent names");
    Some(key.user_sync)
}

/// A stored user sync by its name, or a draft.
pub(super) fn user_sync_target(
    found: &mut Violations,
    target: Result<String, Box<v1::UserSync>>,
    tenant: Option<&TenantId>,
) -> Option<UserSyncTarget> {
    match target {
        Ok(name) => stored_user_sync(found, "user_sync", &name, tenant).map(UserSyncTarget::Stored),
        Err(wire) => {
            let stored = match wire.name.is_empty() {
                true => None,
                false => stored_user_sync(found, "draft.name", &wire.name, tenant),
            };
            let mut inner = Violations::new();
            let settings = Box::new(user_sync::settings(&mut inner, &wire, tenant));
            found.nest("draft", inner);
            Some(UserSyncTarget::Draft { stored, settings })
        }
    }
}
