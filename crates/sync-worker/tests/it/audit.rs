use rollcall_proto::v1;

use crate::company::{Company, DIRECTORY, STAFF, TENANT};
use crate::harness::{ACME, ADMIN, TestWorker, mask, ok};

fn list(parent: &str, filter: v1::AuditEventFilter) -> v1::ListAuditEventsRequest {
    v1::ListAuditEventsRequest {
        parent: parent.into(),
        filter: Some(filter),
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_is_recorded_with_who_made_it_and_without_secrets() {
    let company = Company::start();
    let worker = TestWorker::start(&company.ports()).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up_sync(&mut clients).await;
    let mut acme = worker.clients(ACME);
    let update = v1::UpdateDirectoryRequest {
        directory: Some(v1::Directory {
            name: DIRECTORY.into(),
            display_name: "HQ".into(),
            bind_password: "a-canary-in-the-mine".into(),
            ..v1::Directory::default()
        }),
        update_mask: mask(&["display_name", "bind_password"]),
        confirm_new_directory: false,
    };
    ok(acme.directories.update_directory(update)).await;
    let delete = v1::DeleteUserSyncRequest {
        name: STAFF.into(),
        user_disposition: v1::UserDisposition::MakeLocal.into(),
        ..Default::default()
    };
    ok(acme.user_syncs.delete_user_sync(delete)).await;

    let events = ok(clients.audit.list_audit_events(list(TENANT, Default::default())))
        .await
        .audit_events;
    let changes: Vec<_> = events
        .iter()
        .map(|event| match event.kind.as_ref().unwrap() {
            v1::audit_event::Kind::Change(change) => (
                event.caller.as_str(),
                change.method.as_str(),
                change.resource.as_str(),
            ),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        changes,
        [
            (ACME, "UserSyncService.DeleteUserSync", STAFF),
            (ACME, "DirectoryService.UpdateDirectory", DIRECTORY),
            (ADMIN, "UserSyncService.CreateUserSync", STAFF),
            (ADMIN, "DirectoryService.CreateDirectory", DIRECTORY),
            (ADMIN, "TenantService.CreateTenant", TENANT),
        ]
    );
    let text = format!("{events:?}");
    assert!(
        !text.contains("canary") && !text.contains(company.slapd.service_password()),
        "{text}"
    );
    let Some(v1::audit_event::Kind::Change(change)) = &events[1].kind else {
        panic!("{:?}", events[1])
    };
    assert_eq!(change.details["display_name"], "\"HQ\"");
    assert_eq!(change.details["bind_password"], "(set)");
    assert_eq!(change.details.len(), 2, "{:?}", change.details);
}

#[tokio::test(flavor = "multi_thread")]
async fn audit_events_are_filtered_and_paged() {
    let company = Company::start();
    let worker = TestWorker::start(&company.ports()).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up_sync(&mut clients).await;
    let about = v1::AuditEventFilter {
        resource: DIRECTORY.into(),
        ..Default::default()
    };
    let found = ok(clients.audit.list_audit_events(list(TENANT, about)))
        .await
        .audit_events;
    assert_eq!(found.len(), 1);
    let by = v1::AuditEventFilter {
        caller: ACME.into(),
        ..Default::default()
    };
    assert!(
        ok(clients.audit.list_audit_events(list("tenants/-", by)))
            .await
            .audit_events
            .is_empty()
    );
    let logins = v1::AuditEventFilter {
        login_outcomes: vec![v1::LoginOutcome::Denied.into()],
        ..Default::default()
    };
    assert!(
        ok(clients.audit.list_audit_events(list(TENANT, logins)))
            .await
            .audit_events
            .is_empty()
    );
    let (mut names, mut token) = (Vec::new(), String::new());
    loop {
        let request = v1::ListAuditEventsRequest {
            parent: "tenants/-".into(),
            page_size: 2,
            page_token: token,
            filter: None,
        };
        let page = ok(clients.audit.list_audit_events(request)).await;
        names.extend(page.audit_events.into_iter().map(|event| event.name));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(names.len(), 3);
    names.dedup();
    assert_eq!(names.len(), 3, "{names:?}");
}
