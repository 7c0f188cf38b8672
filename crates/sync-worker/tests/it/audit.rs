use rollcall_core::error::Reason;
use rollcall_proto::v1;
use tonic::Request;
use tonic::metadata::MetadataValue;

use crate::company::{Company, DIRECTORY, STAFF, TENANT};
use crate::harness::{ACME, ADMIN, CAREFUL, TestWorker, fails, mask, ok, violations};

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
    assert!(events.iter().all(|event| event.caller_credential == "token"));
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
            // Once when it is disabled, before anybody is touched, and once when it goes.
            (ACME, "UserSyncService.DeleteUserSync", STAFF),
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
    assert_eq!(
        told(&events[2]),
        [
            ("bind_password", None, None, v1::AuditedSecretChange::Replaced),
            (
                "display_name",
                Some("Head office"),
                Some("HQ"),
                v1::AuditedSecretChange::Unspecified
            ),
        ]
    );
    let disabled = (
        "disabled",
        None,
        Some("true"),
        v1::AuditedSecretChange::Unspecified,
    );
    assert!(told(&events[1]).contains(&disabled), "{:?}", told(&events[1]));
    let role = ("role", Some("user"), None, v1::AuditedSecretChange::Unspecified);
    assert!(told(&events[0]).contains(&role), "{:?}", told(&events[0]));
}

type Told<'a> = (&'a str, Option<&'a str>, Option<&'a str>, v1::AuditedSecretChange);

fn told(event: &v1::AuditEvent) -> Vec<Told<'_>> {
    let Some(v1::audit_event::Kind::Change(change)) = &event.kind else {
        panic!("{event:?}")
    };
    let told = change.changes.iter().map(|change| {
        (
            change.path.as_str(),
            change.before.as_deref(),
            change.after.as_deref(),
            change.secret(),
        )
    });
    told.collect()
}

