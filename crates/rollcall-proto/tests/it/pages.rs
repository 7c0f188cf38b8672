use rollcall_core::error::Error;
use rollcall_proto::convert::sync_run::ListSyncRuns;
use rollcall_proto::convert::tenant::ListTenants;
use rollcall_proto::convert::user::ListUsers;
use rollcall_proto::page::AskedPage;
use rollcall_proto::v1;

use crate::bad_fields;

fn tenants(page_size: i32) -> Result<AskedPage, Error> {
    let request = v1::ListTenantsRequest {
        page_size,
        page_token: "x".into(),
    };
    ListTenants::try_from(request).map(|list| list.page)
}

fn users(tenant: &str, role: &str, page_size: i32) -> AskedPage {
    let request = v1::ListUsersRequest {
        parent: format!("tenants/{tenant}"),
        page_size,
        page_token: "x".into(),
        filter: Some(v1::UserFilter {
            role: role.into(),
            ..v1::UserFilter::default()
        }),
    };
    ListUsers::try_from(request).unwrap().page
}

#[test]
fn sizes_have_a_default_and_a_maximum() {
    assert_eq!(tenants(0).unwrap().size, 50);
    assert_eq!(tenants(7).unwrap().size, 7);
    assert_eq!(tenants(i32::MAX).unwrap().size, 1000);
    assert_eq!(bad_fields(tenants(-1)), ["page_size"]);
}

#[test]
fn a_token_belongs_to_the_method_and_to_all_arguments_but_the_size() {
    let asked = users("acme", "admin", 10);
    assert_eq!(asked.token, "x");
    assert_eq!(users("acme", "admin", 20).request, asked.request);
    for other in [
        users("other", "admin", 10),
        users("acme", "user", 10),
        tenants(0).unwrap(),
    ] {
        assert_ne!(other.request, asked.request);
    }
}

#[test]
fn all_mistakes_are_told_at_once() {
    let request = v1::ListSyncRunsRequest {
        parent: "tenants/acme".into(),
        page_size: -1,
        page_token: "x".into(),
        states: vec![0, 99],
    };
    assert_eq!(
        bad_fields(ListSyncRuns::try_from(request)),
        ["parent", "states[0]", "states[1]", "page_size"]
    );
}
