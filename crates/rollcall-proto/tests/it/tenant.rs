use chrono::{DateTime, Utc};
use rollcall_core::id::TenantId;
use rollcall_core::revision::Revision;
use rollcall_core::tenant::{Tenant, TenantSettings};
use rollcall_proto::convert::tenant::{CreateTenant, DeleteTenant, UpdateTenant};
use rollcall_proto::{etag, v1};

use crate::{bad_fields, mask};

fn settings() -> TenantSettings {
    TenantSettings {
        display_name: "Acme".into(),
        user_sync_enabled: true,
        verified_domains: vec!["acme.example".into()],
    }
}

fn tenant() -> Tenant {
    Tenant {
        id: TenantId::parse("acme").unwrap(),
        settings: settings(),
        revision: Revision::new(300),
        create_time: DateTime::UNIX_EPOCH,
        update_time: DateTime::<Utc>::from_timestamp(1, 500_000_000).unwrap(),
    }
}

#[test]
fn a_tenant_goes_out_as_it_came_in() {
    let wire = v1::Tenant::from(&tenant());
    assert_eq!(wire.name, "tenants/acme");
    assert_eq!(wire.etag, etag(Revision::new(300)));
    assert_eq!(
        wire.update_time.map(|time| (time.seconds, time.nanos)),
        Some((1, 500_000_000))
    );
    let request = v1::CreateTenantRequest {
        tenant_id: "acme".into(),
        tenant: Some(wire),
        request_id: String::new(),
    };
    let created = CreateTenant::try_from(request).unwrap();
    assert_eq!((created.id, created.settings), (Some(tenant().id), settings()));
    assert!(created.repeatable.is_none());
}

#[test]
fn all_that_is_wrong_with_a_new_tenant_is_said_at_once() {
    let wire = v1::Tenant {
        verified_domains: vec!["nope".into(), "Example.com".into()],
        ..v1::Tenant::default()
    };
    let request = v1::CreateTenantRequest {
        tenant_id: "-".into(),
        tenant: Some(wire),
        request_id: String::new(),
    };
    assert_eq!(
        bad_fields(CreateTenant::try_from(request)),
        [
            "tenant_id",
            "tenant.display_name",
            "tenant.verified_domains[0]",
            "tenant.verified_domains[1]"
        ]
    );
    assert_eq!(
        bad_fields(CreateTenant::try_from(v1::CreateTenantRequest::default())),
        ["tenant"]
    );
}

fn update(wire: v1::Tenant, paths: &[&str]) -> Result<TenantSettings, rollcall_core::error::Error> {
    let wire = v1::Tenant {
        name: "tenants/acme".into(),
        ..wire
    };
    let request = v1::UpdateTenantRequest {
        tenant: Some(wire),
        update_mask: mask(paths),
    };
    UpdateTenant::try_from(request)?.apply(&settings())
}

#[test]
fn a_mask_changes_what_it_names_and_nothing_else() {
    let empty = v1::Tenant::default;
    let changed = update(empty(), &["user_sync_enabled"]).unwrap();
    assert_eq!(
        changed,
        TenantSettings {
            user_sync_enabled: false,
            ..settings()
        }
    );
    let changed = update(
        v1::Tenant {
            display_name: "New".into(),
            ..empty()
        },
        &[],
    )
    .unwrap();
    assert_eq!(
        changed,
        TenantSettings {
            display_name: "New".into(),
            ..settings()
        }
    );
    let changed = update(
        v1::Tenant {
            display_name: "New".into(),
            ..empty()
        },
        &["*"],
    )
    .unwrap();
    let all = TenantSettings {
        display_name: "New".into(),
        user_sync_enabled: false,
        verified_domains: vec![],
    };
    assert_eq!(changed, all);
    assert_eq!(
        bad_fields(update(empty(), &["display_name"])),
        ["tenant.display_name"]
    );
}

#[test]
fn a_mask_with_other_fields_is_refused() {
    let fields = bad_fields(update(
        v1::Tenant::default(),
        &["name", "display_name", "etag", "nonsense"],
    ));
    assert_eq!(
        fields,
        [
            "update_mask.paths[0]",
            "update_mask.paths[2]",
            "update_mask.paths[3]"
        ]
    );
}

#[test]
fn an_etag_stands_for_one_revision() {
    let delete = |etag: &str| {
        DeleteTenant::try_from(v1::DeleteTenantRequest {
            name: "tenants/acme".into(),
            etag: etag.into(),
            force: false,
        })
    };
    assert_eq!(
        delete(&etag(Revision::new(300))).unwrap().revision,
        Some(Revision::new(300))
    );
    assert_eq!(delete("").unwrap().revision, None);
    for other in ["300", "r", "r0300", "rxyz", "W/\"r1\"", "R12c"] {
        assert_eq!(bad_fields(delete(other)), ["etag"], "{other}");
    }
    let request = v1::DeleteTenantRequest {
        name: "acme".into(),
        etag: "x".into(),
        force: true,
    };
    assert_eq!(bad_fields(DeleteTenant::try_from(request)), ["name", "etag"]);
}
