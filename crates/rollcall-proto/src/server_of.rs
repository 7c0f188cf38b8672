//! Which server has which service.

/// The server that has a service of the contract, by the service's full name.
pub fn server_of(service: &str) -> Option<&'static str> {
    match service {
        "rollcall.v1.AuthService" | "rollcall.v1.UserService" => Some("auth-gateway"),
        "rollcall.v1.AuditService"
        | "rollcall.v1.DirectoryService"
        | "rollcall.v1.SyncRunService"
        | "rollcall.v1.TenantService"
        | "rollcall.v1.UserSyncService" => Some("sync-worker"),
        _ => None,
    }
}
