//! What changes between two runs, or while a login is under way.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rollcall_core::directory::HostUrl;
use rollcall_core::field::TextField;
use rollcall_core::plan::{Change, ChangeKind};
use rollcall_core::user::{StateReason, User, UserState};
use rollcall_core::user_sync::{RoleCondition, RoleRule, UserSyncSettings};
use rollcall_proto::v1;
use rollcall_proto::v1::AuthenticateResponse;
use rollcall_proto::v1::auth_service_client::AuthServiceClient;
use rollcall_proto::v1::authenticate_response::Outcome;
use rollcall_store::{DirectoryUpdate, NewAuditEvent, NewSecrets, Recorded};
use rollcall_testkit::{Ldif, Operation, Request, Slapd, TestDatabase, ber, wait_for};

use tonic::{Response, Status};

use crate::outages::frozen_writer;
use crate::world::{BASE, PASSWORD, World, dn, now, request, told};

const DENIED: &str = "DENIED INVALID_CREDENTIALS";

/// Freezes the directory, begins a login, does something once the bind is about to be sent, and goes on.
pub(crate) async fn meanwhile(world: &World, act: impl AsyncFn()) -> String {
    told(meanwhile_answered(world, act).await)
}

/// The user that such a login answers with.
async fn meanwhile_shown(world: &World, act: impl AsyncFn()) -> v1::User {
    let answer = meanwhile_answered(world, act).await.unwrap().into_inner();
    match answer.outcome {
        Some(Outcome::Authenticated(authenticated)) => authenticated.user.unwrap(),
        other => panic!("{other:?}"),
    }
}

