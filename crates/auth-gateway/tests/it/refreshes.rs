//! The sync worker is asked while a login is under way: what its answers mean, and those that do not come.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use auth_gateway::login::change::Change as Needed;
use auth_gateway::login::refresh::{Refreshes, Renewal};
use auth_gateway::worker::Worker;
use futures::FutureExt;
use rollcall_core::entry::Entry;
use rollcall_core::error::{Error, Reason};
use rollcall_core::id::{TenantId, UserSyncKey};
use rollcall_core::plan::ChangeKind;
use rollcall_core::user::{StateReason, User, UserState};
use rollcall_core::user_sync::{RoleCondition, RoleRule};
use rollcall_testkit::Slapd;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::world::{PASSWORD, ScriptedWorker, World, change, dn, now};
use rollcall_store::Recorded;

const DENIED: &str = "DENIED INVALID_CREDENTIALS";

/// A worker that reactivates whomever it is asked for.
async fn reactivating(world: &World) -> ScriptedWorker {
    let (store, tenant, key) = (world.store.clone(), world.tenant.clone(), world.sync.clone());
    ScriptedWorker::start(move |name| {
        let (store, tenant, key) = (store.clone(), tenant.clone(), key.clone());
        async move {
            let id = name.rsplit('/').next().unwrap();
            let id = rollcall_core::id::UserId::parse(id).unwrap();
            let user = store.user(&tenant, id).await.unwrap();
            let back = change(&user, ChangeKind::Reactivate, UserState::Active, None);
            store.apply_single(&key, &back, now()).await.unwrap();
            Ok(())
        }
        .boxed()
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_the_directory_disabled_and_enabled_again_logs_in_at_once() {
    let mut world = World::without_gateway(Slapd::builder()).await;
    let worker = reactivating(&world).await;
    world
        .start_gateway(&[("worker.endpoint", &worker.endpoint)])
        .await;
    world.deactivate("ada", StateReason::DisabledInDirectory).await;
    world.deactivate("bob", StateReason::ExpiredInDirectory).await;
    world.deactivate("eve", StateReason::OutOfScope).await;
    // A wrong password reactivates nobody.
    assert_eq!(world.login("ada", "wrong").await, DENIED);
    assert!(worker.asked().is_empty());
    assert_eq!(world.user("ada").await.state, UserState::Deactivated);
    assert_eq!(world.login("ada", PASSWORD).await, "OK ada");
    assert_eq!(world.user("ada").await.state, UserState::Active);
    assert_eq!(world.login("bob", "password of bob").await, "OK bob");
    // Whom something else than the directory keeps out is not asked about.
    assert_eq!(world.login("eve", "password of eve").await, DENIED);
    assert_eq!(world.binds(&dn("eve")), 0);
    assert_eq!(worker.asked().len(), 2);
    let good = "AUTHENTICATED AUTHENTICATED";
    assert_eq!(world.audit().await, [DENIED, good, good, "DENIED DEACTIVATED"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_the_worker_does_not_reactivate_is_refused_and_whom_it_cannot_is_not_denied() {
    let mut world = World::without_gateway(Slapd::builder()).await;
    let idle = ScriptedWorker::start(|_| async { Ok(()) }.boxed()).await;
    let gateway = world.start_gateway(&[("worker.endpoint", &idle.endpoint)]).await;
    let alone = world.start_gateway(&[("throttle.login_limit", "2")]).await;
    world.deactivate("ada", StateReason::DisabledInDirectory).await;
    let right = || crate::world::request("ada", PASSWORD);
    // It counts, since it is answered like a wrong password.
    assert_eq!(world.attempt(gateway, right()).await, DENIED);
    assert_eq!(world.audit().await, ["DENIED DEACTIVATED"]);
    // These do not.
    for _ in 0..3 {
        let told = world.attempt(alone, right()).await;
        assert_eq!(told, "Aborted WORKER_UNAVAILABLE");
    }
    assert_eq!(world.user("ada").await.state, UserState::Deactivated);
    // A block comes first.
    let ada = world.user("ada").await;
    let block = world
        .store
        .block_user(&world.tenant, ada.id, None, "", Recorded::by_nobody(now()));
    block.await.unwrap();
    let binds = world.binds(&dn("ada"));
    assert_eq!(world.attempt(gateway, right()).await, DENIED);
    assert_eq!(world.binds(&dn("ada")), binds);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_worker_says_no_to_is_no_outage_but_a_wrong_role_lets_nobody_in() {
    let mut world = World::without_gateway(Slapd::builder()).await;
    let rule = RoleRule {
        condition: RoleCondition::Filter("(uid=ada)".into()),
        role: "boss".into(),
    };
    world
        .update_sync(|settings| settings.role_rules = vec![rule])
        .await;
    for (reason, fields, role) in [
        (Reason::ConcurrentChange, "OK bob", "Aborted WORKER_UNAVAILABLE"),
        (Reason::DirectoryTimeout, "OK bob", "Aborted WORKER_UNAVAILABLE"),
        (Reason::StoreUnavailable, "OK bob", "Aborted WORKER_UNAVAILABLE"),
    ] {
        let worker =
            ScriptedWorker::start(move |_| async move { Err(Error::new(reason, "no")) }.boxed()).await;
        let gateway = world
            .start_gateway(&[("worker.endpoint", &worker.endpoint)])
            .await;
        let ada = crate::world::request("ada", PASSWORD);
        assert_eq!(world.attempt(gateway, ada).await, role, "{reason:?}");
        let name = format!("replace: cn\ncn: {}", reason.as_str());
        let change = format!("dn: {}\nchangetype: modify\n{name}\n", dn("bob"));
        world.server.modify(&change).unwrap();
        let bob = crate::world::request("bob", "password of bob");
        assert_eq!(world.attempt(gateway, bob).await, fields, "{reason:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_customer_s_trouble_pauses_no_other_s_refreshes_and_a_no_pauses_nobody_s() {
    let world = World::without_gateway(Slapd::builder()).await;
    let worker = ScriptedWorker::start(|name| {
        async move {
            match name.split('/').nth(1).unwrap() {
                "slow" => std::future::pending().await,
                "broken" => Err(Error::new(Reason::StoreUnavailable, "x")),
                "gone" => Err(Error::new(Reason::UserNotFound, "x")),
                "away" => Err(Error::new(Reason::DirectoryUnavailable, "x")),
                _ => Ok(()),
            }
        }
        .boxed()
    })
    .await;
    let settings = [
        ("worker.endpoint", worker.endpoint.as_str()),
        ("worker.timeout", "200ms"),
    ];
    let refreshes = Refreshes::new(Worker::new(&world.settings(&settings).own.worker, None).unwrap());
    let ada = world.user("ada").await;
    let renew = async |tenant: &str| {
        let user = User {
            tenant: TenantId::parse(tenant).unwrap(),
            ..ada.clone()
        };
        let key = UserSyncKey {
            tenant: user.tenant.clone(),
            user_sync: world.sync.user_sync.clone(),
        };
        // Another entry each time, or the worker would be known to have seen it.
        let entry = Entry {
            dn: format!("{:?}", Instant::now()),
            ..Entry::default()
        };
        let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
        let asked = worker.asked().len();
        let renewal = refreshes
            .renew(Needed::Fields, &key, &user, &entry, deadline)
            .await;
        (renewal.unwrap(), worker.asked().len() > asked)
    };
    for tenant in ["slow", "broken"] {
        assert_eq!(renew(tenant).await, (Renewal::NotNeeded, true), "{tenant}");
        assert_eq!(renew(tenant).await, (Renewal::NotNeeded, false), "{tenant}");
        assert_eq!(renew("fine").await, (Renewal::Done, true), "after {tenant}");
    }
    for _ in 0..2 {
        assert_eq!(renew("gone").await, (Renewal::Rejected, true));
        assert_eq!(renew("away").await, (Renewal::NotNeeded, true));
        assert_eq!(renew("fine").await, (Renewal::Done, true));
    }
}

/// A door that ends the first `closed` connections politely when a call comes, as a server does whose connection
/// reached its age in that moment. All others lead to the worker. The second value counts who came.
async fn closing_door(closed: usize, worker: String) -> (String, Arc<AtomicUsize>) {
    const HEADERS: u8 = 1;
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    // Of no stream, with NO_ERROR.
    const GOAWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let came = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&came);
    tokio::spawn(async move {
        loop {
            let (mut caller, _) = listener.accept().await.unwrap();
            if counted.fetch_add(1, Relaxed) < closed {
                let mut preface = [0; 24];
                caller.read_exact(&mut preface).await.unwrap();
                caller.write_all(&SETTINGS).await.unwrap();
                loop {
                    let mut head = [0; 9];
                    caller.read_exact(&mut head).await.unwrap();
                    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
                    let mut frame = vec![0; length as usize];
                    caller.read_exact(&mut frame).await.unwrap();
                    if head[3] == HEADERS {
                        break;
                    }
                }
                caller.write_all(&GOAWAY).await.unwrap();
                // It waits for the caller's end, since a reset would overtake the GOAWAY.
                let _ = caller.read_to_end(&mut Vec::new()).await;
            } else {
                let address = worker.trim_start_matches("http://");
                let mut inside = TcpStream::connect(address).await.unwrap();
                tokio::spawn(async move { tokio::io::copy_bidirectional(&mut caller, &mut inside).await });
            }
        }
    });
    (endpoint, came)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_that_crosses_the_end_of_its_connection_is_asked_again() {
    let world = World::without_gateway(Slapd::builder()).await;
    let behind = ScriptedWorker::start(|_| async { Ok(()) }.boxed()).await;
    let ada = world.user("ada").await;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    for (closed, works) in [(1, true), (2, false)] {
        let (endpoint, came) = closing_door(closed, behind.endpoint.clone()).await;
        let settings = world.settings(&[("worker.endpoint", endpoint.as_str())]);
        let worker = Worker::new(&settings.own.worker, None).unwrap();
        match worker.refresh(&world.tenant, ada.id, deadline).await {
            Ok(()) => assert!(works),
            Err(error) => assert!(!works && error.is_outage(), "{error:?}"),
        }
        assert_eq!(came.load(Relaxed), 2);
    }
    assert_eq!(behind.asked().len(), 1);
}
