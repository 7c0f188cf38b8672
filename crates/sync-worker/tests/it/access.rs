//! Who may call what. Access is checked before existence, so a foreign tenant and one that does not exist
//! look the same.

use rollcall_proto::status;
use rollcall_proto::v1;
use tonic::{Code, Response, Status};

use crate::company::{DIRECTORY, STAFF, TENANT, staff};
use crate::harness::{ACME, ADMIN, Clients, NOBODY, TestWorker};

/// Calls every method of every service for a tenant and hands each answer to `judge`.
async fn call_everything(
    clients: &mut Clients,
    tenant: &str,
    mut judge: impl FnMut(&str, Result<(), Status>),
) {
    let parent = format!("tenants/{tenant}");
    let (directory, sync) = (
        format!("{parent}/directories/hq"),
        format!("{parent}/userSyncs/staff"),
    );
    let run = format!("{sync}/runs/00000000-0000-0000-0000-000000000001");
    let review = format!("{parent}/securityReview");
    let a_directory = v1::Directory {
        name: directory.clone(),
        display_name: "HQ".into(),
        hosts: vec!["ldaps://dc1.example".into()],
        bind_dn: "cn=x".into(),
        bind_password: "secret".into(),
        ..Default::default()
    };
    let a_sync = v1::UserSync {
        name: sync.clone(),
        directory: directory.clone(),
        ..staff()
    };
    let a_tenant = v1::Tenant {
        name: parent.clone(),
        display_name: "T".into(),
        ..Default::default()
    };
    macro_rules! call {
        ($service:ident.$method:ident($request:expr)) => {{
            let answer = clients.$service.$method($request).await;
            judge(stringify!($method), answer.map(|_: Response<_>| ()));
        }};
    }
    call!(tenants.get_tenant(v1::GetTenantRequest { name: parent.clone() }));
    call!(tenants.update_tenant(v1::UpdateTenantRequest {
        tenant: Some(a_tenant.clone()),
        update_mask: None
    }));
    call!(tenants.delete_tenant(v1::DeleteTenantRequest {
        name: parent.clone(),
        ..Default::default()
    }));
    call!(tenants.create_tenant(v1::CreateTenantRequest {
        tenant_id: tenant.into(),
        tenant: Some(a_tenant),
        request_id: String::new(),
    }));
    call!(directories.create_directory(v1::CreateDirectoryRequest {
        parent: parent.clone(),
        directory_id: String::new(),
        directory: Some(a_directory.clone()),
        request_id: String::new(),
    }));
    call!(directories.get_directory(v1::GetDirectoryRequest {
        name: directory.clone()
    }));
    call!(directories.list_directories(v1::ListDirectoriesRequest {
        parent: parent.clone(),
        ..Default::default()
    }));
    call!(directories.update_directory(v1::UpdateDirectoryRequest {
        directory: Some(a_directory.clone()),
        ..Default::default()
    }));
    call!(directories.delete_directory(v1::DeleteDirectoryRequest {
        name: directory.clone(),
        ..Default::default()
    }));
    call!(directories.check_connection(v1::CheckConnectionRequest {
        parent: parent.clone(),
        target: Some(v1::check_connection_request::Target::Draft(a_directory)),
    }));
    call!(directories.rotate_bind_password(v1::RotateBindPasswordRequest {
        name: directory.clone(),
        bind_password: "secret".into(),
        ..Default::default()
    }));
    call!(user_syncs.create_user_sync(v1::CreateUserSyncRequest {
        parent: parent.clone(),
        user_sync_id: String::new(),
        user_sync: Some(a_sync.clone()),
        request_id: String::new(),
    }));
    call!(user_syncs.get_user_sync(v1::GetUserSyncRequest { name: sync.clone() }));
    call!(user_syncs.list_user_syncs(v1::ListUserSyncsRequest {
        parent: parent.clone(),
        ..Default::default()
    }));
    call!(user_syncs.update_user_sync(v1::UpdateUserSyncRequest {
        user_sync: Some(a_sync.clone()),
        update_mask: None,
    }));
    call!(user_syncs.delete_user_sync(v1::DeleteUserSyncRequest {
        name: sync.clone(),
        user_disposition: v1::UserDisposition::Archive.into(),
        ..Default::default()
    }));
    call!(user_syncs.clone_user_sync(v1::CloneUserSyncRequest {
        name: sync.clone(),
        ..Default::default()
    }));
    call!(user_syncs.check_user_sync(v1::CheckUserSyncRequest {
        parent: parent.clone(),
        target: Some(v1::check_user_sync_request::Target::Draft(a_sync)),
        sample_size: 1,
    }));
    call!(user_syncs.check_overlaps(v1::CheckOverlapsRequest {
        parent: parent.clone()
    }));
    call!(user_syncs.run_user_sync(v1::RunUserSyncRequest {
        name: sync.clone(),
        mode: v1::SyncRunMode::Preview.into(),
        ..Default::default()
    }));
    call!(user_syncs.run_due_user_syncs(v1::RunDueUserSyncsRequest {
        parent: parent.clone()
    }));
    call!(user_syncs.refresh_user(v1::RefreshUserRequest {
        name: format!("{parent}/users/00000000-0000-0000-0000-000000000001"),
    }));
    call!(runs.get_sync_run(v1::GetSyncRunRequest { name: run.clone() }));
    call!(runs.list_sync_runs(v1::ListSyncRunsRequest {
        parent: sync.clone(),
        ..Default::default()
    }));
    call!(runs.watch_sync_run(v1::WatchSyncRunRequest { name: run.clone() }));
    call!(runs.list_sync_run_changes(v1::ListSyncRunChangesRequest {
        parent: run.clone(),
        ..Default::default()
    }));
    call!(runs.list_sync_run_issues(v1::ListSyncRunIssuesRequest {
        parent: run.clone(),
        ..Default::default()
    }));
    call!(runs.apply_sync_run(v1::ApplySyncRunRequest { name: run.clone() }));
    call!(runs.cancel_sync_run(v1::CancelSyncRunRequest { name: run }));
    call!(audit.list_audit_events(v1::ListAuditEventsRequest {
        parent: parent.clone(),
        ..Default::default()
    }));
    call!(audit.get_security_review(v1::GetSecurityReviewRequest { name: review.clone() }));
    call!(audit.record_security_review(v1::RecordSecurityReviewRequest {
        name: review,
        etag: "x".into(),
        reviewer: "x".into(),
        note: String::new(),
    }));
}

