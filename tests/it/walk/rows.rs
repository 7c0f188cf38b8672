//! One request for each method, in JSON. `{t}` is the tenant whose data it is about, `{n}` the tenant of what it names
//! besides, `{u}` a user of that tenant and `{r}` a run of its user sync.

use super::wire::short_name;
use prost_reflect::MethodDescriptor;

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

        "UserService.GetUser" => r#"{"name": "tenants/{t}/users/{u}"}"#,
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
        "UserService.DeleteUser" => r#"{"name": "tenants/{t}/users/{u}", "etag": "r1"}"#,
        "UserService.EraseUser" => r#"{"name": "tenants/{t}/users/{u}", "etag": "r1"}"#,
        "UserService.BlockUser" => r#"{"name": "tenants/{t}/users/{u}", "reason": "left", "etag": "r1"}"#,
        "UserService.UnblockUser" => r#"{"name": "tenants/{t}/users/{u}", "etag": "r1"}"#,
        "UserService.DeactivateUser" | "UserService.ReactivateUser" => {
            r#"{"name": "tenants/{t}/users/{u}", "etag": "r1"}"#
        }
        "UserService.UnlockUser" => r#"{"name": "tenants/{t}/users/{u}"}"#,
        "UserService.ListUserEvents" | "UserService.WatchUserEvents" => r#"{"parent": "tenants/{t}"}"#,

        "TenantService.CreateTenant" => {
            r#"{"tenantId": "{t}", "tenant": {"displayName": "T"}, "requestId": "walk"}"#
        }
        "TenantService.GetTenant" => r#"{"name": "tenants/{t}"}"#,
        "TenantService.ListTenants" => "{}",
        "TenantService.UpdateTenant" => {
            r#"{"tenant": {"name": "tenants/{t}", "displayName": "T", "etag": "r1"}, "updateMask": "displayName"}"#
        }
        "TenantService.DeleteTenant" => r#"{"name": "tenants/{t}", "etag": "r1"}"#,

        "DirectoryService.CreateDirectory" => {
            r#"{"parent": "tenants/{t}", "directory": {DIRECTORY}, "requestId": "walk"}"#
        }
        "DirectoryService.GetDirectory" => r#"{"name": "tenants/{t}/directories/hq"}"#,
        "DirectoryService.ListDirectories" => r#"{"parent": "tenants/{t}"}"#,
        "DirectoryService.UpdateDirectory" => {
            r#"{"directory": {"name": "tenants/{t}/directories/hq", "displayName": "X", "etag": "r1"},
                "updateMask": "displayName"}"#
        }
        "DirectoryService.DeleteDirectory" => r#"{"name": "tenants/{t}/directories/hq", "etag": "r1"}"#,
        "DirectoryService.CheckConnection" => {
            r#"{"parent": "tenants/{t}", "directory": "tenants/{n}/directories/hq"}"#
        }
        "DirectoryService.RotateBindPassword" => {
            r#"{"name": "tenants/{t}/directories/hq", "bindPassword": "secret", "etag": "r1"}"#
        }

        "UserSyncService.CreateUserSync" => {
            r#"{"parent": "tenants/{t}", "userSync": {USER_SYNC}, "requestId": "walk"}"#
        }
        "UserSyncService.GetUserSync" => r#"{"name": "tenants/{t}/userSyncs/staff"}"#,
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
        "UserSyncService.CloneUserSync" => r#"{"name": "tenants/{t}/userSyncs/staff", "requestId": "walk"}"#,
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
        "UserSyncService.RefreshUser" => r#"{"name": "tenants/{t}/users/{u}"}"#,

        "SyncRunService.GetSyncRun"
        | "SyncRunService.WatchSyncRun"
        | "SyncRunService.ApplySyncRun"
        | "SyncRunService.CancelSyncRun" => r#"{"name": "tenants/{t}/userSyncs/staff/runs/{r}"}"#,
        "SyncRunService.ListSyncRuns" => r#"{"parent": "tenants/{t}/userSyncs/staff"}"#,
        "SyncRunService.ListSyncRunChanges" | "SyncRunService.ListSyncRunIssues" => {
            r#"{"parent": "tenants/{t}/userSyncs/staff/runs/{r}"}"#
        }

        "AuditService.ListAuditEvents" | "AuditService.WatchAuditEvents" => {
            r#"{"parent": "tenants/{t}", "filter": {"resource": "tenants/{n}/directories/hq"}}"#
        }
        "AuditService.GetSecurityReview" => r#"{"name": "tenants/{t}/securityReview"}"#,
        "AuditService.RecordSecurityReview" => {
            r#"{"name": "tenants/{t}/securityReview", "etag": "r1", "reviewer": "Ada"}"#
        }
        _ => return None,
    };
    let row = row.replace("{DIRECTORY}", &format!("{{{DIRECTORY}}}"));
    let row = row.replace("{USER_SYNC}", &format!("{{{USER_SYNC}}}"));
    let row = row.replace("USER_SYNC,", &format!("{USER_SYNC},"));
    // A request id is of one method.
    Some(row.replace("\"walk\"", &format!("\"{}\"", method.name())))
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
