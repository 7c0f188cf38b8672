use rollcall_core::error::Reason;
use rollcall_proto::v1;

use crate::company::{Company, DIRECTORY, STAFF, TENANT, create_sync, staff};
use crate::harness::{ADMIN, TestWorker, description, fails, mask, metadata, ok, violations};

fn update(user_sync: v1::UserSync, paths: &[&str]) -> v1::UpdateUserSyncRequest {
    v1::UpdateUserSyncRequest {
        user_sync: Some(v1::UserSync {
            name: STAFF.into(),
            ..user_sync
        }),
        update_mask: mask(paths),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_sync_lives_from_create_to_delete() {
    let company = Company::start();
    let worker = TestWorker::start(&company.ports()).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up(&mut clients).await;
    let created = create_sync(&mut clients, "staff", staff()).await;
    assert_eq!(
        (
            created.name.as_str(),
            created.schedule.as_str(),
            created.time_zone.as_str()
        ),
        (STAFF, "0 2 * * *", "UTC")
    );
    assert_eq!(created.new_users(), v1::NewUserPolicy::Create);
    assert_eq!(created.login_changes(), v1::LoginChangePolicy::Reject);
    assert_eq!(created.searches[0].scope(), v1::SearchScope::Subtree);
    assert_eq!((created.next_run_time, created.last_run.as_str()), (None, ""));

    let get = v1::GetUserSyncRequest { name: STAFF.into() };
    assert_eq!(ok(clients.user_syncs.get_user_sync(get.clone())).await, created);

    let nightly = v1::UserSync {
        auto_sync: true,
        etag: created.etag.clone(),
        ..Default::default()
    };
    let updated = ok(clients
        .user_syncs
        .update_user_sync(update(nightly.clone(), &["auto_sync"])))
    .await;
    assert!(updated.next_run_time.is_some(), "it runs by itself now");
    fails(
        Reason::EtagMismatch,
        clients
            .user_syncs
            .update_user_sync(update(nightly, &["auto_sync"])),
    )
    .await;
    let limit = v1::UserSync {
        removal_limit: Some(v1::RemovalLimit {
            max_count: Some(0),
            max_percent: Some(50),
        }),
        ..Default::default()
    };
    let limited = ok(clients
        .user_syncs
        .update_user_sync(update(limit, &["removal_limit.max_count"])))
    .await;
    assert_eq!(
        limited.removal_limit,
        Some(v1::RemovalLimit {
            max_count: Some(0),
            max_percent: None
        })
    );
    assert_eq!(
        limited.next_run_time, updated.next_run_time,
        "what is no part of the schedule leaves it alone"
    );

    let delete = v1::DeleteUserSyncRequest {
        name: STAFF.into(),
        ..Default::default()
    };
    let status = fails(
        Reason::InvalidField,
        clients.user_syncs.delete_user_sync(delete.clone()),
    )
    .await;
    assert_eq!(violations(&status), ["user_disposition"]);
    let delete = v1::DeleteUserSyncRequest {
        user_disposition: v1::UserDisposition::Archive.into(),
        ..delete
    };
    ok(clients.user_syncs.delete_user_sync(delete)).await;
    let gone = fails(Reason::UserSyncNotFound, clients.user_syncs.get_user_sync(get)).await;
    assert_eq!(metadata(&gone, "resource"), STAFF);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_field_of_a_user_sync_is_named_at_once() {
    let company = Company::start();
    let worker = TestWorker::start(&company.ports()).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up(&mut clients).await;
    let bad = v1::UserSync {
        directory: "tenants/other/directories/hq".into(),
        searches: vec![v1::UserSearch {
            base_dn: "not a dn".into(),
            filter: "(&(objectClass=person)(uid=a)".into(),
            ..Default::default()
        }],
        role: "no role".into(),
        role_rules: vec![v1::RoleRule {
            condition: None,
            role: "admin".into(),
        }],
        field_mappings: Some(v1::FieldMappings {
            email: vec!["{mail".into()],
            ..Default::default()
        }),
        schedule: "every day".into(),
        removal_limit: Some(v1::RemovalLimit {
            max_count: None,
            max_percent: Some(101),
        }),
        report: Some(v1::ReportSettings {
            when: v1::ReportWhen::Always.into(),
            addresses: Vec::new(),
        }),
        ..v1::UserSync::default()
    };
    let request = v1::CreateUserSyncRequest {
        parent: TENANT.into(),
        user_sync_id: String::new(),
        user_sync: Some(bad),
        request_id: String::new(),
    };
    let status = fails(Reason::InvalidField, clients.user_syncs.create_user_sync(request)).await;
    let mut fields = violations(&status);
    fields.sort_unstable();
    assert_eq!(
        fields,
        [
            "user_sync.directory",
            "user_sync.display_name",
            "user_sync.field_mappings.email[0]",
            "user_sync.field_mappings.login",
            "user_sync.removal_limit.max_percent",
            "user_sync.report.addresses",
            "user_sync.role",
            "user_sync.role_rules[0]",
            "user_sync.schedule",
            "user_sync.searches[0].base_dn",
            "user_sync.searches[0].filter",
        ]
    );
    let filter = description(&status, "user_sync.searches[0].filter");
    assert!(
        filter.contains("column"),
        "it says where the filter goes wrong: {filter}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_starts_disabled_and_without_a_past() {
    let company = Company::start();
    let worker = TestWorker::start(&company.ports()).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up(&mut clients).await;
    create_sync(
        &mut clients,
        "staff",
        v1::UserSync {
            auto_sync: true,
            ..staff()
        },
    )
    .await;
    let clone = v1::CloneUserSyncRequest {
        name: STAFF.into(),
        user_sync_id: "copy".into(),
        display_name: String::new(),
        request_id: String::new(),
    };
    let copy = ok(clients.user_syncs.clone_user_sync(clone.clone())).await;
    assert_eq!(
        (copy.name.as_str(), copy.display_name.as_str()),
        ("tenants/acme/userSyncs/copy", "Staff (copy)")
    );
    assert!(copy.disabled && copy.next_run_time.is_none());
    assert_eq!(copy.searches, staff_searches());
    let again = fails(Reason::AlreadyExists, clients.user_syncs.clone_user_sync(clone)).await;
    assert_eq!(metadata(&again, "resource"), copy.name);
    let unknown = v1::CloneUserSyncRequest {
        name: "tenants/acme/userSyncs/none".into(),
        ..Default::default()
    };
    fails(
        Reason::UserSyncNotFound,
        clients.user_syncs.clone_user_sync(unknown),
    )
    .await;
}

fn staff_searches() -> Vec<v1::UserSearch> {
    let search = |search: v1::UserSearch| v1::UserSearch {
        scope: v1::SearchScope::Subtree.into(),
        ..search
    };
    staff().searches.into_iter().map(search).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn user_syncs_are_listed_by_directory_and_page_by_page() {
    let company = Company::start();
    let worker = TestWorker::start(&company.ports()).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up(&mut clients).await;
    let second = v1::CreateDirectoryRequest {
        parent: TENANT.into(),
        directory_id: "lab".into(),
        directory: Some(company.directory()),
        request_id: String::new(),
    };
    ok(clients.directories.create_directory(second)).await;
    let in_lab = v1::UserSync {
        directory: "tenants/acme/directories/lab".into(),
        ..staff()
    };
    create_sync(&mut clients, "a", staff()).await;
    create_sync(&mut clients, "b", in_lab).await;
    create_sync(&mut clients, "c", staff()).await;
    for directory in ["", DIRECTORY] {
        let (mut names, mut token) = (Vec::new(), String::new());
        loop {
            let list = v1::ListUserSyncsRequest {
                parent: TENANT.into(),
                page_size: 1,
                page_token: token,
                directory: directory.into(),
                ..Default::default()
            };
            let page = ok(clients.user_syncs.list_user_syncs(list)).await;
            assert!(page.user_syncs.len() <= 1);
            names.extend(page.user_syncs.into_iter().map(|sync| sync.name));
            token = page.next_page_token;
            if token.is_empty() {
                break;
            }
        }
        let expected: &[&str] = if directory.is_empty() {
            &["a", "b", "c"]
        } else {
            &["a", "c"]
        };
        let expected: Vec<_> = expected
            .iter()
            .map(|id| format!("{TENANT}/userSyncs/{id}"))
            .collect();
        assert_eq!(names, expected, "on {directory:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_sync_needs_a_directory_that_exists() {
    let company = Company::start();
    let worker = TestWorker::start(&company.ports()).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up(&mut clients).await;
    let request = v1::CreateUserSyncRequest {
        parent: TENANT.into(),
        user_sync_id: "staff".into(),
        user_sync: Some(v1::UserSync {
            directory: "tenants/acme/directories/none".into(),
            ..staff()
        }),
        request_id: String::new(),
    };
    let status = fails(
        Reason::DirectoryNotFound,
        clients.user_syncs.create_user_sync(request),
    )
    .await;
    assert_eq!(metadata(&status, "resource"), "tenants/acme/directories/none");
}
