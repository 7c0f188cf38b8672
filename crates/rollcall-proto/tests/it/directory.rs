use std::time::Duration;

use chrono::DateTime;
use rollcall_core::dialect::Dialect;
use rollcall_core::directory::{Directory, DirectoryObservations, DirectorySettings, TransportSecurity};
use rollcall_core::error::Error;
use rollcall_core::id::{DirectoryId, TenantId};
use rollcall_core::revision::Revision;
use rollcall_core::soft_lock::{SoftLock, SoftLockMode};
use rollcall_core::user::UserDisposition;
use rollcall_proto::convert::check::{CheckConnection, DirectoryTarget};
use rollcall_proto::convert::directory::{
    CreateDirectory, DeleteDirectory, RotateBindPassword, UpdateDirectory,
};
use rollcall_proto::{changes, v1};

use crate::{bad_fields, mask};

const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
const KEY: &str = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";

fn wire() -> v1::Directory {
    v1::Directory {
        display_name: "Main".into(),
        hosts: vec![
            "ldaps://dc1.acme.example".into(),
            "ldaps://[2001:db8::1]:3269".into(),
        ],
        bind_dn: "cn=reader,dc=acme,dc=example".into(),
        bind_password: " geheim ".into(),
        ..v1::Directory::default()
    }
}

fn create(directory: v1::Directory) -> Result<CreateDirectory, Error> {
    CreateDirectory::try_from(v1::CreateDirectoryRequest {
        parent: "tenants/acme".into(),
        directory_id: "main".into(),
        directory: Some(directory),
        request_id: String::new(),
    })
}

fn settings() -> DirectorySettings {
    create(wire()).ok().unwrap().settings
}

#[test]
fn what_is_left_out_has_a_default() {
    let created = create(wire()).ok().unwrap();
    assert_eq!(created.tenant.as_str(), "acme");
    assert_eq!(created.id, DirectoryId::parse("main"));
    assert_eq!(created.secrets.bind_password.unwrap().expose(), " geheim ");
    assert!(created.secrets.client_private_key.is_none());
    let settings = created.settings;
    assert_eq!(settings.transport_security, TransportSecurity::Ldaps);
    assert_eq!(settings.connect_timeout, Duration::from_secs(3));
    assert_eq!(settings.page_size, 1000);
    assert_eq!(settings.external_id_attribute, None);
    let plain = v1::Directory {
        hosts: vec!["ldap://dc1.acme.example".into()],
        ..wire()
    };
    assert_eq!(
        create(plain).ok().unwrap().settings.transport_security,
        TransportSecurity::StartTls
    );
}

#[test]
fn all_that_is_wrong_with_a_new_directory_is_said_at_once() {
    let wire = v1::Directory {
        display_name: "x".repeat(201),
        hosts: vec!["ldaps://ok.example".into(), "http://x".into()],
        port: Some(70_000),
        transport_security: 77,
        ca_certificates: "not pem".into(),
        client_private_key: "not pem".into(),
        connect_timeout: Some(prost_types::Duration {
            seconds: -1,
            nanos: 0,
        }),
        operation_timeout: Some(prost_types::Duration {
            seconds: 121,
            nanos: 0,
        }),
        page_size: -5,
        external_id_attribute: "uid".into(),
        ..v1::Directory::default()
    };
    let request = v1::CreateDirectoryRequest {
        parent: "acme".into(),
        directory_id: "Main".into(),
        directory: Some(wire),
        request_id: String::new(),
    };
    let fields = bad_fields(CreateDirectory::try_from(request));
    let expected = [
        "parent",
        "directory_id",
        "directory.bind_password",
        "directory.client_private_key",
        "directory.hosts[1]",
        "directory.transport_security",
        "directory.port",
        "directory.connect_timeout",
        "directory.page_size",
        "directory.display_name",
        "directory.ca_certificates",
        "directory.bind_dn",
        "directory.operation_timeout",
        "directory.external_id_attribute",
        "directory.client_certificate",
    ];
    for field in expected {
        assert!(
            fields.iter().any(|found| found == field),
            "{field} is missing from {fields:?}"
        );
    }
    assert_eq!(fields.len(), expected.len(), "{fields:?}");
}

