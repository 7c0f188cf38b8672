//! The states that an account can be in, on the servers that have them: what is told, and to whom.

use rollcall_core::dialect::Dialect;
use rollcall_core::user_sync::{Search, SearchScope};
use rollcall_proto::v1::PasswordNotice;
use rollcall_proto::v1::auth_service_client::AuthServiceClient;
use rollcall_proto::v1::authenticate_response::Outcome;
use rollcall_testkit::{Dirsrv, DirsrvPerson, Slapd, TestCa, is_root_for};

use crate::world::{BASE, Place, World, dn, people, person, request};

const DENIED: &str = "DENIED INVALID_CREDENTIALS";

/// What comes with a right password, beside the user.
async fn notice<S>(world: &World<S>, login: &str, password: &str) -> Option<PasswordNotice> {
    let mut auth = AuthServiceClient::new(world.channel(0));
    let answer = auth.authenticate(request(login, password)).await.unwrap();
    match answer.into_inner().outcome {
        Some(Outcome::Authenticated(authenticated)) => authenticated.password_notice,
        other => panic!("{login} was not let in: {}", other.is_some()),
    }
}

/// Each account with the right password and a wrong one: the answer, and what the audit log keeps.
async fn expect<S>(world: &World<S>, login: &str, password: &str, right: (&str, &str), wrong: &str) {
    assert_eq!(world.login(login, password).await, right.0, "{login}");
    assert_eq!(world.audit().await.last().unwrap(), right.1, "{login}");
    assert_eq!(world.login(login, "wrong").await, DENIED, "{login}");
    assert_eq!(world.audit().await.last().unwrap(), wrong, "{login}");
}

pub(crate) fn policy(name: &str, rules: &str) -> String {
    format!(
        "dn: cn={name},ou=Policies,{BASE}\nobjectClass: device\nobjectClass: pwdPolicy\ncn: {name}\n\
         pwdAttribute: userPassword\npwdLockout: TRUE\npwdMaxFailure: 50\n{rules}\n\n"
    )
}

