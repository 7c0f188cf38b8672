//! One request for each method, in JSON. `{t}` is the tenant whose data it is about, `{n}` the tenant of what it names
//! besides, `{u}` a user of that tenant and `{r}` a run of its user sync. A method that takes a resource and nothing else that
//! has to be tried needs no row.

use super::wire::short_name;
use prost_reflect::{Kind, MethodDescriptor};

const DIRECTORY: &str =
    r#""displayName": "HQ", "hosts": ["ldaps://127.0.0.1:636"], "bindDn": "cn=x", "bindPassword": "secret""#;
const USER_SYNC: &str = r#""displayName": "Staff", "directory": "tenants/{n}/directories/hq",
    "searches": [{"baseDn": "dc=x", "scope": "SEARCH_SCOPE_SUBTREE", "filter": "(uid=*)"}], "role": "user",
    "fieldMappings": {"login": ["uid"]}"#;

/// The request of a method; `None` if nobody has thought of it.
pub(super) fn request(method: &MethodDescriptor) -> Option<String> {
    let row = match short_name(method).as_str() {
        "AuthService.Authenticate" => {
            r#"{"tenant": "tenants/{t}", "login": "ada", "password": "secret", "requestId": "walk"}"#
        }

        "UserService.BatchGetUsers" => r#"{"parent": "tenants/{t}", "names": ["tenants/{n}/users/{u}"]}"#,
        "UserService.ListUsers" => {
            r#"{"parent": "tenants/{t}", "filter": {"userSync": "tenants/{n}/userSyncs/staff"}}"#
        }
        "UserService.LookupUser" => r#"{"parent": "tenants/{t}", "identifier": "ada"}"#,
        "UserService.CreateUser" => {
            r#"{"parent": "tenants/{t}", "user": {"login": "walker", "role": "user"}, "requestId": "walk"}"#
        }
        "UserService.UpdateUser" => {
            r#"{"user": {"name": "tenants/{t}/users/{u}", "login": "walker", "role": "user", "etag": "r1"},
                "updateMask": "login"}"#
        }
        "UserService.BlockUser" => r#"{"name": "tenants/{t}/users/{u}", "reason": "left", "etag": "r1"}"#,

        "TenantService.CreateTenant" => {
            r#"{"tenantId": "{t}", "tenant": {"displayName": "T"}, "requestId": "walk"}"#
        }
        "TenantService.ListTenants" => "{}",
        "TenantService.UpdateTenant" => {
            r#"{"tenant": {"name": "tenants/{t}", "displayName": "T", "etag": "r1"}, "updateMask": "displayName"}"#
        }

        "DirectoryService.CreateDirectory" => {
            r#"{"parent": "tenants/{t}", "directory": {DIRECTORY}, "requestId": "walk"}"#
        }
        "DirectoryService.UpdateDirectory" => {
            r#"{"directory": {"name": "tenants/{t}/directories/hq", "displayName": "X", "etag": "r1"},
                "updateMask": "displayName"}"#
        }
        "DirectoryService.CheckConnection" => {
            r#"{"parent": "tenants/{t}", "directory": "tenants/{n}/directories/hq"}"#
        }
        "DirectoryService.RotateBindPassword" => {
            r#"{"name": "tenants/{t}/directories/hq", "bindPassword": "secret", "etag": "r1"}"#
        }

        "UserSyncService.CreateUserSync" => {
            r#"{"parent": "tenants/{t}", "userSync": {USER_SYNC}, "requestId": "walk"}"#
        }
        "UserSyncService.ListUserSyncs" => {
            r#"{"parent": "tenants/{t}", "directory": "tenants/{n}/directories/hq"}"#
        }
        "UserSyncService.UpdateUserSync" => {
            r#"{"userSync": {"name": "tenants/{t}/userSyncs/staff", USER_SYNC, "etag": "r1"},
                "updateMask": "directory"}"#
        }
        "UserSyncService.DeleteUserSync" => {
            r#"{"name": "tenants/{t}/userSyncs/staff", "userDisposition": "USER_DISPOSITION_ARCHIVE", "etag": "r1"}"#
        }
        "UserSyncService.CheckUserSync" => {
            r#"{"parent": "tenants/{t}", "userSync": "tenants/{n}/userSyncs/staff"}"#
        }
        "UserSyncService.CheckOverlaps" => r#"{"parent": "tenants/{t}"}"#,
        "UserSyncService.RunUserSync" => {
            r#"{"name": "tenants/{t}/userSyncs/staff", "mode": "SYNC_RUN_MODE_PREVIEW", "requestId": "walk"}"#
        }
        "UserSyncService.RunDueUserSyncs" => r#"{"parent": "tenants/{t}"}"#,
        "UserSyncService.ExplainUser" => {
            r#"{"parent": "tenants/{t}", "userSync": "tenants/{n}/userSyncs/staff", "identifier": "ada"}"#
        }
        "SyncRunService.ListSyncRunChanges" | "SyncRunService.ListSyncRunIssues" => {
            r#"{"parent": "tenants/{t}/userSyncs/staff/runs/{r}"}"#
        }

        "AuditService.ListAuditEvents" | "AuditService.WatchAuditEvents" => {
            r#"{"parent": "tenants/{t}", "filter": {"resource": "tenants/{n}/directories/hq"}}"#
        }
        "AuditService.RecordSecurityReview" => {
            r#"{"name": "tenants/{t}/securityReview", "etag": "r1", "reviewer": "Ada"}"#
        }
        _ => &plain(method)?,
    };
    let row = row.replace("{DIRECTORY}", &format!("{{{DIRECTORY}}}"));
    let row = row.replace("{USER_SYNC}", &format!("{{{USER_SYNC}}}"));
    let row = row.replace("USER_SYNC,", &format!("{USER_SYNC},"));
    // A request id is of one method.
    Some(row.replace("\"walk\"", &format!("\"{}\"", method.name())))
}