#[test]
fn a_client_certificate_and_its_key_come_together() {
    let with = |certificate: &str, key: &str| {
        create(v1::Directory {
            client_certificate: certificate.into(),
            client_private_key: key.into(),
            ..wire()
        })
    };
    assert!(
        with(CERTIFICATE, KEY)
            .ok()
            .unwrap()
            .secrets
            .client_private_key
            .is_some()
    );
    assert_eq!(
        bad_fields(with(CERTIFICATE, "")),
        ["directory.client_private_key"]
    );
    assert_eq!(bad_fields(with("", KEY)), ["directory.client_certificate"]);
}

#[test]
fn a_directory_goes_out_without_its_secrets() {
    let directory = Directory {
        tenant: TenantId::parse("acme").unwrap(),
        id: DirectoryId::parse("main").unwrap(),
        settings: settings(),
        bind_password_set: true,
        bind_password_update_time: Some(DateTime::UNIX_EPOCH),
        bind_password_strength: None,
        pending_bind_password_time: None,
        pending_bind_password_refuse_time: None,
        endpoint_confirmed: false,
        observed: DirectoryObservations::default(),
        revision: Revision::new(4),
        create_time: DateTime::UNIX_EPOCH,
        update_time: DateTime::UNIX_EPOCH,
    };
    let out = v1::Directory::from(&directory);
    assert_eq!(out.name, "tenants/acme/directories/main");
    assert_eq!(
        (out.bind_password.as_str(), out.client_private_key.as_str()),
        ("", "")
    );
    assert!(out.bind_password_set);
    assert_eq!(out.endpoint_state(), v1::EndpointState::Unconfirmed);
    assert!(out.server.is_none());
    let again = create(v1::Directory {
        bind_password: "geheim".into(),
        ..out
    });
    assert_eq!(again.ok().unwrap().settings, settings());
}

fn update(wire: v1::Directory, paths: &[&str]) -> Result<UpdateDirectory, Error> {
    let wire = v1::Directory {
        name: "tenants/acme/directories/main".into(),
        ..wire
    };
    UpdateDirectory::try_from(v1::UpdateDirectoryRequest {
        directory: Some(wire),
        update_mask: mask(paths),
        confirm_new_directory: false,
    })
}

#[test]
fn an_update_changes_what_is_named_and_keeps_secrets_that_are_left_out() {
    let request = update(
        v1::Directory {
            disabled: true,
            ..v1::Directory::default()
        },
        &[],
    )
    .ok()
    .unwrap();
    assert!(request.secrets.bind_password.is_none());
    assert_eq!(
        request.apply(&settings()).unwrap(),
        DirectorySettings {
            disabled: true,
            ..settings()
        }
    );
    let replaced = update(
        v1::Directory {
            bind_password: String::new(),
            ..wire()
        },
        &["*"],
    )
    .ok()
    .unwrap();
    assert!(replaced.secrets.bind_password.is_none());
    assert_eq!(replaced.apply(&settings()).unwrap(), settings());
    let password = update(wire(), &["bind_password"]).ok().unwrap();
    assert_eq!(
        password.secrets.bind_password.as_ref().unwrap().expose(),
        " geheim "
    );
    assert_eq!(password.apply(&settings()).unwrap(), settings());
    let unnamed = update(wire(), &["page_size"]).ok().unwrap();
    assert!(
        unnamed.secrets.bind_password.is_none(),
        "what the mask does not name is not taken"
    );
}