/// Somebody under a policy, whose entry says more.
pub(crate) fn under(uid: &str, policy: &str, more: &str) -> String {
    let password = format!("password of {uid}");
    let person = person(uid, &dn(uid), &password);
    format!(
        "{}\npwdPolicySubentry: cn={policy},ou=Policies,{BASE}\n{more}\n\n",
        person.trim_end()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn openldap_s_password_policy() {
    let long_ago = "pwdChangedTime: 20200101000000Z";
    let ldif = [
        people(),
        format!("\n\ndn: ou=Policies,{BASE}\nobjectClass: organizationalUnit\nou: Policies\n\n"),
        policy("default", ""),
        policy("aging", "pwdMaxAge: 3600\npwdGraceAuthNLimit: 0"),
        policy("lenient", "pwdMaxAge: 3600\npwdGraceAuthNLimit: 3"),
        policy("warning", "pwdMaxAge: 1000000000\npwdExpireWarning: 999999999"),
        policy("changing", "pwdMustChange: TRUE"),
        under("aged", "aging", long_ago),
        under("grace", "lenient", long_ago),
        under("warned", "warning", long_ago),
        under("mustchange", "changing", "pwdReset: TRUE"),
        under("locked", "default", "pwdAccountLockedTime: 000001010000Z"),
        under("ended", "default", "pwdEndTime: 20200101000000Z"),
        under("early", "default", "pwdStartTime: 20990101000000Z"),
    ];
    let builder = Slapd::builder().ppolicy().ldif(&ldif.concat());
    let mut world = World::in_slapd(None, builder).await;
    world.start_gateway(&[]).await;
    let wrong = "DENIED INVALID_CREDENTIALS";
    for (login, right, wrong) in [
        (
            "aged",
            ("DENIED PASSWORD_EXPIRED", "DENIED PASSWORD_EXPIRED"),
            wrong,
        ),
        (
            "mustchange",
            ("DENIED PASSWORD_MUST_CHANGE", "DENIED PASSWORD_MUST_CHANGE"),
            wrong,
        ),
        (
            "locked",
            (DENIED, "DENIED ACCOUNT_LOCKED"),
            "DENIED ACCOUNT_LOCKED",
        ),
        (
            "ended",
            (DENIED, "DENIED ACCOUNT_LOCKED"),
            "DENIED ACCOUNT_LOCKED",
        ),
        (
            "early",
            (DENIED, "DENIED ACCOUNT_LOCKED"),
            "DENIED ACCOUNT_LOCKED",
        ),
        ("ada", (DENIED, wrong), wrong),
    ] {
        expect(&world, login, &format!("password of {login}"), right, wrong).await;
    }
    let grace = notice(&world, "grace", "password of grace").await.unwrap();
    assert_eq!((grace.grace_logins_left, grace.expire_time), (Some(2), None));
    let grace = notice(&world, "grace", "password of grace").await.unwrap();
    assert_eq!(grace.grace_logins_left, Some(1));
    let warned = notice(&world, "warned", "password of warned").await.unwrap();
    assert_eq!(warned.grace_logins_left, None);
    assert!(warned.expire_time.is_some());
    assert_eq!(notice(&world, "bob", "password of bob").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn those_of_389_directory_server() {
    use DirsrvPerson as P;
    if !is_root_for("the logins against 389 Directory Server").unwrap() {
        return;
    }
    let ca = TestCa::new().unwrap();
    let server = Dirsrv::start(&ca).unwrap();
    let place = Place {
        url: server.tls_url(),
        ca: ca.pem(),
        bind_dn: server.service().dn,
        bind_password: server.service().password,
        dialect: Dialect::Dirsrv389,
        people: Search {
            base_dn: format!("ou=People,{}", server.base_dn()),
            scope: SearchScope::Subtree,
            filter: "(objectClass=inetOrgPerson)".into(),
        },
        login: "uid",
    };
    let mut world = World::at(server, place, None).await;
    world.start_gateway(&[]).await;
    let wrong = "DENIED INVALID_CREDENTIALS";
    for (person, right, wrong) in [
        (P::Normal, ("OK normal", "AUTHENTICATED AUTHENTICATED"), wrong),
        // Told whatever the password is, so it proves none.
        (
            P::Disabled,
            (DENIED, "DENIED ACCOUNT_DISABLED"),
            "DENIED ACCOUNT_DISABLED",
        ),
        (
            P::Locked,
            (DENIED, "DENIED ACCOUNT_LOCKED"),
            "DENIED ACCOUNT_LOCKED",
        ),
        (
            P::Aged,
            ("DENIED PASSWORD_EXPIRED", "DENIED PASSWORD_EXPIRED"),
            wrong,
        ),
        (P::Aging, ("OK aging", "AUTHENTICATED AUTHENTICATED"), wrong),
        (
            P::MustChange,
            ("DENIED PASSWORD_MUST_CHANGE", "DENIED PASSWORD_MUST_CHANGE"),
            wrong,
        ),
    ] {
        let account = world.server.person(person);
        expect(&world, &account.login, &account.password, right, wrong).await;
    }
    let aging = world.server.person(P::Aging);
    let aging = notice(&world, &aging.login, &aging.password).await.unwrap();
    assert!(aging.expire_time.is_some());
    // An expired password that still opens: told twice, then expired for good. A wrong one uses none up.
    world
        .server
        .modify("dn: cn=config\nchangetype: modify\nreplace: passwordGraceLimit\npasswordGraceLimit: 2\n")
        .unwrap();
    let aged = world.server.person(P::Aged);
    for left in [1, 0] {
        let notice = notice(&world, &aged.login, &aged.password).await.unwrap();
        assert_eq!(notice.grace_logins_left, Some(left));
        assert_eq!(world.login(&aged.login, &format!("wrong {left}")).await, DENIED);
    }
    let last = world.login(&aged.login, &aged.password).await;
    assert_eq!(last, "DENIED PASSWORD_EXPIRED");
}
