use rollcall_core::id::Uuid;
use rollcall_proto::resource_name::{
    TenantScope, parse_directory, parse_run, parse_run_parent, parse_security_review, parse_tenant,
    parse_tenant_scope, parse_user, parse_user_sync, {self as names},
};

const RUN: &str = "tenants/acme/userSyncs/staff/runs/00000000-0000-0000-0000-00000000000a";

#[test]
fn names_are_read_as_they_are_written() {
    let tenant = parse_tenant("tenants/acme").unwrap();
    assert_eq!(names::tenant(&tenant), "tenants/acme");
    let directory = parse_directory("tenants/acme/directories/main").unwrap();
    assert_eq!(
        names::directory(&directory.tenant, &directory.directory),
        "tenants/acme/directories/main"
    );
    let user_sync = parse_user_sync("tenants/acme/userSyncs/staff").unwrap();
    assert_eq!(
        names::user_sync(&user_sync.tenant, &user_sync.user_sync),
        "tenants/acme/userSyncs/staff"
    );
    let run = parse_run(RUN).unwrap();
    assert_eq!(names::run(&run.user_sync, run.run), RUN);
    let text = format!("tenants/acme/users/{}", Uuid::from_u128(7));
    let user = parse_user(&text).unwrap();
    assert_eq!(names::user(&user.tenant, user.user), text);
    let text = names::security_review(&tenant);
    assert_eq!(parse_security_review(&text), Some(tenant.clone()));
    let time = chrono::DateTime::from_timestamp(7, 0).unwrap();
    assert_eq!(
        names::audit_event(Some(&tenant), 9, time),
        "tenants/acme/auditEvents/7000000-9"
    );
    assert_eq!(
        names::audit_event(None, 9, time),
        "tenants/-/auditEvents/7000000-9"
    );
}

#[test]
fn nothing_else_is_a_name() {
    for text in [
        "",
        "acme",
        "tenants",
        "tenants/",
        "tenants/Acme",
        "tenants/acme/",
        "/tenants/acme",
        "tenants/acme/directories",
        "tenants//acme",
        "tenant/acme",
        "tenants/-",
        "tenants/a b",
        "tenants/acme\n",
        "tenants/../acme",
    ] {
        assert_eq!(parse_tenant(text), None, "{text:?}");
    }
    assert_eq!(parse_directory("tenants/acme/directories/-"), None);
    assert_eq!(parse_directory("tenants/acme/userSyncs/main"), None);
    assert_eq!(parse_user("tenants/acme/users/ada"), None);
    assert_eq!(
        parse_user("tenants/acme/users/00000000-0000-0000-0000-00000000000A"),
        None
    );
    assert_eq!(parse_run(&RUN.replace("staff", "-")), None);
    assert_eq!(parse_run(&format!("{RUN}/x")), None);
    assert_eq!(parse_security_review("tenants/acme"), None);
}

#[test]
fn a_dash_means_all_where_that_is_allowed() {
    assert_eq!(parse_tenant_scope("tenants/-"), Some(TenantScope::All));
    let acme = parse_tenant("tenants/acme").map(TenantScope::One);
    assert_eq!(parse_tenant_scope("tenants/acme"), acme);
    assert_eq!(parse_tenant_scope("tenants/Acme"), None);
    assert_eq!(
        parse_run_parent("tenants/acme/userSyncs/-").unwrap().user_sync,
        None
    );
    assert!(
        parse_run_parent("tenants/acme/userSyncs/staff")
            .unwrap()
            .user_sync
            .is_some()
    );
    assert_eq!(parse_run_parent("tenants/-/userSyncs/-"), None);
}