async fn meanwhile_answered(
    world: &World,
    act: impl AsyncFn(),
) -> Result<Response<AuthenticateResponse>, Status> {
    let ada = world.user("ada").await;
    world.server.pause().unwrap();
    let mut auth = AuthServiceClient::new(world.channel(0));
    let login = auth.authenticate(request("ada", PASSWORD));
    let acting = async {
        // A slot is taken just before the bind. Looking forgets it, which matters to nobody here.
        wait_for("the login is under way", Duration::from_secs(10), async || {
            world
                .store
                .unlock_user(&world.tenant, ada.id, &NewAuditEvent::by_nobody(now()))
                .await
                .unwrap()
                .is_some()
        })
        .await
        .unwrap();
        act().await;
        world.server.resume().unwrap();
    };
    tokio::join!(login, acting).0
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_committed_while_the_bind_is_under_way_decides_on_sqlite() {
    what_is_committed_meanwhile_decides(World::without_gateway(Slapd::builder()).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_committed_while_the_bind_is_under_way_decides_on_postgresql() {
    what_is_committed_meanwhile_decides(World::on_postgres(TestDatabase::new().unwrap()).await).await;
}

async fn what_is_committed_meanwhile_decides(mut world: World) {
    world.start_gateway(&[]).await;
    assert_eq!(meanwhile(&world, async || {}).await, "OK ada");

    let sync = async || {
        world
            .update_sync(|settings| settings.display_name.push('!'))
            .await
    };
    assert_eq!(meanwhile(&world, sync).await, "OK ada");
    let directory = async || {
        let was = world
            .store
            .directory(&world.tenant, &world.directory)
            .await
            .unwrap();
        let mut settings = was.settings;
        settings.display_name.push('!');
        let (tenant, id, secrets) = (&world.tenant, &world.directory, NewSecrets::default());
        let update = world.store.update_directory(
            tenant,
            id,
            DirectoryUpdate {
                expected_revision: was.revision,
                settings: &settings,
                secrets,
                endpoint_confirmed: true,
            },
            Recorded::by_nobody(now()),
        );
        update.await.unwrap();
    };
    assert_eq!(meanwhile(&world, directory).await, "OK ada");
    let tenant = async || {
        let was = world.store.tenant(&world.tenant).await.unwrap();
        let mut settings = was.settings;
        settings.user_sync_enabled = false;
        let update =
            world
                .store
                .update_tenant(&world.tenant, was.revision, &settings, Recorded::by_nobody(now()));
        let is = update.await.unwrap();
        settings.user_sync_enabled = true;
        let update =
            world
                .store
                .update_tenant(&world.tenant, is.revision, &settings, Recorded::by_nobody(now()));
        update.await.unwrap();
    };
    assert_eq!(meanwhile(&world, tenant).await, "OK ada");
    let out_of_scope = async || {
        let nobody = |settings: &mut UserSyncSettings| settings.searches[0].filter = "(uid=nobody)".into();
        world.update_sync(nobody).await;
    };
    assert_eq!(meanwhile(&world, out_of_scope).await, DENIED);
    let in_scope = |settings: &mut UserSyncSettings| settings.searches[0].filter = "(uid=*)".into();
    world.update_sync(in_scope).await;
    let switch = |off| {
        let world = &world;
        move || world.update_sync(move |settings| settings.disabled = off)
    };
    let switched_off = meanwhile(&world, async || switch(true)().await).await;
    assert_eq!(switched_off, "FailedPrecondition SYNC_DISABLED");
    switch(false)().await;

    // What decides nothing is no denial, and the answer has it.
    let ada = world.user("ada").await;
    let renamed = async || {
        let mut change = change_of(&ada, ChangeKind::Update);
        change
            .profile
            .set_text(TextField::DisplayName, Some("Ada L.".into()));
        world.run(vec![change], now()).await;
    };
    assert_eq!(meanwhile_shown(&world, renamed).await.display_name, "Ada L.");
    let ada = world.user("ada").await;
    let unnamed = async || {
        let mut change = change_of(&ada, ChangeKind::Update);
        change
            .profile
            .set_text(TextField::DisplayName, Some("ada".into()));
        world.run(vec![change], now()).await;
    };
    assert_eq!(meanwhile_shown(&world, unnamed).await.display_name, "ada");
    // A role that the entry does not have is the worker's business, and there is none.
    let ada = world.user("ada").await;
    let promote = async || {
        let mut change = change_of(&ada, ChangeKind::Update);
        change.profile.role = "boss".into();
        world.run(vec![change], now()).await;
    };
    assert_eq!(meanwhile(&world, promote).await, "Aborted WORKER_UNAVAILABLE");
    let ada = world.user("ada").await;
    let demote = async || {
        let mut change = change_of(&ada, ChangeKind::Update);
        change.profile.role = "user".into();
        world.run(vec![change], now()).await;
    };
    demote().await;
    let moved = async || {
        let was = world
            .store
            .directory(&world.tenant, &world.directory)
            .await
            .unwrap();
        let mut settings = was.settings;
        settings
            .hosts
            .push(HostUrl::parse("ldaps://127.0.0.1:1").unwrap());
        let (tenant, id, secrets) = (&world.tenant, &world.directory, NewSecrets::default());
        let update = world.store.update_directory(
            tenant,
            id,
            DirectoryUpdate {
                expected_revision: was.revision,
                settings: &settings,
                secrets,
                endpoint_confirmed: true,
            },
            Recorded::by_nobody(now()),
        );
        update.await.unwrap();
    };
    assert_eq!(meanwhile(&world, moved).await, "Aborted CONCURRENT_CHANGE");

    let ada = world.user("ada").await;
    let block = async || {
        let (reason, at) = ("", now());
        let block = world
            .store
            .block_user(&world.tenant, ada.id, None, reason, Recorded::by_nobody(at));
        block.await.unwrap();
    };
    assert_eq!(meanwhile(&world, block).await, DENIED);
    world
        .store
        .unblock_user(&world.tenant, ada.id, None, Recorded::by_nobody(now()))
        .await
        .unwrap();
    assert_eq!(meanwhile(&world, async || {}).await, "OK ada");

    let ada = world.user("ada").await;
    let deactivate = async || {
        let mut gone = change_of(&ada, ChangeKind::Deactivate);
        gone.state = UserState::Deactivated;
        gone.state_reason = Some(StateReason::Gone);
        world.run(vec![gone], now()).await;
    };
    assert_eq!(meanwhile(&world, deactivate).await, DENIED);
    let (good, bad) = ("AUTHENTICATED AUTHENTICATED", "DENIED CHANGED_MEANWHILE");
    assert_eq!(
        world.audit().await,
        [
            good,
            good,
            good,
            good,
            "DENIED ENTRY_OUT_OF_SCOPE",
            "ERROR SYNC_DISABLED",
            good,
            good,
            "ERROR WORKER_UNAVAILABLE",
            "ERROR CONCURRENT_CHANGE",
            bad,
            good,
            bad
        ]
    );
}

/// A change of a user that changes nothing yet.
fn change_of(user: &User, kind: ChangeKind) -> Change {
    Change {
        kind,
        user: user.id,
        expected_revision: user.revision,
        state_before: Some(user.state),
        origin: user.origin.clone().unwrap(),
        profile: user.profile.clone(),
        state: user.state,
        state_reason: user.state_reason,
        login_ambiguous: user.login_ambiguous,
        login_asked_by: None,
        changes: Vec::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_field_does_not_keep_anybody_out_while_the_worker_is_away() {
    let settings = [("worker.endpoint", "http://127.0.0.1:1")];
    let world = World::with(Slapd::builder(), &settings).await;
    let change = format!("dn: {}\nchangetype: modify\nreplace: cn\ncn: Ada L\n", dn("ada"));
    world.server.modify(&change).unwrap();
    assert_eq!(world.login("ada", PASSWORD).await, "OK ada");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_role_fails_closed_while_the_worker_is_away() {
    let settings = [("worker.endpoint", "http://127.0.0.1:1")];
    let world = World::with(Slapd::builder(), &settings).await;
    let rule = |filter: &str| RoleRule {
        condition: RoleCondition::Filter(filter.into()),
        role: "boss".into(),
    };
    world
        .update_sync(|settings| settings.role_rules = vec![rule("(title=boss)")])
        .await;
    assert_eq!(world.login("ada", PASSWORD).await, "OK ada");
    let change = format!("dn: {}\nchangetype: modify\nadd: title\ntitle: boss\n", dn("ada"));
    world.server.modify(&change).unwrap();
    assert_eq!(world.login("ada", PASSWORD).await, "Aborted WORKER_UNAVAILABLE");
    // The password was right: nobody is locked out by trying again.
    for _ in 0..5 {
        assert_eq!(world.login("ada", PASSWORD).await, "Aborted WORKER_UNAVAILABLE");
    }
    assert_eq!(world.audit().await.last().unwrap(), "ERROR WORKER_UNAVAILABLE");
    assert_eq!(world.login("bob", "password of bob").await, "OK bob");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_gives_its_role_through_other_groups_too() {
    let settings = [("worker.endpoint", "http://127.0.0.1:1")];
    let world = World::with(Slapd::builder(), &settings).await;
    let group = |name: &str, member: &str| {
        let mut ldif = Ldif::new();
        ldif.entry(&format!("cn={name},{BASE}"))
            .attribute("objectClass", "groupOfNames")
            .attribute("cn", name)
            .attribute("member", member);
        world.server.add(ldif.as_str()).unwrap();
    };
    group("inner", &dn("ada"));
    group("outer", &format!("cn=inner,{BASE}"));
    // Groups may go round in circles.
    let circle = format!("dn: cn=inner,{BASE}\nchangetype: modify\nadd: member\nmember: cn=outer,{BASE}\n");
    world.server.modify(&circle).unwrap();
    world
        .update_sync(|settings| {
            settings.role_rules = ["nobody", "outer"]
                .map(|name| RoleRule {
                    condition: RoleCondition::GroupDn(format!("CN={name}, {BASE}")),
                    role: name.into(),
                })
                .into();
        })
        .await;
    assert_eq!(world.login("ada", PASSWORD).await, "Aborted WORKER_UNAVAILABLE");
    assert_eq!(world.login("bob", "password of bob").await, "OK bob");
}

/// What a run does, too: an error is no reason to take a role away, nor to lock its owner out.
#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_cannot_be_told_stays_as_it_is() {
    let mut world = World::without_gateway(Slapd::builder()).await;
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    // Filters of role rules ask for no attribute.
    let answer = move |request: &Request| match &request.operation {
        Operation::Search { base, attributes, .. } if *base == dn("ada") && attributes == &["1.1"] => {
            counted.fetch_add(1, Ordering::SeqCst);
            Some(ber::search_done(request.id, 50, ""))
        }
        _ => None,
    };
    world.follow_script(answer).await;
    let rule = RoleRule {
        condition: RoleCondition::Filter("(title=boss)".into()),
        role: "user".into(),
    };
    world
        .update_sync(|settings| {
            settings.role_rules = vec![rule];
            // What she would get if the rule were taken for one that does not hold.
            settings.role = "guest".into();
        })
        .await;
    world
        .start_gateway(&[("worker.endpoint", "http://127.0.0.1:1")])
        .await;
    assert_eq!(world.login("ada", PASSWORD).await, "OK ada");
    assert!(asked.load(Ordering::SeqCst) > 0);
}

/// Nobody can tell whether this group is gone, so nobody loses a role by it; nor does anybody have to ask the worker.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_cannot_be_read_takes_no_role_away_and_keeps_nobody_out() {
    let settings = [("worker.endpoint", "http://127.0.0.1:1")];
    let world = World::with(Slapd::builder(), &settings).await;
    let by_group = |dn: &str, role: &str| RoleRule {
        condition: RoleCondition::GroupDn(dn.into()),
        role: role.into(),
    };
    world
        .update_sync(|settings| {
            settings.role_rules = vec![by_group("cn=staff,dc=elsewhere", "user")];
            settings.role = "guest".into();
        })
        .await;
    assert_eq!(world.login("ada", PASSWORD).await, "OK ada");
    // One that is gone, while what surrounds it can be read, has no members.
    world
        .update_sync(|settings| {
            settings.role_rules = vec![by_group(&format!("cn=gone,{BASE}"), "boss")];
            settings.role = "user".into();
        })
        .await;
    assert_eq!(world.login("ada", PASSWORD).await, "OK ada");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_lost_after_the_bind_lets_nobody_in() {
    let settings = [("login.timeout", "2s")];
    let world = World::with(Slapd::builder(), &settings).await;
    assert_eq!(world.login("ada", PASSWORD).await, "OK ada");
    let (before, file) = (
        world.binds(&dn("ada")),
        world.url.strip_prefix("sqlite:").unwrap(),
    );
    let writer = Mutex::new(None);
    let freeze = async || *writer.lock().unwrap() = Some(frozen_writer(file));
    let told = meanwhile(&world, freeze).await;
    let mut writer = writer.into_inner().unwrap().unwrap();
    writer.kill().unwrap();
    writer.wait().unwrap();
    assert!(
        ["Aborted LOGIN_NOT_RECORDED", "Aborted BIND_OUTCOME_UNKNOWN"].contains(&told.as_str()),
        "{told}"
    );
    assert_eq!(world.binds(&dn("ada")), before + 1);
    wait_for("the store is used again", Duration::from_secs(30), async || {
        world.login("ada", PASSWORD).await == "OK ada"
    })
    .await
    .unwrap();
}
