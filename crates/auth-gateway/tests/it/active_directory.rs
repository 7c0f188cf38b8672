//! Logins against an Active Directory domain controller.

use rollcall_core::dialect::Dialect;
use rollcall_core::user_sync::{Search, SearchScope};
use rollcall_testkit::{SambaDc, SambaPerson, TestCa, is_root_for};

use crate::world::{Place, World};

const DENIED: &str = "DENIED INVALID_CREDENTIALS";
/// What Samba's domain is set to.
const LOCKOUT_THRESHOLD: u32 = 5;

/// `None` where the tests do not run as root, which Samba takes.
async fn world() -> Option<World<SambaDc>> {
    if !is_root_for("the logins against a Samba domain controller").unwrap() {
        return None;
    }
    let ca = TestCa::new().unwrap();
    let samba = SambaDc::start(&ca).unwrap();
    let place = Place {
        tls_url: samba.tls_url(),
        ca: ca.pem(),
        bind_dn: samba.service().dn,
        bind_password: samba.service().password,
        dialect: Dialect::ActiveDirectory,
        people: Search {
            base_dn: format!("OU=People,{}", samba.base_dn()),
            scope: SearchScope::Subtree,
            filter: "(&(objectCategory=person)(objectClass=user))".into(),
        },
        login: "sAMAccountName",
    };
    let mut world = World::at(samba, place, None).await;
    world.observe(Some(LOCKOUT_THRESHOLD)).await;
    world.start_gateway(&[]).await;
    Some(world)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_state_of_an_account_is_told_to_the_right_password_only() {
    let Some(world) = world().await else { return };
    for (person, told) in [
        (SambaPerson::Normal, "OK normal"),
        (SambaPerson::Disabled, "DENIED ACCOUNT_DISABLED"),
        (SambaPerson::Expired, "DENIED ACCOUNT_EXPIRED"),
        (SambaPerson::Aged, "DENIED PASSWORD_EXPIRED"),
        (SambaPerson::MustChange, "DENIED PASSWORD_MUST_CHANGE"),
        (SambaPerson::Locked, DENIED),
        (SambaPerson::OffHours, "DENIED LOGON_RESTRICTED"),
        (SambaPerson::OffSite, "DENIED LOGON_RESTRICTED"),
    ] {
        let account = world.server.person(person);
        assert_eq!(world.login(&account.login, "wrong").await, DENIED, "{person:?}");
        assert_eq!(
            world.login(&account.login, &account.password).await,
            told,
            "{person:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_guesses_through_two_gateways_do_not_lock_the_account() {
    let Some(mut world) = world().await else { return };
    world.start_gateway(&[]).await;
    let account = world.server.person(SambaPerson::Normal);
    let told = crate::guessing::all_at_once(&world, &account.login, 200).await;
    let denied = told.iter().filter(|answer| *answer == DENIED).count();
    assert_eq!(denied, LOCKOUT_THRESHOLD as usize - 1);
    let user = world.user(&account.login).await;
    world.store.unlock_user(&world.tenant, user.id).await.unwrap();
    assert_eq!(world.login(&account.login, &account.password).await, "OK normal");
}
