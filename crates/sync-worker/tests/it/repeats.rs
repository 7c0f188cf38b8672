//! A retry of one's own success is answered like the success (AIP-155).

use rollcall_core::error::Reason;
use rollcall_proto::v1;

use crate::company::{Company, STAFF, TENANT, create_tenant, staff};
use crate::harness::{ADMIN, TestWorker, fails, metadata, ok};

fn directory() -> v1::Directory {
    v1::Directory {
        display_name: "Head office".into(),
        hosts: vec!["ldaps://dc1.acme.example".into()],
        bind_dn: "cn=rollcall,dc=acme,dc=example".into(),
        bind_password: "correct horse battery staple".into(),
        ..v1::Directory::default()
    }
}

fn new_tenant(display_name: &str) -> v1::CreateTenantRequest {
    v1::CreateTenantRequest {
        tenant_id: String::new(),
        tenant: Some(v1::Tenant {
            display_name: display_name.into(),
            ..v1::Tenant::default()
        }),
        request_id: "one".into(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_is_created_once() {
    let worker = TestWorker::start(&[]).await;
    let mut clients = worker.clients(ADMIN);
    let first = ok(clients.tenants.create_tenant(new_tenant("Acme"))).await;
    let again = ok(clients.tenants.create_tenant(new_tenant("Acme"))).await;
    assert_eq!(again, first);
    let other = fails(
        Reason::RequestIdReused,
        clients.tenants.create_tenant(new_tenant("Evil")),
    )
    .await;
    assert_eq!(metadata(&other, "request_id"), "one");
    let list = v1::ListTenantsRequest::default();
    assert_eq!(ok(clients.tenants.list_tenants(list)).await.tenants.len(), 1);

    let delete = v1::DeleteTenantRequest {
        name: first.name.clone(),
        ..v1::DeleteTenantRequest::default()
    };
    ok(clients.tenants.delete_tenant(delete)).await;
    let gone = fails(
        Reason::TenantNotFound,
        clients.tenants.create_tenant(new_tenant("Acme")),
    )
    .await;
    assert_eq!(metadata(&gone, "resource"), first.name);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_is_created_once_and_its_password_is_part_of_the_request() {
    let worker = TestWorker::start(&[]).await;
    let mut clients = worker.clients(ADMIN);
    create_tenant(&mut clients).await;
    let request = |password: &str| v1::CreateDirectoryRequest {
        parent: TENANT.into(),
        directory_id: "main".into(),
        directory: Some(v1::Directory {
            bind_password: password.into(),
            ..directory()
        }),
        request_id: "one".into(),
    };
    let first = ok(clients.directories.create_directory(request("right"))).await;
    let again = ok(clients.directories.create_directory(request("right"))).await;
    assert_eq!(again.name, first.name);
    fails(
        Reason::RequestIdReused,
        clients.directories.create_directory(request("other")),
    )
    .await;
    // One identifier for two methods is two requests.
    let sync = v1::CreateUserSyncRequest {
        parent: TENANT.into(),
        user_sync_id: String::new(),
        user_sync: Some(staff()),
        request_id: "one".into(),
    };
    fails(Reason::RequestIdReused, clients.user_syncs.create_user_sync(sync)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_sync_and_its_copy_are_created_once() {
    let company = Company::start();
    let worker = TestWorker::start(&company.ports()).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up(&mut clients).await;
    let request = v1::CreateUserSyncRequest {
        parent: TENANT.into(),
        user_sync_id: "staff".into(),
        user_sync: Some(staff()),
        request_id: "one".into(),
    };
    let first = ok(clients.user_syncs.create_user_sync(request.clone())).await;
    assert_eq!(ok(clients.user_syncs.create_user_sync(request)).await, first);
    let clone = v1::CloneUserSyncRequest {
        name: STAFF.into(),
        user_sync_id: String::new(),
        display_name: String::new(),
        request_id: "two".into(),
    };
    let copy = ok(clients.user_syncs.clone_user_sync(clone.clone())).await;
    assert_eq!(ok(clients.user_syncs.clone_user_sync(clone.clone())).await, copy);
    // What became of the original since is not the repeat's business.
    let delete = v1::DeleteUserSyncRequest {
        name: STAFF.into(),
        user_disposition: v1::UserDisposition::Archive.into(),
        ..v1::DeleteUserSyncRequest::default()
    };
    ok(clients.user_syncs.delete_user_sync(delete)).await;
    assert_eq!(ok(clients.user_syncs.clone_user_sync(clone)).await, copy);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_is_answered_where_the_tenant_has_no_room_left() {
    let worker = TestWorker::start(&[]).await;
    let mut clients = worker.clients(ADMIN);
    create_tenant(&mut clients).await;
    let request = |number: u32| v1::CreateDirectoryRequest {
        parent: TENANT.into(),
        directory_id: format!("d{number}"),
        directory: Some(directory()),
        request_id: number.to_string(),
    };
    for number in 1..=100 {
        ok(clients.directories.create_directory(request(number))).await;
    }
    fails(
        Reason::ResourceLimitReached,
        clients.directories.create_directory(request(101)),
    )
    .await;
    let last = ok(clients.directories.create_directory(request(100))).await;
    assert_eq!(last.name, "tenants/acme/directories/d100");
}