#[test]
fn an_update_reports_its_mistakes_on_receipt_and_those_of_the_result_when_applied() {
    let wrong = v1::Directory {
        name: "tenants/acme".into(),
        etag: "?".into(),
        hosts: vec!["gopher://x".into()],
        page_size: -1,
        ..v1::Directory::default()
    };
    let request = v1::UpdateDirectoryRequest {
        directory: Some(wrong),
        update_mask: mask(&["hosts", "bind_password", "server"]),
        confirm_new_directory: true,
    };
    assert_eq!(
        bad_fields(UpdateDirectory::try_from(request)),
        [
            "directory.name",
            "directory.etag",
            "update_mask.paths[2]",
            "directory.bind_password",
            "directory.hosts[0]",
        ]
    );
    let plain = v1::Directory {
        hosts: vec!["ldap://dc1".into()],
        ..v1::Directory::default()
    };
    let applied = update(plain, &["hosts"]).ok().unwrap().apply(&settings());
    assert_eq!(bad_fields(applied), ["directory.hosts[0]"]);
    assert_eq!(
        bad_fields(UpdateDirectory::try_from(v1::UpdateDirectoryRequest::default())),
        ["directory"]
    );
}

#[test]
fn a_client_certificate_can_be_removed_and_its_key_goes_with_it() {
    let current = DirectorySettings {
        client_certificate: Some(CERTIFICATE.into()),
        ..settings()
    };
    let renewed = v1::Directory {
        client_certificate: CERTIFICATE.into(),
        ..v1::Directory::default()
    };
    assert!(
        update(renewed, &["client_certificate"])
            .ok()
            .unwrap()
            .apply(&current)
            .is_ok()
    );
    let removed = update(v1::Directory::default(), &["client_certificate"])
        .ok()
        .unwrap();
    assert_eq!(removed.apply(&current).unwrap().client_certificate, None);
}

#[test]
fn an_update_brings_no_key_without_a_certificate() {
    let key = v1::Directory {
        client_private_key: KEY.into(),
        ..v1::Directory::default()
    };
    let applied = update(key, &[]).ok().unwrap().apply(&settings());
    assert_eq!(bad_fields(applied), ["directory.client_certificate"]);
    let certificate = v1::Directory {
        client_certificate: CERTIFICATE.into(),
        ..v1::Directory::default()
    };
    let applied = update(certificate, &[]).ok().unwrap().apply(&settings());
    assert_eq!(bad_fields(applied), ["directory.client_private_key"]);
}

#[test]
fn a_duration_has_one_form() {
    for (seconds, nanos) in [(-1, 0), (0, -1), (3, 1_000_000_000), (i64::MIN, 0)] {
        let connect_timeout = Some(prost_types::Duration { seconds, nanos });
        let wrong = v1::Directory {
            connect_timeout,
            ..wire()
        };
        assert_eq!(
            bad_fields(create(wrong)),
            ["directory.connect_timeout"],
            "{seconds} {nanos}"
        );
    }
    let half = v1::Directory {
        connect_timeout: Some(prost_types::Duration {
            seconds: 0,
            nanos: 500_000_000,
        }),
        ..wire()
    };
    let settings = create(half).ok().unwrap().settings;
    assert_eq!(settings.connect_timeout, Duration::from_millis(500));
}

#[test]
fn deleting_with_force_asks_what_becomes_of_the_users() {
    let delete = |force, disposition: v1::UserDisposition| {
        DeleteDirectory::try_from(v1::DeleteDirectoryRequest {
            name: "tenants/acme/directories/main".into(),
            etag: String::new(),
            force,
            user_disposition: disposition.into(),
        })
    };
    let archive = delete(true, v1::UserDisposition::Archive).unwrap();
    assert_eq!(archive.force, Some(UserDisposition::Archive));
    assert_eq!(delete(false, v1::UserDisposition::Archive).unwrap().force, None);
    assert_eq!(
        bad_fields(delete(true, v1::UserDisposition::Unspecified)),
        ["user_disposition"]
    );
}

#[test]
fn a_new_bind_password_is_checked_like_any() {
    let request = v1::RotateBindPasswordRequest {
        name: "x".into(),
        bind_password: "a\0".into(),
        etag: "y".into(),
        pending: false,
    };
    assert_eq!(
        bad_fields(RotateBindPassword::try_from(request)),
        ["name", "etag", "bind_password"]
    );
}

