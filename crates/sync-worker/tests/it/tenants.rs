use rollcall_core::error::Reason;
use rollcall_proto::v1;

use crate::company::{Company, TENANT, create_tenant};
use crate::harness::{ACME, ADMIN, TestWorker, fails, mask, metadata, ok, violations};

fn tenant(display_name: &str) -> v1::Tenant {
    v1::Tenant {
        display_name: display_name.into(),
        ..v1::Tenant::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_lives_from_create_to_delete() {
    let worker = TestWorker::start(&[]).await;
    let mut clients = worker.clients(ADMIN);
    let wanted = v1::Tenant {
        user_sync_enabled: true,
        verified_domains: vec!["acme.example".into()],
        ..tenant("Acme")
    };
    let request = v1::CreateTenantRequest {
        tenant_id: "acme".into(),
        tenant: Some(wanted),
        request_id: String::new(),
    };
    let created = ok(clients.tenants.create_tenant(request.clone())).await;
    assert_eq!((created.name.as_str(), created.user_sync_enabled), (TENANT, true));
    assert!(created.create_time.is_some() && !created.etag.is_empty());
    let again = fails(Reason::AlreadyExists, clients.tenants.create_tenant(request)).await;
    assert_eq!(metadata(&again, "resource"), TENANT);

    let get = v1::GetTenantRequest { name: TENANT.into() };
    assert_eq!(ok(clients.tenants.get_tenant(get.clone())).await, created);

    let renamed = v1::Tenant {
        name: TENANT.into(),
        etag: created.etag.clone(),
        ..tenant("Acme Corp")
    };
    let update = v1::UpdateTenantRequest {
        tenant: Some(renamed),
        update_mask: mask(&["display_name"]),
    };
    let updated = ok(clients.tenants.update_tenant(update.clone())).await;
    assert_eq!(
        (updated.display_name.as_str(), updated.user_sync_enabled),
        ("Acme Corp", true)
    );
    assert_ne!(updated.etag, created.etag);
    fails(Reason::EtagMismatch, clients.tenants.update_tenant(update)).await;

    let off = v1::Tenant {
        name: TENANT.into(),
        ..v1::Tenant::default()
    };
    let update = v1::UpdateTenantRequest {
        tenant: Some(off),
        update_mask: mask(&["user_sync_enabled"]),
    };
    assert!(!ok(clients.tenants.update_tenant(update)).await.user_sync_enabled);

    let delete = v1::DeleteTenantRequest {
        name: TENANT.into(),
        ..v1::DeleteTenantRequest::default()
    };
    ok(clients.tenants.delete_tenant(delete.clone())).await;
    let gone = fails(Reason::TenantNotFound, clients.tenants.get_tenant(get)).await;
    assert_eq!(metadata(&gone, "resource"), TENANT);
    fails(Reason::TenantNotFound, clients.tenants.delete_tenant(delete)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_field_of_a_tenant_is_named_at_once() {
    let worker = TestWorker::start(&[]).await;
    let mut clients = worker.clients(ADMIN);
    let bad = v1::Tenant {
        verified_domains: vec!["Not A Domain".into()],
        ..tenant("")
    };
    let request = v1::CreateTenantRequest {
        tenant_id: "Bad_Id".into(),
        tenant: Some(bad),
        request_id: String::new(),
    };
    let status = fails(Reason::InvalidField, clients.tenants.create_tenant(request)).await;
    assert_eq!(
        violations(&status),
        ["tenant_id", "tenant.display_name", "tenant.verified_domains[0]"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_is_made_where_none_is_given_and_a_domain_belongs_to_one_tenant() {
    let worker = TestWorker::start(&[]).await;
    let mut clients = worker.clients(ADMIN);
    let claiming = || v1::Tenant {
        verified_domains: vec!["acme.example".into()],
        ..tenant("Acme")
    };
    let request = || v1::CreateTenantRequest {
        tenant: Some(claiming()),
        ..v1::CreateTenantRequest::default()
    };
    let created = ok(clients.tenants.create_tenant(request())).await;
    assert!(created.name.starts_with("tenants/tenant-"), "{}", created.name);
    let status = fails(Reason::DomainTaken, clients.tenants.create_tenant(request())).await;
    assert_eq!(metadata(&status, "domain"), "acme.example");
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_are_listed_page_by_page_and_only_to_those_who_may() {
    let worker = TestWorker::start(&[]).await;
    let mut clients = worker.clients(ADMIN);
    for id in ["acme", "aaa", "beta"] {
        let request = v1::CreateTenantRequest {
            tenant_id: id.into(),
            tenant: Some(tenant(id)),
            request_id: String::new(),
        };
        ok(clients.tenants.create_tenant(request)).await;
    }
    let first = ok(clients.tenants.list_tenants(v1::ListTenantsRequest {
        page_size: 2,
        ..Default::default()
    }))
    .await;
    let second = v1::ListTenantsRequest {
        page_size: 2,
        page_token: first.next_page_token.clone(),
    };
    let second = ok(clients.tenants.list_tenants(second)).await;
    let names: Vec<_> = first
        .tenants
        .iter()
        .chain(&second.tenants)
        .map(|tenant| tenant.name.as_str())
        .collect();
    assert_eq!(names, ["tenants/aaa", "tenants/acme", "tenants/beta"]);
    assert_eq!(second.next_page_token, "");
    let forged = v1::ListTenantsRequest {
        page_token: "forged".into(),
        ..Default::default()
    };
    fails(Reason::InvalidPageToken, clients.tenants.list_tenants(forged)).await;

    let mut acme = worker.clients(ACME);
    let mine = ok(acme.tenants.list_tenants(v1::ListTenantsRequest {
        page_size: 1,
        ..Default::default()
    }))
    .await;
    assert_eq!(mine.next_page_token, "", "there is nothing more for this caller");
    let theirs = v1::ListTenantsRequest {
        page_token: first.next_page_token,
        ..Default::default()
    };
    fails(Reason::InvalidPageToken, acme.tenants.list_tenants(theirs)).await;
    assert_eq!(
        mine.tenants
            .iter()
            .map(|tenant| tenant.name.as_str())
            .collect::<Vec<_>>(),
        ["tenants/acme"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_in_use_is_deleted_only_by_force_and_with_all_that_it_has() {
    let company = Company::start();
    let worker = TestWorker::start(&company.ports()).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up_sync(&mut clients).await;
    let delete = v1::DeleteTenantRequest {
        name: TENANT.into(),
        ..v1::DeleteTenantRequest::default()
    };
    fails(Reason::TenantInUse, clients.tenants.delete_tenant(delete.clone())).await;
    ok(clients.tenants.delete_tenant(v1::DeleteTenantRequest {
        force: true,
        ..delete
    }))
    .await;
    let get = v1::GetTenantRequest { name: TENANT.into() };
    fails(Reason::TenantNotFound, clients.tenants.get_tenant(get)).await;
    create_tenant(&mut clients).await;
    let list = v1::ListDirectoriesRequest {
        parent: TENANT.into(),
        ..Default::default()
    };
    assert!(
        ok(clients.directories.list_directories(list))
            .await
            .directories
            .is_empty()
    );
}
