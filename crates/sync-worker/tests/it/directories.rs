use rollcall_core::error::Reason;
use rollcall_proto::v1;

use crate::company::{Company, DIRECTORY, TENANT, create_sync, create_tenant, staff};
use crate::harness::{ADMIN, TestWorker, fails, mask, metadata, ok, violations};
use crate::runs::run_to_rest;

fn directory() -> v1::Directory {
    v1::Directory {
        display_name: "Head office".into(),
        hosts: vec!["ldaps://dc1.acme.example".into()],
        bind_dn: "cn=rollcall,dc=acme,dc=example".into(),
        bind_password: "correct horse battery staple".into(),
        ..v1::Directory::default()
    }
}

/// A request for the company's directory.
pub(crate) fn create(directory: v1::Directory) -> v1::CreateDirectoryRequest {
    v1::CreateDirectoryRequest {
        parent: TENANT.into(),
        directory_id: "hq".into(),
        directory: Some(directory),
        request_id: String::new(),
    }
}

/// A request that changes these fields of it.
pub(crate) fn update(directory: v1::Directory, paths: &[&str]) -> v1::UpdateDirectoryRequest {
    v1::UpdateDirectoryRequest {
        directory: Some(v1::Directory {
            name: DIRECTORY.into(),
            ..directory
        }),
        update_mask: mask(paths),
        confirm_new_directory: false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_of_an_unknown_tenant_is_refused_with_the_name_of_the_tenant() {
    let worker = TestWorker::start(&[]).await;
    let mut clients = worker.clients(ADMIN);
    let refused = clients.directories.create_directory(create(directory()));
    let status = fails(Reason::TenantNotFound, refused).await;
    assert_eq!(metadata(&status, "resource"), TENANT);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_lives_from_create_to_delete_and_keeps_its_secret() {
    let worker = TestWorker::start(&[]).await;
    let mut clients = worker.clients(ADMIN);
    create_tenant(&mut clients).await;
    let created = ok(clients.directories.create_directory(create(directory()))).await;
    assert_eq!(
        (created.name.as_str(), created.bind_password.as_str()),
        (DIRECTORY, "")
    );
    assert!(created.bind_password_set && created.bind_password_update_time.is_some());
    assert_eq!(created.bind_password_strength(), v1::SecretStrength::Strong);
    assert_eq!(created.transport_security(), v1::TransportSecurity::Ldaps);
    assert_eq!(created.endpoint_state(), v1::EndpointState::Confirmed);
    assert_eq!(created.page_size, 1000);
    let again = fails(
        Reason::AlreadyExists,
        clients.directories.create_directory(create(directory())),
    )
    .await;
    assert_eq!(metadata(&again, "resource"), DIRECTORY);

    let get = v1::GetDirectoryRequest {
        name: DIRECTORY.into(),
    };
    assert!(ok(clients.directories.get_directory(get.clone())).await == created);
    let list = v1::ListDirectoriesRequest {
        parent: TENANT.into(),
        ..Default::default()
    };
    assert!(ok(clients.directories.list_directories(list)).await.directories == [created.clone()]);

    let renamed = v1::Directory {
        display_name: "HQ".into(),
        etag: created.etag.clone(),
        ..Default::default()
    };
    let updated = ok(clients
        .directories
        .update_directory(update(renamed.clone(), &["display_name"])))
    .await;
    assert_eq!((updated.display_name.as_str(), updated.hosts.len()), ("HQ", 1));
    fails(
        Reason::EtagMismatch,
        clients
            .directories
            .update_directory(update(renamed, &["display_name"])),
    )
    .await;

    let delete = v1::DeleteDirectoryRequest {
        name: DIRECTORY.into(),
        ..Default::default()
    };
    ok(clients.directories.delete_directory(delete)).await;
    fails(Reason::DirectoryNotFound, clients.directories.get_directory(get)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_field_of_a_directory_is_named_at_once() {
    let worker = TestWorker::start(&[]).await;
    let mut clients = worker.clients(ADMIN);
    create_tenant(&mut clients).await;
    let bad = v1::Directory {
        hosts: vec!["http://dc1".into(), "ldap://dc2".into()],
        port: Some(70_000),
        transport_security: v1::TransportSecurity::Plaintext.into(),
        ca_certificates: "no pem".into(),
        page_size: -1,
        ..v1::Directory::default()
    };
    let status = fails(
        Reason::InvalidField,
        clients.directories.create_directory(create(bad)),
    )
    .await;
    let mut fields = violations(&status);
    fields.sort_unstable();
    assert_eq!(
        fields,
        [
            "directory.bind_dn",
            "directory.bind_password",
            "directory.ca_certificates",
            "directory.display_name",
            "directory.hosts[0]",
            "directory.page_size",
            "directory.port",
            "directory.transport_security",
        ]
    );
    let orphan = v1::CreateDirectoryRequest {
        parent: "tenants/nobody".into(),
        ..create(directory())
    };
    fails(
        Reason::TenantNotFound,
        clients.directories.create_directory(orphan),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_password_never_travels_to_another_endpoint() {
    let worker = TestWorker::start(&[]).await;
    let mut clients = worker.clients(ADMIN);
    create_tenant(&mut clients).await;
    ok(clients.directories.create_directory(create(directory()))).await;
    let elsewhere = || v1::Directory {
        hosts: vec!["ldaps://evil.example".into()],
        port: Some(3269),
        ca_certificates: rollcall_testkit::TestCa::new().unwrap().pem(),
        tls_server_name: "evil.example".into(),
        bind_dn: "cn=other".into(),
        ..v1::Directory::default()
    };
    for path in ["hosts", "port", "ca_certificates", "tls_server_name", "bind_dn"] {
        let call = clients.directories.update_directory(update(elsewhere(), &[path]));
        let status = fails(Reason::BindPasswordRequired, call).await;
        assert_eq!(metadata(&status, "resource"), DIRECTORY);
    }
    let with_password = v1::Directory {
        bind_password: "a new password for it".into(),
        ..elsewhere()
    };
    let moved = update(with_password, &["hosts", "bind_password"]);
    let moved = ok(clients.directories.update_directory(moved)).await;
    assert_eq!(moved.hosts, ["ldaps://evil.example"]);
    assert_eq!(
        moved.endpoint_state(),
        v1::EndpointState::Confirmed,
        "nobody is known from it yet"
    );
    let empty = update(v1::Directory::default(), &["bind_password"]);
    let status = fails(Reason::InvalidField, clients.directories.update_directory(empty)).await;
    assert_eq!(violations(&status), ["directory.bind_password"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_in_use_is_deleted_only_by_force() {
    let company = Company::start();
    let worker = TestWorker::start(&company.ports()).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up_sync(&mut clients).await;
    create_sync(&mut clients, "more", staff()).await;
    let delete = v1::DeleteDirectoryRequest {
        name: DIRECTORY.into(),
        ..Default::default()
    };
    let status = fails(
        Reason::DirectoryInUse,
        clients.directories.delete_directory(delete.clone()),
    )
    .await;
    assert_eq!(metadata(&status, "user_syncs"), "2");
    let forced = v1::DeleteDirectoryRequest {
        force: true,
        ..delete
    };
    let status = fails(
        Reason::InvalidField,
        clients.directories.delete_directory(forced.clone()),
    )
    .await;
    assert_eq!(violations(&status), ["user_disposition"]);
    let forced = v1::DeleteDirectoryRequest {
        user_disposition: v1::UserDisposition::Archive.into(),
        ..forced
    };
    ok(clients.directories.delete_directory(forced)).await;
    let list = v1::ListUserSyncsRequest {
        parent: TENANT.into(),
        ..Default::default()
    };
    assert!(
        ok(clients.user_syncs.list_user_syncs(list))
            .await
            .user_syncs
            .is_empty()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_bind_password_must_work_before_it_replaces_the_old_one() {
    let company = Company::start();
    let worker = TestWorker::start(&company.ports()).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up(&mut clients).await;
    let rotate = |password: &str| v1::RotateBindPasswordRequest {
        name: DIRECTORY.into(),
        bind_password: password.into(),
        ..Default::default()
    };
    let before = ok(clients.directories.get_directory(v1::GetDirectoryRequest {
        name: DIRECTORY.into(),
    }))
    .await;
    let call = clients
        .directories
        .rotate_bind_password(rotate("not the password"));
    fails(Reason::BindPasswordRejected, call).await;
    let kept = ok(clients.directories.get_directory(v1::GetDirectoryRequest {
        name: DIRECTORY.into(),
    }))
    .await;
    assert!(kept == before, "the old one stays");

    let change = format!(
        "dn: {}\nchangetype: modify\nreplace: userPassword\nuserPassword: the next password\n",
        company.slapd.service_dn()
    );
    company.slapd.modify(&change).unwrap();
    let rotated = ok(clients
        .directories
        .rotate_bind_password(rotate("the next password")))
    .await;
    assert_ne!(rotated.etag, before.etag);
    let check = v1::CheckConnectionRequest {
        parent: TENANT.into(),
        target: Some(v1::check_connection_request::Target::Directory(DIRECTORY.into())),
    };
    let report = ok(clients.directories.check_connection(check))
        .await
        .report
        .unwrap();
    let bind = crate::harness::stage(&report, v1::CheckStageKind::Bind);
    assert_eq!(bind.outcome(), v1::CheckOutcome::Pass, "{bind:?}");

    let (mut slapd, next) = (company.slapd, rotate("yet another"));
    slapd.stop();
    fails(
        Reason::DirectoryUnavailable,
        clients.directories.rotate_bind_password(next),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hosts_tell_when_they_answered_and_failed_and_when_their_certificate_ends() {
    let mut company = Company::start();
    let worker = TestWorker::start(&company.ports()).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up_sync(&mut clients).await;
    let get = v1::GetDirectoryRequest {
        name: DIRECTORY.into(),
    };
    run_to_rest(&mut clients, v1::SyncRunMode::Apply).await;
    let directory = ok(clients.directories.get_directory(get.clone())).await;
    let good = &directory.host_health[0];
    assert_eq!((good.state(), good.message.as_str()), (v1::HealthState::Ok, ""));
    assert_eq!(good.host, company.slapd.tls_url());
    assert!(good.last_success_time.is_some() && good.last_failure_time.is_none());
    // 2100-01-01.
    let end = good.certificate_expire_time.unwrap();
    assert_eq!(end.seconds, 4_102_444_800);

    company.slapd.stop();
    run_to_rest(&mut clients, v1::SyncRunMode::Apply).await;
    let directory = ok(clients.directories.get_directory(get)).await;
    let failed = &directory.host_health[0];
    assert_eq!(failed.state(), v1::HealthState::Error);
    assert!(failed.message.contains("connection was refused"), "{failed:?}");
    assert!(failed.last_success_time.is_some() && failed.last_failure_time.is_some());
}