#[test]
fn a_check_takes_a_stored_directory_or_a_draft() {
    use v1::check_connection_request::Target;
    let check = |target| {
        CheckConnection::try_from(v1::CheckConnectionRequest {
            parent: "tenants/acme".into(),
            target,
        })
    };
    let stored = check(Some(Target::Directory("tenants/acme/directories/main".into())))
        .ok()
        .unwrap();
    assert!(matches!(stored.target, DirectoryTarget::Stored(id) if id.as_str() == "main"));
    let borrowing = v1::Directory {
        name: "tenants/acme/directories/main".into(),
        bind_password: String::new(),
        ..wire()
    };
    let draft = check(Some(Target::Draft(borrowing))).ok().unwrap();
    assert!(matches!(
        draft.target,
        DirectoryTarget::Draft { stored: Some(_), .. }
    ));
    let anonymous = v1::Directory {
        bind_password: String::new(),
        ..wire()
    };
    assert_eq!(
        bad_fields(check(Some(Target::Draft(anonymous)))),
        ["draft.bind_password"]
    );
    let foreign = Target::Directory("tenants/other/directories/main".into());
    assert_eq!(bad_fields(check(Some(foreign))), ["directory"]);
    assert_eq!(bad_fields(check(None)), ["target"]);
}

#[test]
fn a_soft_lock_is_set_whole_or_field_by_field() {
    let seconds = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
    let lock = v1::SoftLock {
        limit: 4,
        window: seconds(1_800),
        duration: None,
        mode: v1::SoftLockMode::Log.into(),
    };
    let with = |lock: v1::SoftLock| v1::Directory {
        soft_lock: Some(lock),
        ..wire()
    };
    let set = create(with(lock)).ok().unwrap().settings;
    let expected = SoftLock {
        limit: Some(4),
        window: Some(Duration::from_secs(1_800)),
        duration: None,
        mode: Some(SoftLockMode::Log),
    };
    assert_eq!(set.soft_lock, expected);
    assert_eq!(settings().soft_lock, SoftLock::default());
    // What differs is told to the record, as of every other field.
    let paths = |before: &v1::Directory, after: &v1::Directory| -> Vec<String> {
        let told = changes(Some(before), Some(after)).into_iter();
        told.map(|change| change.path).collect()
    };
    let milder = v1::SoftLock {
        mode: v1::SoftLockMode::Enforce.into(),
        ..lock
    };
    assert_eq!(paths(&with(lock), &with(milder)), ["soft_lock.mode"]);
    let enforce = v1::SoftLock {
        mode: v1::SoftLockMode::Enforce.into(),
        ..v1::SoftLock::default()
    };
    let changed = update(with(enforce), &["soft_lock.mode"]).ok().unwrap();
    let enforced = SoftLock {
        mode: Some(SoftLockMode::Enforce),
        ..expected
    };
    assert_eq!(changed.apply(&set).unwrap().soft_lock, enforced);
    let removed = update(wire(), &["soft_lock"]).ok().unwrap();
    assert_eq!(removed.apply(&set).unwrap().soft_lock, SoftLock::default());
    let wrong = v1::SoftLock {
        limit: -1,
        window: seconds(-1),
        duration: seconds(0),
        mode: 9,
    };
    let wrong = bad_fields(create(with(wrong)));
    for field in ["limit", "window", "mode"] {
        assert!(
            wrong.contains(&format!("directory.soft_lock.{field}")),
            "{field}: {wrong:?}"
        );
    }
    let short = v1::SoftLock {
        window: seconds(60),
        duration: seconds(59),
        ..v1::SoftLock::default()
    };
    assert_eq!(bad_fields(create(with(short))), ["directory.soft_lock.duration"]);
}

#[test]
fn every_kind_of_server_has_its_word_in_the_contract() {
    let mut named: Vec<i32> = Dialect::ALL
        .iter()
        .map(|dialect| v1::DirectoryServerKind::from(*dialect).into())
        .collect();
    named.sort_unstable();
    let numbers: Vec<i32> = (1..)
        .take_while(|number| v1::DirectoryServerKind::is_valid(*number))
        .collect();
    assert_eq!(
        named, numbers,
        "0 stands for a contract_name that DirectoryServerKind does not have"
    );
}
