//! Logins: who gets in, who does not, and what is told.

use crate::world::{PASSWORD, World, dn, request};

#[tokio::test(flavor = "multi_thread")]
async fn the_right_password_and_no_other_lets_the_right_user_in() {
    let world = World::new().await;
    assert_eq!(world.login("ada", PASSWORD).await, "OK ada");
    assert_eq!(world.login("ADA", PASSWORD).await, "OK ada");
    assert_eq!(world.login(" \u{ff21}da@Acme.Example ", PASSWORD).await, "OK ada");
    assert_eq!(
        world.login("ada", "password of bob").await,
        "DENIED INVALID_CREDENTIALS"
    );
    assert_eq!(
        world.login("ada", &format!("{PASSWORD} ")).await,
        "DENIED INVALID_CREDENTIALS"
    );
    assert_eq!(world.login("bob", "password of bob").await, "OK bob");
    assert_eq!(
        world.audit().await,
        [
            "AUTHENTICATED AUTHENTICATED",
            "AUTHENTICATED AUTHENTICATED",
            "AUTHENTICATED AUTHENTICATED",
            "DENIED INVALID_CREDENTIALS",
            "DENIED INVALID_CREDENTIALS",
            "AUTHENTICATED AUTHENTICATED",
        ]
    );
    assert_eq!(world.binds(&dn("ada")), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_password_is_refused_before_anything_is_sent_even_where_the_directory_would_accept_it() {
    let world = World::with(rollcall_testkit::Slapd::builder().bind_anon_dn(), &[]).await;
    let before = world.server.binds().unwrap().len();
    for password in ["", "a\0b", &"x".repeat(1025)] {
        assert_eq!(
            world.login("ada", password).await,
            "InvalidArgument INVALID_FIELD"
        );
    }
    assert_eq!(world.server.binds().unwrap().len(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_email_of_a_verified_domain_needs_no_tenant_and_nothing_else_does_without() {
    let world = World::new().await;
    let without = |login: &str| rollcall_proto::v1::AuthenticateRequest {
        tenant: String::new(),
        ..request(login, PASSWORD)
    };
    assert_eq!(world.attempt(0, without("ada@acme.example")).await, "OK ada");
    assert_eq!(
        world.attempt(0, without("ada")).await,
        "InvalidArgument TENANT_REQUIRED"
    );
    assert_eq!(
        world.attempt(0, without("ada@other.example")).await,
        "InvalidArgument TENANT_REQUIRED"
    );
    let unknown = rollcall_proto::v1::AuthenticateRequest {
        tenant: "tenants/nobody".into(),
        ..request("ada", PASSWORD)
    };
    assert_eq!(
        world.attempt(0, unknown).await,
        "PermissionDenied TENANT_ACCESS_DENIED"
    );
}
