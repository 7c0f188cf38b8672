//! Logins against an Active Directory domain controller.

use rollcall_core::dialect::Dialect;
use rollcall_core::directory::DirectoryObservations;
use rollcall_core::user_sync::{Search, SearchScope};
use rollcall_testkit::{SambaDc, SambaPerson, TestCa, is_root_for};

use crate::world::{Place, World};
use rollcall_store::NewAuditEvent;

const DENIED: &str = "DENIED INVALID_CREDENTIALS";
/// What Samba's domain is set to.
const LOCKOUT_THRESHOLD: u32 = 5;

/// `None` where the tests do not run as root, which Samba takes.
async fn world() -> Option<World<SambaDc>> {
    let mut world = world_without_gateway().await?;
    world.observe(Some(LOCKOUT_THRESHOLD)).await;
    world.start_gateway(&[]).await;
    Some(world)
}

async fn world_without_gateway() -> Option<World<SambaDc>> {
    if !is_root_for("the logins against a Samba domain controller").unwrap() {
        return None;
    }
    let ca = TestCa::new().unwrap();
    let samba = SambaDc::start(&ca).unwrap();
    let place = Place {
        url: samba.tls_url(),
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
    Some(World::at(samba, place, None).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_state_of_an_account_is_told_to_the_right_password_only() {
    let Some(world) = world().await else { return };
    let wrong = "INVALID_CREDENTIALS";
    for (person, told, right, wrong) in [
        (SambaPerson::Normal, "OK normal", "AUTHENTICATED", wrong),
        (
            SambaPerson::Disabled,
            "DENIED ACCOUNT_DISABLED",
            "ACCOUNT_DISABLED",
            wrong,
        ),
        (
            SambaPerson::Expired,
            "DENIED ACCOUNT_EXPIRED",
            "ACCOUNT_EXPIRED",
            wrong,
        ),
        (
            SambaPerson::Aged,
            "DENIED PASSWORD_EXPIRED",
            "PASSWORD_EXPIRED",
            wrong,
        ),
        (
            SambaPerson::MustChange,
            "DENIED PASSWORD_MUST_CHANGE",
            "PASSWORD_MUST_CHANGE",
            wrong,
        ),
        // A lock is told to every password alike, so it proves none.
        (SambaPerson::Locked, DENIED, "ACCOUNT_LOCKED", "ACCOUNT_LOCKED"),
        (
            SambaPerson::OffHours,
            "DENIED LOGON_RESTRICTED",
            "LOGON_HOURS",
            wrong,
        ),
        (
            SambaPerson::OffSite,
            "DENIED LOGON_RESTRICTED",
            "LOGON_WORKSTATION",
            wrong,
        ),
    ] {
        let account = world.server.person(person);
        for (password, told, reason) in [("wrong", DENIED, wrong), (account.password.as_str(), told, right)] {
            assert_eq!(world.login(&account.login, password).await, told, "{person:?}");
            let audited = world.audit().await.pop().unwrap();
            assert_eq!(audited.split_once(' ').unwrap().1, reason, "{person:?}");
        }
    }
}

/// A run asks the server what it is, checked or not; so does a login.
#[tokio::test(flavor = "multi_thread")]
async fn a_domain_that_nobody_has_checked_is_read_as_one() {
    let Some(mut world) = world_without_gateway().await else {
        return;
    };
    let unchecked = DirectoryObservations::default();
    let kept = world
        .store
        .save_observations(&world.tenant, &world.directory, &unchecked);
    kept.await.unwrap();
    world.start_gateway(&[]).await;
    for (person, told) in [
        (SambaPerson::Normal, "OK normal"),
        (SambaPerson::Disabled, "DENIED ACCOUNT_DISABLED"),
        (SambaPerson::MustChange, "DENIED PASSWORD_MUST_CHANGE"),
    ] {
        let account = world.server.person(person);
        let answer = world.login(&account.login, &account.password).await;
        assert_eq!(answer, told, "{person:?}");
    }
}

/// The names in the binds since there were `before` of them, without the service account's.
fn user_binds(world: &World<SambaDc>, before: usize) -> Vec<String> {
    let mut binds = world.server.binds().unwrap().split_off(before);
    binds.retain(|name| *name != world.server.service().dn);
    binds
}

#[tokio::test(flavor = "multi_thread")]
async fn people_are_bound_by_guid_and_a_moved_one_by_one_bind() {
    let Some(world) = world().await else { return };
    let account = world.server.person(SambaPerson::Normal);
    let before = world.server.binds().unwrap().len();
    assert_eq!(world.login(&account.login, &account.password).await, "OK normal");
    let [probe, guid] = user_binds(&world, before).try_into().unwrap();
    assert!(
        probe.starts_with("<GUID=") && guid.starts_with("<GUID="),
        "{probe} {guid}"
    );
    assert_ne!(probe, guid, "the service account is tried first");

    let moved = format!(
        "dn: {}\nchangetype: modrdn\nnewrdn: CN=Moved\ndeleteoldrdn: 1\nnewsuperior: OU=People,{}\n",
        account.dn,
        world.server.base_dn()
    );
    world.server.modify(&moved).unwrap();
    let before = world.server.binds().unwrap().len();
    assert_eq!(world.login(&account.login, "wrong").await, DENIED);
    assert_eq!(user_binds(&world, before), std::slice::from_ref(&guid));
    let before = world.server.binds().unwrap().len();
    assert_eq!(world.login(&account.login, &account.password).await, "OK normal");
    assert_eq!(user_binds(&world, before), std::slice::from_ref(&guid));

    // Out of the sync's searches: the right password is not enough.
    let out = format!(
        "dn: CN=Moved,OU=People,{base}\nchangetype: modrdn\nnewrdn: CN=Moved\ndeleteoldrdn: 1\n\
         newsuperior: OU=Crowd,{base}\n",
        base = world.server.base_dn()
    );
    world.server.modify(&out).unwrap();
    let before = world.server.binds().unwrap().len();
    assert_eq!(world.login(&account.login, &account.password).await, DENIED);
    assert_eq!(user_binds(&world, before), [guid]);
    assert_eq!(world.audit().await.last().unwrap(), "DENIED ENTRY_OUT_OF_SCOPE");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_guesses_through_two_gateways_do_not_lock_the_account() {
    let Some(mut world) = world().await else { return };
    world.start_gateway(&[]).await;
    let account = world.server.person(SambaPerson::Normal);
    // What each gateway finds out with its first login by itself.
    for gateway in 0..2 {
        let right = crate::world::request(&account.login, &account.password);
        assert_eq!(world.attempt(gateway, right).await, "OK normal");
    }
    let before = world.server.binds().unwrap().len();
    let told = crate::guessing::all_at_once(&world, &account.login, 200).await;
    let denied = told.iter().filter(|answer| *answer == DENIED).count();
    // One less than the account stands is left for addresses that are known to be the user's.
    assert_eq!(denied, LOCKOUT_THRESHOLD as usize - 2);
    assert_eq!(user_binds(&world, before).len(), denied);
    let user = world.user(&account.login).await;
    world
        .store
        .unlock_user(
            &world.tenant,
            user.id,
            &NewAuditEvent::by_nobody(crate::world::now()),
        )
        .await
        .unwrap();
    assert_eq!(world.login(&account.login, &account.password).await, "OK normal");
}
