//! The methods of the contract, one row each: what a caller needs, and which field tells the tenant of the call. The
//! services serve no method without a row. Tests compare the contract's comments with the rows, and walk through all of
//! them.

use rollcall_proto::v1;
use rollcall_runtime::caller::Permission;

/// Which tenant's data a call is about. Everything else that a request names belongs to the same tenant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Whose {
    /// The tenant of the resource that the field names.
    Tenant,
    /// The same, or with `tenants/-` all tenants.
    TenantOrAll,
    /// The same, or with `tenants/-` those that the caller may act for.
    TenantOrOwn,
    /// The tenant of the resource that the field names, for callers of all tenants.
    TenantForAll,
    /// A tenant that does not exist yet, for callers of all tenants.
    ForAll,
    /// The tenants that the caller may act for.
    Own,
    /// A tenant that the request may leave out, as a login may.
    Login,
}

/// One method.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The method, as the audit log names it: `UserService.GetUser`.
    pub name: &'static str,
    /// What the caller must be allowed to do.
    pub permission: Permission,
    /// Which tenant's data it is about.
    pub whose: Whose,
    /// The field that names it, such as `directory.name`; empty for none.
    pub field: &'static str,
}

/// The request of a method.
pub trait Method {
    /// Its row.
    const ROW: Row;

    /// The name of the resource whose tenant the call is about; empty for none.
    fn resource(&self) -> &str;
}

macro_rules! methods {
    ($($service:ident { $($method:ident($request:ident): $permission:ident, $whose:ident $(.$field:ident)*;)* })*) => {
        /// Every method of every service.
        pub const METHODS: &[Row] = &[$($(<v1::$request as Method>::ROW),*),*];

        $($(
            impl Method for v1::$request {
                const ROW: Row = Row {
                    name: concat!(stringify!($service), ".", stringify!($method)),
                    permission: Permission::$permission,
                    whose: Whose::$whose,
                    field: methods!(@path $($field)*),
                };

                fn resource(&self) -> &str {
                    methods!(@value self $($field)*)
                }
            }
        )*)*
    };
    (@path) => { "" };
    (@path $field:ident) => { stringify!($field) };
    (@path $outer:ident $field:ident) => { concat!(stringify!($outer), ".", stringify!($field)) };
    (@value $request:ident) => {{ let _ = $request; "" }};
    (@value $request:ident $field:ident) => { &$request.$field };
    (@value $request:ident $outer:ident $field:ident) => {
        $request.$outer.as_ref().map_or("", |inner| &inner.$field)
    };
}

methods! {
    AuthService {
        Authenticate(AuthenticateRequest): Authenticate, Login.tenant;
    }
    UserService {
        GetUser(GetUserRequest): UsersRead, Tenant.name;
        BatchGetUsers(BatchGetUsersRequest): UsersRead, Tenant.parent;
        ListUsers(ListUsersRequest): UsersRead, TenantOrAll.parent;
        LookupUser(LookupUserRequest): UsersRead, Tenant.parent;
        CreateUser(CreateUserRequest): UsersWrite, Tenant.parent;
        UpdateUser(UpdateUserRequest): UsersWrite, Tenant.user.name;
        DeleteUser(DeleteUserRequest): UsersWrite, Tenant.name;
        EraseUser(EraseUserRequest): UsersErase, Tenant.name;
        BlockUser(BlockUserRequest): UsersWrite, Tenant.name;
        UnblockUser(UnblockUserRequest): UsersWrite, Tenant.name;
        DeactivateUser(DeactivateUserRequest): UsersWrite, Tenant.name;
        ReactivateUser(ReactivateUserRequest): UsersWrite, Tenant.name;
        UnlockUser(UnlockUserRequest): UsersWrite, Tenant.name;
        ListUserEvents(ListUserEventsRequest): UsersRead, TenantOrAll.parent;
        WatchUserEvents(WatchUserEventsRequest): UsersRead, TenantOrAll.parent;
    }
    TenantService {
        CreateTenant(CreateTenantRequest): TenantsWrite, ForAll;
        GetTenant(GetTenantRequest): SyncsRead, Tenant.name;
        ListTenants(ListTenantsRequest): SyncsRead, Own;
        UpdateTenant(UpdateTenantRequest): TenantsWrite, TenantForAll.tenant.name;
        DeleteTenant(DeleteTenantRequest): TenantsWrite, TenantForAll.name;
    }
    DirectoryService {
        CreateDirectory(CreateDirectoryRequest): SyncsWrite, Tenant.parent;
        GetDirectory(GetDirectoryRequest): SyncsRead, Tenant.name;
        ListDirectories(ListDirectoriesRequest): SyncsRead, Tenant.parent;
        UpdateDirectory(UpdateDirectoryRequest): SyncsWrite, Tenant.directory.name;
        DeleteDirectory(DeleteDirectoryRequest): SyncsWrite, Tenant.name;
        CheckConnection(CheckConnectionRequest): SyncsWrite, Tenant.parent;
        RotateBindPassword(RotateBindPasswordRequest): SyncsWrite, Tenant.name;
    }
    UserSyncService {
        CreateUserSync(CreateUserSyncRequest): SyncsWrite, Tenant.parent;
        GetUserSync(GetUserSyncRequest): SyncsRead, Tenant.name;
        ListUserSyncs(ListUserSyncsRequest): SyncsRead, TenantOrAll.parent;
        UpdateUserSync(UpdateUserSyncRequest): SyncsWrite, Tenant.user_sync.name;
        DeleteUserSync(DeleteUserSyncRequest): SyncsWrite, Tenant.name;
        CloneUserSync(CloneUserSyncRequest): SyncsWrite, Tenant.name;
        CheckUserSync(CheckUserSyncRequest): SyncsWrite, Tenant.parent;
        CheckOverlaps(CheckOverlapsRequest): SyncsWrite, Tenant.parent;
        RunUserSync(RunUserSyncRequest): Runs, Tenant.name;
        RunDueUserSyncs(RunDueUserSyncsRequest): Runs, TenantOrOwn.parent;
        RefreshUser(RefreshUserRequest): Runs, Tenant.name;
        ExplainUser(ExplainUserRequest): SyncsWrite, Tenant.parent;
    }
    SyncRunService {
        GetSyncRun(GetSyncRunRequest): SyncsRead, Tenant.name;
        ListSyncRuns(ListSyncRunsRequest): SyncsRead, Tenant.parent;
        WatchSyncRun(WatchSyncRunRequest): SyncsRead, Tenant.name;
        ListSyncRunChanges(ListSyncRunChangesRequest): SyncsRead, Tenant.parent;
        ListSyncRunIssues(ListSyncRunIssuesRequest): SyncsRead, Tenant.parent;
        ApplySyncRun(ApplySyncRunRequest): Runs, Tenant.name;
        CancelSyncRun(CancelSyncRunRequest): Runs, Tenant.name;
    }
    AuditService {
        ListAuditEvents(ListAuditEventsRequest): Audit, TenantOrAll.parent;
        WatchAuditEvents(WatchAuditEventsRequest): Audit, TenantOrAll.parent;
        GetSecurityReview(GetSecurityReviewRequest): Audit, Tenant.name;
        RecordSecurityReview(RecordSecurityReviewRequest): Audit, Tenant.name;
    }
}

#[cfg(test)]
mod tests;
