//! Logins: who gets in, who does not, and what is told.

use rollcall_proto::v1::AuthenticateRequest;
use rollcall_testkit::Ldif;

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
async fn spaces_around_a_password_belong_to_it() {
    let world = World::new().await;
    // " both ", with its spaces.
    let change = format!(
        "dn: {}\nchangetype: modify\nreplace: userPassword\nuserPassword:: IGJvdGgg\n",
        dn("bob")
    );
    world.server.modify(&change).unwrap();
    assert_eq!(world.login("bob", " both ").await, "OK bob");
    for other in ["both", " both", "both ", "  both "] {
        assert_eq!(
            world.login("bob", other).await,
            "DENIED INVALID_CREDENTIALS",
            "{other:?}"
        );
        assert_eq!(world.login("bob", " both ").await, "OK bob");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_is_the_same_however_its_letters_are_put_together() {
    let world = World::new().await;
    // One character in the directory; a letter and an accent as some keyboards send them.
    let (composed, decomposed) = ("jos\u{e9}", "jose\u{301}");
    let mut ldif = Ldif::new();
    ldif.entry(&dn(composed))
        .attribute("objectClass", "inetOrgPerson")
        .attribute("uid", composed)
        .attribute("cn", composed)
        .attribute("sn", composed)
        .attribute("employeeType", "staff")
        .attribute("userPassword", "password of jose");
    world.server.add(ldif.as_str()).unwrap();
    world.import().await;
    for login in [composed, decomposed, "JOSE\u{301}"] {
        let told = world.login(login, "password of jose").await;
        assert_eq!(told, format!("OK {composed}"), "{login:?}");
    }
    // A password is what was typed, and nothing else.
    assert_eq!(
        world.login("ada", "Pa\u{308}ssword of ada 1").await,
        "DENIED INVALID_CREDENTIALS"
    );
    assert_eq!(world.login("ada", PASSWORD).await, "OK ada");
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
    assert_eq!(world.early_audit().await, ["ERROR INVALID_FIELD"; 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_email_of_a_verified_domain_needs_no_tenant_and_nothing_else_does_without() {
    let world = World::new().await;
    let without = |login: &str| AuthenticateRequest {
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
    let unknown = AuthenticateRequest {
        tenant: "tenants/nobody".into(),
        ..request("ada", PASSWORD)
    };
    assert_eq!(world.attempt(0, unknown).await, "NotFound TENANT_NOT_FOUND");
    assert_eq!(
        world.early_audit().await,
        [
            "ERROR TENANT_NOT_FOUND",
            "ERROR TENANT_REQUIRED",
            "ERROR TENANT_REQUIRED"
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_attempts_that_name_nobody_is_a_few_events_that_count_it() {
    let world = World::new().await;
    let client = |address: &str, tenant: &str, password: &str| AuthenticateRequest {
        client_address: address.into(),
        tenant: tenant.into(),
        ..request("ada", password)
    };
    for _ in 0..20 {
        let attempts = (0..50).map(|number| {
            let bad = match number % 3 {
                0 => client("192.0.2.7", "tenants/acme", ""),
                1 => client("192.0.2.7", "", PASSWORD),
                _ => client("192.0.2.7", "tenants/nobody", PASSWORD),
            };
            world.attempt(0, bad)
        });
        for told in futures::future::join_all(attempts).await {
            assert!(
                told.starts_with("InvalidArgument") || told.starts_with("NotFound"),
                "{told}"
            );
        }
    }
    let clients = world.early_clients().await;
    assert_eq!(
        clients,
        vec![Some("192.0.2.7".to_owned()); 6],
        "a first one and a count for each reason"
    );
    assert_eq!(world.early_audit().await.len(), 1_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn strange_logins_name_nobody_and_break_nothing() {
    let world = World::new().await;
    let refused = "InvalidArgument INVALID_FIELD";
    for login in ["", "a\0da", "a\nda", &"a".repeat(10 * 1024)] {
        assert_eq!(world.login(login, PASSWORD).await, refused, "{login:?}");
    }
    let denied = "DENIED INVALID_CREDENTIALS";
    for login in [
        "ada*",
        "a\\64a",
        "(uid=ada)",
        "ada,ou=People",
        "uid=ada,ou=People,dc=example,dc=org",
        "🦀",
        " ",
    ] {
        assert_eq!(world.login(login, PASSWORD).await, denied, "{login:?}");
    }
    let refusals = AuthenticateRequest {
        client_address: "not an address".into(),
        request_id: "has a space".into(),
        ..request("", "")
    };
    assert_eq!(world.attempt(0, refusals).await, refused);
    assert_eq!(world.binds(&dn("ada")), 0);
}
