use rollcall_core::error::Reason;
use rollcall_proto::convert::sync_run::ListSyncRuns;
use rollcall_proto::convert::tenant::ListTenants;
use rollcall_proto::convert::user::ListUsers;
use rollcall_proto::page::Page;
use rollcall_proto::v1;

use crate::bad_fields;

fn tenants(page_size: i32, page_token: &str) -> Result<Page, rollcall_core::error::Error> {
    let request = v1::ListTenantsRequest {
        page_size,
        page_token: page_token.into(),
    };
    ListTenants::try_from(request).map(|list| list.page)
}

fn users(tenant: &str, role: &str, page_token: &str) -> Result<Page, rollcall_core::error::Error> {
    let request = v1::ListUsersRequest {
        parent: format!("tenants/{tenant}"),
        page_size: 10,
        page_token: page_token.into(),
        filter: Some(v1::UserFilter {
            role: role.into(),
            ..v1::UserFilter::default()
        }),
    };
    ListUsers::try_from(request).map(|list| list.page)
}

#[test]
fn sizes_have_a_default_and_a_maximum() {
    assert_eq!(tenants(0, "").unwrap().size, 50);
    assert_eq!(tenants(7, "").unwrap().size, 7);
    assert_eq!(tenants(i32::MAX, "").unwrap().size, 1000);
    assert_eq!(bad_fields(tenants(-1, "")), ["page_size"]);
}

#[test]
fn a_token_leads_to_the_position_that_it_was_made_of() {
    for position in ["", "acme", "Zoë/\u{1F600}\n", &"x".repeat(1000)] {
        let token = tenants(0, "").unwrap().next_token(position);
        assert_eq!(tenants(3, &token).unwrap().after.as_deref(), Some(position));
    }
}

#[test]
fn a_token_belongs_to_one_method_and_its_arguments() {
    let token = users("acme", "admin", "").unwrap().next_token("ada");
    assert_eq!(
        users("acme", "admin", &token).unwrap().after.as_deref(),
        Some("ada")
    );
    let wrong = [
        users("other", "admin", &token),
        users("acme", "user", &token),
        tenants(0, &token),
    ];
    for result in wrong {
        assert_eq!(result.unwrap_err().reason, Reason::InvalidPageToken);
    }
    for token in ["x", "AQ", "====", &"A".repeat(10_000), &token[1..]] {
        assert_eq!(
            tenants(0, token).unwrap_err().reason,
            Reason::InvalidPageToken,
            "{token}"
        );
    }
}

#[test]
fn a_bad_token_among_other_mistakes_is_one_of_them() {
    let request = v1::ListSyncRunsRequest {
        parent: "tenants/acme".into(),
        page_size: -1,
        page_token: "x".into(),
        states: vec![0, 99],
    };
    assert_eq!(
        bad_fields(ListSyncRuns::try_from(request)),
        ["parent", "states[0]", "states[1]", "page_size", "page_token"]
    );
}