/// The request of a method that takes nothing but a resource, by what the contract says of its fields. `None` if it must have
/// more, or names something besides: then it needs a row, so that this is tried too.
fn plain(method: &MethodDescriptor) -> Option<String> {
    let (mut target, mut rest) = (None, String::new());
    for field in method.input().fields() {
        let extension = |name: &str| {
            let found = field.parent_pool().get_extension_by_name(name)?;
            Some(field.options().get_extension(&found).into_owned())
        };
        let reference = extension("google.api.resource_reference")?;
        let reference = reference.as_message()?;
        let of = |name: &str| Some(reference.get_field_by_name(name)?.as_str()?.to_owned());
        let required = extension("google.api.field_behavior")?
            .as_list()?
            .iter()
            .any(|behaviour| behaviour.as_enum_number() == Some(REQUIRED));
        match field.name() {
            "name" => target = resource(&of("type")?).map(|name| format!(r#""name": "{name}""#)),
            "parent" => target = parent(&of("child_type")?).map(|name| format!(r#""parent": "{name}""#)),
            "etag" => rest += r#", "etag": "r1""#,
            "request_id" => rest += r#", "requestId": "walk""#,
            _ if required || matches!(field.kind(), Kind::Message(_)) => return None,
            _ if !of("type")?.is_empty() || !of("child_type")?.is_empty() => return None,
            _ => {}
        }
    }
    Some(format!("{{{}{rest}}}", target?))
}

/// REQUIRED of google/api/field_behavior.proto.
const REQUIRED: i32 = 2;

fn resource(of_type: &str) -> Option<&'static str> {
    Some(match of_type.strip_prefix("rollcall/")? {
        "Tenant" => "tenants/{t}",
        "User" => "tenants/{t}/users/{u}",
        "Directory" => "tenants/{t}/directories/hq",
        "UserSync" => "tenants/{t}/userSyncs/staff",
        "SyncRun" => "tenants/{t}/userSyncs/staff/runs/{r}",
        "SecurityReview" => "tenants/{t}/securityReview",
        _ => return None,
    })
}

fn parent(of_type: &str) -> Option<&'static str> {
    match of_type.strip_prefix("rollcall/")? {
        "User" | "Directory" | "UserSync" => Some("tenants/{t}"),
        "SyncRun" => Some("tenants/{t}/userSyncs/staff"),
        _ => None,
    }
}

/// More requests of a method that name something besides, each in another field.
pub(super) fn with_more_names(method: &MethodDescriptor) -> &'static [&'static str] {
    match short_name(method).as_str() {
        "UserService.ListUsers" => {
            &[r#"{"parent": "tenants/{t}", "filter": {"directory": "tenants/{n}/directories/hq"}}"#]
        }
        "DirectoryService.CheckConnection" => &[
            r#"{"parent": "tenants/{t}", "draft": {"name": "tenants/{n}/directories/hq", "displayName": "HQ",
                "hosts": ["ldaps://127.0.0.1:636"], "bindDn": "cn=x", "bindPassword": "secret"}}"#,
        ],
        "UserSyncService.CheckUserSync" => &[
            r#"{"parent": "tenants/{t}", "draft": {"displayName": "S", "directory": "tenants/{n}/directories/hq",
                "searches": [{"baseDn": "dc=x", "scope": "SEARCH_SCOPE_SUBTREE", "filter": "(uid=*)"}],
                "role": "user", "fieldMappings": {"login": ["uid"]}}}"#,
            r#"{"parent": "tenants/{t}", "draft": {"displayName": "S", "directory": "tenants/{n}/directories/hq",
                "searches": [{"baseDn": "", "scope": "SEARCH_SCOPE_SUBTREE", "filter": "(uid=*)"}],
                "role": "user", "fieldMappings": {"login": ["uid"]}}}"#,
        ],
        "AuditService.ListAuditEvents" | "AuditService.WatchAuditEvents" => {
            &[r#"{"parent": "tenants/{t}", "filter": {"user": "tenants/{n}/users/{u}"}}"#]
        }
        _ => &[],
    }
}