/// All methods but ListTenants, which every reader may call and which shows to each what is theirs.
const METHODS: usize = 32;

async fn check_refused(clients: &mut Clients, tenant: &str, code: Code, reason: &str) {
    let mut called = 0;
    call_everything(clients, tenant, |method, answer| {
        called += 1;
        let Err(refused) = answer else {
            panic!("{method} was answered")
        };
        let found = status::reason(&refused).map(|reason| reason.as_str());
        assert_eq!(
            (refused.code(), found),
            (code, Some(reason)),
            "{method}: {}",
            refused.message()
        );
    })
    .await;
    assert_eq!(called, METHODS);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_foreign_tenant_is_seen_or_touched() {
    let worker = TestWorker::start(&[]).await;
    let mut admin = worker.clients(ADMIN);
    let tenant = v1::Tenant {
        display_name: "Beta".into(),
        ..Default::default()
    };
    let request = v1::CreateTenantRequest {
        tenant_id: "beta".into(),
        tenant: Some(tenant),
        request_id: String::new(),
    };
    crate::harness::ok(admin.tenants.create_tenant(request)).await;
    let mut acme = worker.clients(ACME);
    for tenant in ["beta", "does-not-exist"] {
        check_refused(&mut acme, tenant, Code::PermissionDenied, "TENANT_ACCESS_DENIED").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_needs_its_permission() {
    let worker = TestWorker::start(&[]).await;
    let mut nobody = worker.clients(NOBODY);
    check_refused(&mut nobody, "acme", Code::PermissionDenied, "PERMISSION_MISSING").await;
    let listed = nobody
        .tenants
        .list_tenants(v1::ListTenantsRequest::default())
        .await;
    assert_eq!(listed.unwrap_err().code(), Code::PermissionDenied);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_refused_everywhere() {
    let worker = TestWorker::start(&[]).await;
    let mut stranger = worker.strangers_clients();
    check_refused(
        &mut stranger,
        "acme",
        Code::Unauthenticated,
        "CALLER_UNAUTHENTICATED",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_tenant_s_caller_neither_makes_nor_unmakes_tenants_and_sees_no_other_s_audit() {
    let worker = TestWorker::start(&[]).await;
    let mut acme = worker.clients(ACME);
    let tenant = v1::Tenant {
        display_name: "Acme".into(),
        ..Default::default()
    };
    let request = v1::CreateTenantRequest {
        tenant_id: "acme".into(),
        tenant: Some(tenant),
        request_id: String::new(),
    };
    let refused = acme.tenants.create_tenant(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let delete = v1::DeleteTenantRequest {
        name: TENANT.into(),
        ..Default::default()
    };
    assert_eq!(
        acme.tenants.delete_tenant(delete).await.unwrap_err().code(),
        Code::PermissionDenied
    );
    // Neither a domain whose people's passwords would come to its directory, nor what the product sells.
    let update = v1::UpdateTenantRequest {
        tenant: Some(v1::Tenant {
            name: TENANT.into(),
            verified_domains: vec!["victim.example".into()],
            user_sync_enabled: true,
            ..v1::Tenant::default()
        }),
        update_mask: crate::harness::mask(&["verified_domains", "user_sync_enabled"]),
    };
    assert_eq!(
        acme.tenants.update_tenant(update).await.unwrap_err().code(),
        Code::PermissionDenied
    );
    let all = v1::ListAuditEventsRequest {
        parent: "tenants/-".into(),
        ..Default::default()
    };
    assert_eq!(
        acme.audit.list_audit_events(all).await.unwrap_err().code(),
        Code::PermissionDenied
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_of_another_tenant_is_a_mistake_in_the_request() {
    let worker = TestWorker::start(&[]).await;
    let mut acme = worker.clients(ACME);
    let check = v1::CheckConnectionRequest {
        parent: TENANT.into(),
        target: Some(v1::check_connection_request::Target::Directory(
            DIRECTORY.replace("acme", "beta"),
        )),
    };
    let refused = acme.directories.check_connection(check).await.unwrap_err();
    assert_eq!(crate::harness::violations(&refused), ["directory"]);
    let check = v1::CheckUserSyncRequest {
        parent: TENANT.into(),
        target: Some(v1::check_user_sync_request::Target::UserSync(
            STAFF.replace("acme", "beta"),
        )),
        sample_size: 0,
    };
    let refused = acme.user_syncs.check_user_sync(check).await.unwrap_err();
    assert_eq!(crate::harness::violations(&refused), ["user_sync"]);
}
