//! A panic inside a login, in the real binary: its question what time it is is answered with a time before 1970, at
//! which asking panics.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rollcall_core::directory::{HostUrl, TransportSecurity};
use rollcall_core::external_id::ExternalId;
use rollcall_core::id::Uuid;
use rollcall_proto::v1::auth_service_client::AuthServiceClient;
use rollcall_testkit::{Operation, Peer, ScriptedLdap, Slapd, ber, wait_for};
use tokio::sync::Semaphore;

use crate::binary::{Gateway, gateway_in};
use crate::world::{World, dn, request, told};

const CANARY: &str = "canary-of-a-login-that-panics-51c2";
const PASSWORD_OF_BOB: &str = "password of bob";

/// A clock that is wrong once when tests want it, for a process that it is preloaded into.
struct Clock {
    library: PathBuf,
    is_wrong: PathBuf,
}

impl Clock {
    fn compile(directory: &Path) -> Self {
        let library = directory.join("clock.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/clock_before_1970.c");
        // Rust links with it, so it is there.
        let mut cc = Command::new("cc");
        let compiled = cc.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source);
        assert!(compiled.status().unwrap().success());
        Self {
            library,
            is_wrong: directory.join("before-1970"),
        }
    }

    fn environment(&self) -> [(&'static str, &Path); 2] {
        [
            ("LD_PRELOAD", &self.library),
            ("CLOCK_BEFORE_1970", &self.is_wrong),
        ]
    }

    /// The next who asks is told a time before 1970.
    fn be_wrong_once(&self) {
        std::fs::write(&self.is_wrong, "").unwrap();
    }

    fn was_wrong(&self) -> bool {
        !self.is_wrong.exists()
    }
}

/// A directory that knows the people of the world and lets everybody in. It makes the clock wrong as it accepts
/// Ada's bind, and answers Bob's once it is told to.
async fn directory(world: &mut World, clock: &Arc<Clock>, bob: &Arc<Semaphore>) -> ScriptedLdap {
    let mut ids = Vec::new();
    for login in ["ada", "bob", "eve"] {
        let origin = world.user(login).await.origin.unwrap();
        let id = |id: &ExternalId| Uuid::from_slice(id.bytes()).unwrap().to_string();
        ids.push((origin.dn, id(&origin.external_id)));
    }
    let (ids, bob) = (Arc::new(ids), bob.clone());
    let clock = clock.clone();
    let serve = move |mut peer: Peer| {
        let (ids, bob, clock) = (ids.clone(), bob.clone(), clock.clone());
        async move {
            while let Some(request) = peer.receive().await? {
                match request.operation {
                    Operation::Bind { dn: name, .. } => {
                        if name == dn("ada") {
                            clock.be_wrong_once();
                        } else if name == dn("bob") {
                            bob.acquire().await.unwrap().forget();
                        }
                        peer.send(&ber::bind_response(request.id, 0, "", "")).await?;
                    }
                    Operation::Search { base, .. } => {
                        if let Some((dn, id)) = ids.iter().find(|(dn, _)| *dn == base) {
                            let values: &[&[u8]] = &[id.as_bytes()];
                            peer.send(&ber::search_entry(request.id, dn, &[("entryUUID", values)]))
                                .await?;
                        }
                        peer.send(&ber::search_done(request.id, 0, "")).await?;
                    }
                    _ => return Ok(()),
                }
            }
            Ok(())
        }
    };
    let server = ScriptedLdap::plain(serve).await.unwrap();
    let host = HostUrl::parse(&format!("ldap://{}", server.address())).unwrap();
    world
        .update_directory(|settings| {
            settings.hosts = vec![host];
            settings.transport_security = TransportSecurity::Plaintext;
            settings.allow_plaintext = true;
        })
        .await;
    server
}

fn binds_of(directory: &ScriptedLdap, uid: &str) -> usize {
    let received = directory.received();
    let binds = received.iter().filter(|request| match &request.operation {
        Operation::Bind { dn: name, .. } => *name == dn(uid),
        _ => false,
    });
    binds.count()
}

async fn login(gateway: &Gateway, login: &str, password: &str) -> String {
    let mut auth = AuthServiceClient::new(gateway.channel.clone());
    told(auth.authenticate(request(login, password)).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_inside_a_login_ends_that_call_alone_and_shows_no_password() {
    let mut world = World::without_gateway(Slapd::builder()).await;
    let files = tempfile::tempdir().unwrap();
    let clock = Arc::new(Clock::compile(files.path()));
    let bob_may_in = Arc::new(Semaphore::new(0));
    let directory = directory(&mut world, &clock, &bob_may_in).await;
    let settings = [
        // More would ask for the time of each line, and be told the wrong one.
        "telemetry.filter=info",
        "throttle.login_limit=1",
        &format!("egress.allow_ports=[{}]", directory.address().port()),
    ];
    let mut gateway = gateway_in(&world, &settings, &clock.environment()).await;

    // Bob is in the middle of his login, over the same connection.
    let auth = gateway.channel.clone();
    let bob = tokio::spawn(async move {
        let mut auth = AuthServiceClient::new(auth);
        told(auth.authenticate(request("bob", PASSWORD_OF_BOB)).await)
    });
    wait_for("bob's bind", Duration::from_secs(20), async || {
        binds_of(&directory, "bob") == 1
    })
    .await
    .unwrap();
    assert_eq!(
        login(&gateway, "ada", CANARY).await,
        "Aborted BIND_OUTCOME_UNKNOWN"
    );
    assert!(clock.was_wrong());
    assert_eq!(binds_of(&directory, "ada"), 1);
    assert_eq!(
        login(&gateway, "ada", "another").await,
        "DENIED TOO_MANY_ATTEMPTS",
        "the slot of a login that panicked is free"
    );
    bob_may_in.add_permits(20);
    assert_eq!(bob.await.unwrap(), "OK bob");

    // Before anything was sent.
    clock.be_wrong_once();
    assert_eq!(login(&gateway, "eve", CANARY).await, "Internal INTERNAL");
    assert!(clock.was_wrong());
    assert_eq!(binds_of(&directory, "eve"), 0);
    for _ in 0..5 {
        assert_eq!(login(&gateway, "eve", CANARY).await, "OK eve");
        assert_eq!(login(&gateway, "bob", PASSWORD_OF_BOB).await, "OK bob");
    }

    assert_eq!(
        world.early_audit().await,
        ["ERROR BIND_OUTCOME_UNKNOWN", "ERROR INTERNAL"]
    );

    let pid = gateway.child.id().to_string();
    assert!(Command::new("kill").arg(pid).status().unwrap().success());
    assert!(gateway.child.wait().unwrap().success());
    let log = gateway.log.join().unwrap();
    let panics = log.lines().filter(|line| line.contains("panic.location"));
    assert_eq!(panics.count(), 2, "{log}");
    let database = world.database_bytes();
    for canary in [CANARY, PASSWORD_OF_BOB] {
        for (place, bytes) in [("log", log.as_bytes()), ("database", &database)] {
            let mut windows = bytes.windows(canary.len());
            assert!(
                !windows.any(|window| window == canary.as_bytes()),
                "{canary} is in the {place}"
            );
        }
    }
}
