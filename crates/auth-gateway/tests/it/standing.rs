//! LOCAL users who are deactivated and come back, and when users last logged in.

use rollcall_proto::v1::*;

use crate::world::{PASSWORD, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_local_user_is_deactivated_and_reactivated_and_logins_follow() {
    let world = World::new().await;
    let mut users = world.users();
    let create = CreateUserRequest {
        parent: "tenants/acme".into(),
        user: Some(User {
            login: "carol".into(),
            role: "admin".into(),
            ..User::default()
        }),
        request_id: String::new(),
    };
    let carol = users.create_user(create).await.unwrap().into_inner();
    assert_eq!(world.login("carol", "x").await, "DENIED LOCAL_USER");
    let name = carol.name.clone();
    let stale = DeactivateUserRequest {
        name: name.clone(),
        etag: "r9".into(),
    };
    assert!(users.deactivate_user(stale).await.is_err());
    let request = DeactivateUserRequest {
        name: name.clone(),
        etag: carol.etag,
    };
    let gone = users.deactivate_user(request).await.unwrap().into_inner();
    assert_eq!(
        (gone.state(), gone.state_reason()),
        (UserState::Deactivated, UserStateReason::ByProduct)
    );
    assert_eq!(world.login("carol", "x").await, "DENIED INVALID_CREDENTIALS");
    let request = ReactivateUserRequest {
        name: name.clone(),
        etag: String::new(),
    };
    let back = users.reactivate_user(request).await.unwrap().into_inner();
    assert_eq!(
        (back.state(), back.revision),
        (UserState::Active, gone.revision + 1)
    );
    assert_eq!(world.login("carol", "x").await, "DENIED LOCAL_USER");

    let ada = world.user("ada").await;
    let request = DeactivateUserRequest {
        name: format!("tenants/acme/users/{}", ada.id),
        etag: String::new(),
    };
    let refused = users.deactivate_user(request).await.unwrap_err();
    let reason = rollcall_proto::status::reason(&refused).map(|reason| reason.as_str());
    assert_eq!(reason, Some("USER_NOT_LOCAL"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_login_is_shown_and_lists_find_who_has_none() {
    let world = World::new().await;
    let mut users = world.users();
    let ada = world.user("ada").await;
    let name = format!("tenants/acme/users/{}", ada.id);
    let get = || GetUserRequest { name: name.clone() };
    let before = users.get_user(get()).await.unwrap().into_inner();
    assert_eq!(before.last_login_time, None);
    assert_eq!(world.login("ada", PASSWORD).await, "OK ada");
    let after = users.get_user(get()).await.unwrap().into_inner();
    assert!(after.last_login_time.is_some());
    let unchanged = User {
        last_login_time: None,
        ..after
    };
    assert_eq!(unchanged, before, "neither etag nor update_time move");
    let never = ListUsersRequest {
        parent: "tenants/acme".into(),
        filter: Some(UserFilter {
            never_logged_in: true,
            ..UserFilter::default()
        }),
        ..ListUsersRequest::default()
    };
    let listed = users.list_users(never).await.unwrap().into_inner().users;
    let mut logins: Vec<String> = listed.into_iter().map(|user| user.login).collect();
    logins.sort();
    assert_eq!(logins, ["bob", "eve"]);
    let lookup = LookupUserRequest {
        parent: "tenants/acme".into(),
        identifier: "ada".into(),
    };
    let found = users.lookup_user(lookup).await.unwrap().into_inner();
    assert!(found.last_login_time.is_some());
}