fn renaming(display_name: &str) -> Request<v1::UpdateTenantRequest> {
    Request::new(v1::UpdateTenantRequest {
        tenant: Some(v1::Tenant {
            name: TENANT.into(),
            display_name: display_name.into(),
            ..v1::Tenant::default()
        }),
        update_mask: mask(&["display_name"]),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_names_the_person_behind_the_call_and_some_callers_must_name_one() {
    let company = Company::start();
    let worker = TestWorker::start(&company.ports()).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up(&mut clients).await;
    let mut careful = worker.clients(CAREFUL);
    fails(
        Reason::ActorRequired,
        careful.tenants.update_tenant(renaming("Acme 1")),
    )
    .await;
    // Whoever only reads acts for nobody.
    let tenant = v1::GetTenantRequest { name: TENANT.into() };
    ok(careful.tenants.get_tenant(tenant)).await;

    let mut named = renaming("Acme 2");
    for (key, value) in [
        ("rollcall-actor", "zoë@example.com"),
        ("rollcall-actor-address", "192.0.2.7"),
        ("rollcall-reason", "ticket 12"),
    ] {
        let value = MetadataValue::try_from(value.as_bytes()).unwrap();
        named.metadata_mut().insert(key, value);
    }
    ok(careful.tenants.update_tenant(named)).await;
    let mut too_long = renaming("Acme 3");
    let long = MetadataValue::try_from("x".repeat(257)).unwrap();
    too_long.metadata_mut().insert("rollcall-actor", long);
    let refused = clients.tenants.update_tenant(too_long).await.unwrap_err();
    assert_eq!(violations(&refused), ["rollcall-actor"]);

    let events = ok(clients.audit.list_audit_events(list(TENANT, Default::default())))
        .await
        .audit_events;
    let [renamed, .., created] = &events[..] else {
        panic!("{events:?}")
    };
    let renamings = events.iter().filter(|event| event.caller == CAREFUL);
    assert_eq!(renamings.count(), 1, "what was refused is no change: {events:?}");
    assert_eq!(renamed.caller, CAREFUL);
    let actor = renamed.actor.as_ref().unwrap();
    assert_eq!(
        [&actor.name, &actor.address, &actor.reason],
        ["zoë@example.com", "192.0.2.7", "ticket 12"]
    );
    assert_eq!(created.actor, None);
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
            ..Default::default()
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

fn watch(parent: &str, after: &str, filter: Option<v1::AuditEventFilter>) -> v1::WatchAuditEventsRequest {
    v1::WatchAuditEventsRequest {
        parent: parent.into(),
        after: after.into(),
        filter,
    }
}

/// The next `count` events of a stream, each with its cursor.
async fn next(
    stream: &mut tonic::Streaming<v1::WatchAuditEventsResponse>,
    count: usize,
) -> Vec<(v1::AuditEvent, String)> {
    let mut events = Vec::new();
    while events.len() < count {
        let told = stream.message().await.unwrap().unwrap();
        events.extend(told.event.map(|event| (event, told.cursor)));
    }
    events
}

#[tokio::test(flavor = "multi_thread")]
async fn the_record_is_followed_from_wherever_a_reader_stands() {
    let company = Company::start();
    let worker = TestWorker::start(&company.ports()).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up_sync(&mut clients).await;
    let mut stream = ok(clients.audit.watch_audit_events(watch("tenants/-", "", None))).await;
    let events = next(&mut stream, 3).await;
    for number in 1..=3 {
        ok(clients.tenants.update_tenant(renaming(&format!("Acme {number}")))).await;
    }
    let renamings = next(&mut stream, 3).await;
    let listed = v1::ListAuditEventsRequest {
        order: v1::AuditEventOrder::OldestFirst.into(),
        ..list("tenants/-", Default::default())
    };
    let listed = ok(clients.audit.list_audit_events(listed)).await.audit_events;
    let watched: Vec<_> = events
        .iter()
        .chain(&renamings)
        .map(|(event, _)| event.clone())
        .collect();
    assert_eq!(watched, listed);

    // A reader of one tenant goes on behind any event, and may ask for less.
    let mut acme = worker.clients(ACME);
    let mut own = ok(acme.audit.watch_audit_events(watch(TENANT, "", None))).await;
    let own = next(&mut own, 6).await;
    assert!(own.iter().map(|(event, _)| event).eq(&listed));
    let changes_of_directories = v1::AuditEventFilter {
        method: "DirectoryService.CreateDirectory".into(),
        ..Default::default()
    };
    for (index, (_, cursor)) in own.iter().enumerate().take(5) {
        let mut rest = ok(acme.audit.watch_audit_events(watch(TENANT, cursor, None))).await;
        let rest = next(&mut rest, 5 - index).await;
        assert_eq!(rest, own[index + 1..], "behind the event {index}");
    }
    let mut less = ok(acme
        .audit
        .watch_audit_events(watch(TENANT, "", Some(changes_of_directories))))
    .await;
    let less = next(&mut less, 1).await;
    assert_eq!(less[0], own[1]);

    // Not for others, not with others' cursors.
    fails(
        Reason::TenantAccessDenied,
        acme.audit.watch_audit_events(watch("tenants/-", "", None)),
    )
    .await;
    fails(
        Reason::TenantAccessDenied,
        acme.audit.watch_audit_events(watch("tenants/other", "", None)),
    )
    .await;
    for (parent, cursor) in [
        (TENANT, events[0].1.as_str()),
        ("tenants/-", &own[0].1),
        (TENANT, "x"),
    ] {
        let refused = clients
            .audit
            .watch_audit_events(watch(parent, cursor, None))
            .await;
        assert_eq!(violations(&refused.unwrap_err()), ["after"], "{parent} {cursor}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_that_means_nothing_is_refused() {
    let company = Company::start();
    let worker = TestWorker::start(&company.ports()).await;
    let mut clients = worker.clients(ADMIN);
    let filter = v1::AuditEventFilter {
        resource: "directories/hq".into(),
        user: "ada".into(),
        kind: 9,
        actor: "x".repeat(257),
        ..Default::default()
    };
    let refused = clients
        .audit
        .list_audit_events(list(TENANT, filter))
        .await
        .unwrap_err();
    assert_eq!(
        violations(&refused),
        ["filter.actor", "filter.resource", "filter.user", "filter.kind"]
    );
    let below_nothing = v1::AuditEventFilter {
        include_below: true,
        ..Default::default()
    };
    let refused = clients
        .audit
        .list_audit_events(list(TENANT, below_nothing))
        .await
        .unwrap_err();
    assert_eq!(violations(&refused), ["filter.include_below"]);
}
