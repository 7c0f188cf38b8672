//! Logins that are refused, and why nobody can tell.

use rollcall_core::external_id::{ExternalId, IdKind};
use rollcall_core::id::{UserId, Uuid};
use rollcall_core::plan::{Change, ChangeKind};
use rollcall_core::revision::Revision;
use rollcall_core::user::{Origin, Profile, StateReason, UserState};
use rollcall_testkit::Slapd;

use crate::world::{BASE, PASSWORD, PEOPLE, World, dn, now, person};
use rollcall_store::Recorded;

const DENIED: &str = "DENIED INVALID_CREDENTIALS";

fn modify(dn: &str, change: &str) -> String {
    format!("dn: {dn}\nchangetype: modify\n{change}\n")
}

fn rename(dn: &str, rdn: &str, parent: &str) -> String {
    format!("dn: {dn}\nchangetype: modrdn\nnewrdn: {rdn}\ndeleteoldrdn: 0\nnewsuperior: {parent}\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_login_gets_the_same_answer_as_a_wrong_password() {
    let world = World::new().await;
    assert_eq!(world.login("ada", "wrong").await, DENIED);
    assert_eq!(world.login("nobody", "wrong").await, DENIED);
    assert_eq!(world.login("*", "wrong").await, DENIED);
    assert_eq!(world.login("ada)(uid=*", "wrong").await, DENIED);
    assert_eq!(
        world.audit().await,
        [
            "DENIED INVALID_CREDENTIALS",
            "DENIED UNKNOWN_LOGIN",
            "DENIED UNKNOWN_LOGIN",
            "DENIED UNKNOWN_LOGIN"
        ]
    );
    // A keyed hash and the length, the same for the same login however it is written, and not the login.
    assert_eq!(world.login(" NOBODY ", "wrong").await, DENIED);
    let unknown = world.unknown_logins().await;
    let [nobody, star, injected, again] = &unknown[..] else {
        panic!("{unknown:?}");
    };
    let parts = |text: &str| {
        let (hash, length) = text.split_once(':').unwrap();
        (hash.to_owned(), length.parse::<usize>().unwrap())
    };
    assert_eq!(parts(nobody).0, parts(again).0);
    assert_ne!(parts(nobody).0, parts(star).0);
    assert_eq!(parts(nobody).0.len(), 32);
    let lengths = [nobody, star, injected, again].map(|text| parts(text).1);
    assert_eq!(lengths, [6, 1, 10, 8]);
    let binds = world.server.binds().unwrap();
    assert!(
        binds
            .iter()
            .all(|bind| [dn("ada"), world.server.service_dn()].contains(&bind.dn)),
        "{binds:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn blocked_and_deactivated_users_are_refused_with_the_right_password_and_the_directory_is_not_asked() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    world
        .store
        .block_user(
            &world.tenant,
            ada.id,
            None,
            "left",
            Recorded::by_nobody(crate::world::now()),
        )
        .await
        .unwrap();
    let removal = Change {
        kind: ChangeKind::Deactivate,
        user: bob.id,
        expected_revision: bob.revision,
        state_before: Some(bob.state),
        origin: bob.origin.clone().unwrap(),
        profile: bob.profile.clone(),
        state: UserState::Deactivated,
        state_reason: Some(StateReason::Gone),
        login_ambiguous: false,
        login_asked_by: None,
        changes: Vec::new(),
    };
    world.run(vec![removal], crate::world::now()).await;
    assert_eq!(world.login("ada", PASSWORD).await, DENIED);
    assert_eq!(world.login("bob", "password of bob").await, DENIED);
    assert_eq!(world.audit().await, ["DENIED BLOCKED", "DENIED DEACTIVATED"]);
    assert_eq!(world.binds(&dn("ada")) + world.binds(&dn("bob")), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moved_entry_is_found_and_bound_where_it_is() {
    let world = World::new().await;
    world
        .server
        .modify(&rename(&dn("ada"), "cn=ada l", PEOPLE))
        .unwrap();
    let moved = format!("cn=ada l,{PEOPLE}");
    assert_eq!(world.login("ada", PASSWORD).await, "OK ada");
    assert_eq!((world.binds(&dn("ada")), world.binds(&moved)), (1, 1));
    // From now on its place is known.
    assert_eq!(world.login("ada", PASSWORD).await, "OK ada");
    assert_eq!((world.binds(&dn("ada")), world.binds(&moved)), (1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_gets_a_dn_that_was_somebody_elses_is_not_that_user() {
    let world = World::new().await;
    world
        .server
        .modify(&rename(&dn("ada"), "cn=ada l", PEOPLE))
        .unwrap();
    world
        .server
        .modify(&modify(
            &format!("cn=ada l,{PEOPLE}"),
            "delete: uid\nuid: ada\n-\nadd: uid\nuid: ada2",
        ))
        .unwrap();
    world
        .server
        .add(&person("ada", &dn("ada"), "password of the other ada"))
        .unwrap();
    // The stranger's password is right at that DN, and does not let the stranger in as ada.
    assert_eq!(world.login("ada", "password of the other ada").await, DENIED);
    assert_eq!(world.login("ada", PASSWORD).await, "OK ada");
    assert_eq!(world.binds(&dn("ada")), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_is_gone_or_out_of_scope_denies_now_and_not_after_the_next_run() {
    let world = World::new().await;
    world.server.delete(&dn("ada")).unwrap();
    world
        .server
        .modify(&modify(&dn("bob"), "replace: employeeType\nemployeeType: guest"))
        .unwrap();
    world
        .server
        .modify(&rename(&dn("eve"), "uid=eve", &format!("ou=Elsewhere,{BASE}")))
        .unwrap();
    assert_eq!(world.login("ada", PASSWORD).await, DENIED);
    assert_eq!(world.login("bob", "password of bob").await, DENIED);
    assert_eq!(world.login("eve", "password of eve").await, DENIED);
    // Eve left the searches' bases, where alone we look.
    assert_eq!(
        world.audit().await,
        [
            "DENIED ENTRY_NOT_FOUND",
            "DENIED ENTRY_OUT_OF_SCOPE",
            "DENIED ENTRY_NOT_FOUND"
        ]
    );
    assert_eq!(world.binds(&format!("uid=eve,ou=Elsewhere,{BASE}")), 0);
}

/// The creation of somebody whom a number tells.
fn numbered_seven(world: &World, login: &str) -> Change {
    let number = IdKind::of_attribute("employeeNumber").unwrap();
    Change {
        kind: ChangeKind::Create,
        user: UserId(Uuid::from_u128(7)),
        expected_revision: Revision::NONE,
        state_before: None,
        origin: Origin {
            user_sync: world.sync.user_sync.clone(),
            directory: world.directory.clone(),
            external_id: ExternalId::from_bytes(number, b"7").unwrap(),
            dn: dn(login),
            linked: false,
        },
        profile: Profile {
            login: login.into(),
            role: "user".into(),
            ..Profile::default()
        },
        state: UserState::Active,
        state_reason: None,
        login_ambiguous: false,
        login_asked_by: None,
        changes: Vec::new(),
    }
}

/// The tenant says that a number tells who is who, and two people have it.
#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_be_told_from_somebody_else_is_let_in_as_neither() {
    let world = World::new().await;
    for uid in ["ada", "bob"] {
        let number = "add: employeeNumber\nemployeeNumber: 7";
        world.server.modify(&modify(&dn(uid), number)).unwrap();
    }
    let sam = numbered_seven(&world, "sam");
    world.run(vec![sam], now()).await;
    for password in [PASSWORD, "password of bob"] {
        assert_eq!(world.login("sam", password).await, DENIED);
    }
    assert_eq!(world.audit().await, ["DENIED EXTERNAL_ID_SHARED"; 2]);
    assert_eq!((world.binds(&dn("ada")), world.binds(&dn("bob"))), (0, 0));
}

/// An alias with the number of a person is nobody: a run passes it over, and so does a login.
#[tokio::test(flavor = "multi_thread")]
async fn an_alias_is_nobody_at_a_login_too() {
    let world = World::new().await;
    let alias = format!(
        "dn: cn=sam,{PEOPLE}\nchangetype: add\nobjectClass: alias\nobjectClass: extensibleObject\ncn: sam\n\
         aliasedObjectName: {}\nuid: sam\nemployeeType: staff\nemployeeNumber: 7\n",
        dn("ada")
    );
    world.server.modify(&alias).unwrap();
    world.run(vec![numbered_seven(&world, "sam")], now()).await;
    assert_eq!(world.login("sam", PASSWORD).await, DENIED);
    let person = person("sam", &dn("moved"), "password of sam").replace("uid: sam", "uid: moved\nuid: sam");
    world
        .server
        .modify(&person.replacen('\n', "\nchangetype: add\n", 1))
        .unwrap();
    let number = "add: employeeNumber\nemployeeNumber: 7";
    world.server.modify(&modify(&dn("moved"), number)).unwrap();
    assert_eq!(world.login("sam", "password of another").await, DENIED);
    assert_eq!(
        world.audit().await,
        ["DENIED ENTRY_NOT_FOUND", "DENIED INVALID_CREDENTIALS"],
        "the person is told from the alias"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_gone_locks_as_an_unknown_login_does() {
    let world = World::new().await;
    world.server.delete(&dn("ada")).unwrap();
    // The first one finds out by a bind.
    for login in ["ada", "nobody"] {
        for _ in 0..6 {
            assert_eq!(world.login(login, "the same").await, DENIED, "{login}");
        }
        for number in 0..2 {
            assert_eq!(
                world.login(login, &format!("guess {number}")).await,
                DENIED,
                "{login}"
            );
        }
        let told = world.login(login, "one more").await;
        assert_eq!(told, "DENIED TOO_MANY_ATTEMPTS", "{login}");
    }
    assert_eq!(world.binds(&dn("ada")), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_gone_costs_the_next_owner_of_the_dn_one_bind_at_most() {
    let world = World::with(
        Slapd::builder(),
        &[
            ("throttle.login_limit", "100"),
            ("throttle.max_login_limit", "100"),
        ],
    )
    .await;
    world.server.delete(&dn("ada")).unwrap();
    world
        .server
        .add(&person("ada", &dn("ada"), "password of the other ada"))
        .unwrap();
    for number in 0..10 {
        assert_eq!(world.login("ada", &format!("guess {number}")).await, DENIED);
    }
    assert_eq!(world.binds(&dn("ada")), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_leaves_users_alone_confirms_nobody_s_dn() {
    use rollcall_core::user_sync::{ExistingUsers, MissingUsers};
    for missing in [false, true] {
        let mut world = World::without_gateway(Slapd::builder()).await;
        world
            .update_sync(|settings| match missing {
                true => settings.missing_users = MissingUsers::Ignore,
                false => settings.existing_users = ExistingUsers::Ignore,
            })
            .await;
        world
            .server
            .modify(&rename(&dn("ada"), "cn=ada l", PEOPLE))
            .unwrap();
        world.start_gateway(&[]).await;
        assert_eq!(world.login("ada", PASSWORD).await, "OK ada");
        let moved = format!("cn=ada l,{PEOPLE}");
        assert_eq!((world.binds(&dn("ada")), world.binds(&moved)), (0, 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_user_is_the_product_s_own_unless_blocked() {
    let world = World::new().await;
    let new = rollcall_store::NewUser {
        id: UserId(rollcall_core::id::Uuid::from_u128(7)),
        profile: rollcall_core::user::Profile {
            login: "owner".into(),
            role: "owner".into(),
            ..Default::default()
        },
        owner: true,
    };
    let owner = world
        .store
        .create_local_user(&world.tenant, new, Recorded::by_nobody(crate::world::now()))
        .await
        .unwrap();
    assert_eq!(world.login("owner", "whatever").await, "DENIED LOCAL_USER");
    world
        .store
        .block_user(
            &world.tenant,
            owner.id,
            None,
            "",
            Recorded::by_nobody(crate::world::now()),
        )
        .await
        .unwrap();
    assert_eq!(world.login("owner", "whatever").await, DENIED);
    assert_eq!(world.audit().await, ["DENIED LOCAL_USER", "DENIED BLOCKED"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_two_people_claim_lets_nobody_in_and_an_address_of_one_of_them_does() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let claimed = Change {
        kind: ChangeKind::Update,
        user: ada.id,
        expected_revision: ada.revision,
        state_before: Some(ada.state),
        origin: ada.origin.clone().unwrap(),
        profile: ada.profile.clone(),
        state: ada.state,
        state_reason: None,
        login_ambiguous: true,
        login_asked_by: None,
        changes: Vec::new(),
    };
    world.run(vec![claimed], crate::world::now()).await;
    assert!(world.user("ada").await.login_ambiguous);
    for password in [PASSWORD, "wrong"] {
        assert_eq!(world.login("Ada", password).await, "DENIED INVALID_CREDENTIALS");
    }
    assert_eq!(world.binds(&dn("ada")), 0);
    assert_eq!(world.login("ada@acme.example", PASSWORD).await, "OK ada");
    assert_eq!(
        world.audit().await,
        [
            "DENIED AMBIGUOUS_LOGIN",
            "DENIED AMBIGUOUS_LOGIN",
            "AUTHENTICATED AUTHENTICATED"
        ]
    );
}
