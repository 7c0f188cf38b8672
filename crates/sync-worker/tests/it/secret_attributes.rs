//! What holds secrets can neither be mapped nor asked for.

use rollcall_core::error::Reason;
use rollcall_proto::v1;
use rollcall_proto::v1::check_user_sync_request::Target;
use rollcall_proto::v1::role_rule::Condition;

use crate::company::{Company, STAFF, TENANT, create_sync, staff};
use crate::harness::{ADMIN, TestWorker, fails, mask, violations};

/// A user sync that asks for this attribute in every place where it could.
fn curious(attribute: &str) -> v1::UserSync {
    let mut user_sync = staff();
    user_sync.searches[0].filter = format!("(&(uid=*)({attribute}>=M))");
    user_sync.role_rules = vec![v1::RoleRule {
        condition: Some(Condition::Filter(format!("({attribute}:2.5.13.17:=M)"))),
        role: "admin".into(),
    }];
    let mappings = user_sync.field_mappings.as_mut().unwrap();
    mappings.email = vec!["mail".into(), attribute.into()];
    mappings.custom.insert(
        "pw".into(),
        v1::FieldCandidates {
            candidates: vec![format!("{{sn}} {{{attribute}}}")],
        },
    );
    user_sync
}

fn fields(prefix: &str) -> Vec<String> {
    [
        "searches[0].filter",
        "role_rules[0].filter",
        "field_mappings.email[1]",
        "field_mappings.custom[pw][0]",
    ]
    .map(|field| format!("{prefix}.{field}"))
    .to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn case_10_secrets_cannot_be_mapped_filtered_by_or_checked() {
    let company = Company::start();
    let worker = TestWorker::start(&company.ports()).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up(&mut clients).await;
    create_sync(&mut clients, "staff", staff()).await;
    for attribute in [
        "userPassword",
        "USERPASSWORD;lang-de",
        "2.5.4.35",
        "ms-Mcs-AdmPwd",
        "krbPrincipalKey",
    ] {
        let create = v1::CreateUserSyncRequest {
            parent: TENANT.into(),
            user_sync_id: "curious".into(),
            user_sync: Some(curious(attribute)),
            request_id: String::new(),
        };
        let status = fails(Reason::InvalidField, clients.user_syncs.create_user_sync(create)).await;
        assert_eq!(violations(&status), fields("user_sync"), "{attribute}");
        let update = v1::UpdateUserSyncRequest {
            user_sync: Some(v1::UserSync {
                name: STAFF.into(),
                ..curious(attribute)
            }),
            update_mask: mask(&["searches", "role_rules", "field_mappings"]),
        };
        let status = fails(Reason::InvalidField, clients.user_syncs.update_user_sync(update)).await;
        assert_eq!(violations(&status), fields("user_sync"), "{attribute}");
        let check = v1::CheckUserSyncRequest {
            parent: TENANT.into(),
            target: Some(Target::Draft(curious(attribute))),
            sample_size: 0,
        };
        let status = fails(Reason::InvalidField, clients.user_syncs.check_user_sync(check)).await;
        assert_eq!(violations(&status), fields("draft"), "{attribute}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_identifies_nobody() {
    let company = Company::start();
    let worker = TestWorker::start(&company.ports()).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up(&mut clients).await;
    let create = v1::CreateDirectoryRequest {
        parent: TENANT.into(),
        directory_id: "curious".into(),
        directory: Some(v1::Directory {
            external_id_attribute: "unicodePwd".into(),
            ..company.directory()
        }),
        request_id: String::new(),
    };
    let status = fails(Reason::InvalidField, clients.directories.create_directory(create)).await;
    assert_eq!(violations(&status), ["directory.external_id_attribute"]);
}
