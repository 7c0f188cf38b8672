//! Outages: never a denial, and a retry is offered only while nothing was sent.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use rollcall_core::external_id::{ExternalId, IdKind};
use rollcall_core::id::{DirectoryId, UserId, Uuid};
use rollcall_core::plan::{Change, ChangeKind};
use rollcall_core::revision::Revision;
use rollcall_core::user::{Origin, Profile, UserState};
use rollcall_proto::v1::auth_service_client::AuthServiceClient;
use rollcall_testkit::{Operation, Request, ScriptedLdap, Slapd, ber, wait_for};

use crate::world::{PASSWORD, World, dn, now, request};
use rollcall_store::{NewAuditEvent, Recorded};

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_down_is_unavailable_for_known_and_unknown_logins_and_locks_nobody() {
    let mut world = World::new().await;
    assert_eq!(world.login("ada", PASSWORD).await, "OK ada");
    world.server.stop();
    for _ in 0..6 {
        assert_eq!(
            world.login("ada", PASSWORD).await,
            "Unavailable DIRECTORY_UNAVAILABLE"
        );
        assert_eq!(
            world.login("nobody", PASSWORD).await,
            "Unavailable DIRECTORY_UNAVAILABLE"
        );
    }
    let mut auth = AuthServiceClient::new(world.channel(0));
    let mut status = async |login| auth.authenticate(request(login, PASSWORD)).await.unwrap_err();
    let (known, unknown) = (status("ada").await, status("nobody").await);
    assert_eq!(known.message(), unknown.message());
    assert_eq!(known.details(), unknown.details());
    world.server.start().unwrap();
    let up = wait_for(
        "the directory is used again",
        Duration::from_secs(60),
        async || world.login("ada", PASSWORD).await == "OK ada",
    );
    up.await.unwrap();
    assert_eq!(
        world.login("nobody", PASSWORD).await,
        "DENIED INVALID_CREDENTIALS"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn once_the_bind_was_sent_its_unknown_outcome_is_aborted_and_the_slot_stays_taken() {
    let settings = [("login.timeout", "1500ms"), ("throttle.login_limit", "1")];
    let world = World::with(Slapd::builder(), &settings).await;
    assert_eq!(world.login("ada", PASSWORD).await, "OK ada");
    world.server.pause().unwrap();
    assert_eq!(world.login("ada", PASSWORD).await, "Aborted BIND_OUTCOME_UNKNOWN");
    world.server.resume().unwrap();
    assert_eq!(world.login("ada", "another").await, "DENIED TOO_MANY_ATTEMPTS");
    assert_eq!(world.login("bob", "password of bob").await, "OK bob");
    assert_eq!(
        world.audit().await[1..3],
        ["ERROR BIND_OUTCOME_UNKNOWN", "DENIED TOO_MANY_ATTEMPTS"]
    );
    // The same password is in the slot already.
    assert_eq!(world.login("ada", PASSWORD).await, "OK ada");
}

/// A caller that gives a directory less time than it needs has itself to blame, and costs nobody else a login.
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_s_short_deadline_is_not_blamed_on_the_directory() {
    let world = World::new().await;
    world.server.pause().unwrap();
    let mut client = AuthServiceClient::new(world.channel(0));
    for login in ["ada", "nobody"].repeat(4) {
        let mut hurried = tonic::Request::new(request(login, PASSWORD));
        hurried.set_timeout(Duration::from_millis(200));
        let status = client.authenticate(hurried).await.unwrap_err();
        assert_eq!(
            status.code(),
            tonic::Code::DeadlineExceeded,
            "{login}: {status:?}"
        );
        assert!(
            status.message().contains("before the password was sent"),
            "{status:?}"
        );
    }
    world.server.resume().unwrap();
    assert_eq!(
        world.login("ada", PASSWORD).await,
        "OK ada",
        "nobody leaves it alone"
    );
    assert_eq!(
        world.login("nobody", PASSWORD).await,
        "DENIED INVALID_CREDENTIALS"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_leaves_is_accounted_for_and_poisons_nothing() {
    let world = World::new().await;
    assert_eq!(world.login("ada", PASSWORD).await, "OK ada");
    world.server.pause().unwrap();
    let mut impatient = tonic::Request::new(request("ada", PASSWORD));
    impatient.set_timeout(Duration::from_millis(300));
    let mut client = AuthServiceClient::new(world.channel(0));
    let status = client.authenticate(impatient).await.unwrap_err();
    world.server.resume().unwrap();
    assert_eq!(status.code(), tonic::Code::Aborted, "{status:?}");
    wait_for("the attempt is recorded", Duration::from_secs(20), async || {
        world
            .audit()
            .await
            .contains(&"ERROR BIND_OUTCOME_UNKNOWN".to_owned())
    })
    .await
    .unwrap();
    assert_eq!(world.login("ada", PASSWORD).await, "OK ada");
    assert_eq!(world.login("bob", "password of bob").await, "OK bob");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_whose_call_is_cancelled_goes_on_to_its_end_and_is_recorded() {
    let world = World::new().await;
    assert_eq!(world.login("ada", PASSWORD).await, "OK ada");
    let ada = world.user("ada").await;
    world.server.pause().unwrap();
    let mut auth = AuthServiceClient::new(world.channel(0));
    let call = tokio::spawn(async move { auth.authenticate(request("ada", PASSWORD)).await });
    // A slot is taken just before the bind. Looking forgets it, which matters to nobody here.
    wait_for("the login is under way", Duration::from_secs(10), async || {
        let slot = world
            .store
            .unlock_user(&world.tenant, ada.id, &NewAuditEvent::by_nobody(now()))
            .await;
        slot.unwrap().is_some()
    })
    .await
    .unwrap();
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    world.server.resume().unwrap();
    wait_for("the login is recorded", Duration::from_secs(20), async || {
        world.audit().await == ["AUTHENTICATED AUTHENTICATED"; 2]
    })
    .await
    .unwrap();
    assert_eq!(world.login("ada", PASSWORD).await, "OK ada");
    assert_eq!(world.login("bob", "password of bob").await, "OK bob");
}

/// A directory on a script that answers users' binds with this code; returns how many came.
async fn answers_users_with(world: &mut World, code: i64) -> Arc<AtomicUsize> {
    let (service_dn, binds) = (world.server.service_dn(), Arc::new(AtomicUsize::new(0)));
    let counted = binds.clone();
    let answer = move |request: &Request| match &request.operation {
        Operation::Bind { dn, .. } if *dn != service_dn => {
            counted.fetch_add(1, Ordering::SeqCst);
            Some(ber::bind_response(request.id, code, "", "not now"))
        }
        _ => None,
    };
    world.follow_script(answer).await;
    binds
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bind_that_is_answered_without_a_verdict_is_aborted_and_counts_for_nothing() {
    let (busy, unavailable) = (51, 52);
    for (code, told, audited) in [
        (busy, "Aborted BIND_OUTCOME_UNKNOWN", "ERROR DIRECTORY_BUSY"),
        (
            unavailable,
            "Aborted BIND_OUTCOME_UNKNOWN",
            "ERROR DIRECTORY_GAVE_NO_VERDICT",
        ),
        (
            13,
            "FailedPrecondition DIRECTORY_MISCONFIGURED",
            "ERROR DIRECTORY_MISCONFIGURED",
        ),
    ] {
        let mut world = World::without_gateway(Slapd::builder()).await;
        let binds = answers_users_with(&mut world, code).await;
        world.start_gateway(&[("throttle.login_limit", "1")]).await;
        for attempt in 1..=3 {
            assert_eq!(world.login("ada", PASSWORD).await, told, "{code}");
            assert_eq!(binds.load(Ordering::SeqCst), attempt, "one bind each");
        }
        assert_eq!(world.audit().await, [audited; 3]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_says_nothing_keeps_its_slot_since_it_may_have_been_counted() {
    let (operations_error, other) = (1, 80);
    for code in [operations_error, other, 4_096] {
        let mut world = World::without_gateway(Slapd::builder()).await;
        let binds = answers_users_with(&mut world, code).await;
        world.start_gateway(&[("throttle.login_limit", "2")]).await;
        for _ in 0..2 {
            for password in [PASSWORD, "another"] {
                let told = world.login("ada", password).await;
                assert_eq!(told, "Aborted BIND_OUTCOME_UNKNOWN", "{code}");
            }
        }
        let third = world.login("ada", "a third").await;
        assert_eq!(third, "DENIED TOO_MANY_ATTEMPTS", "{code}");
        assert_eq!(binds.load(Ordering::SeqCst), 4, "{code}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_switched_off_or_misconfigured_is_told() {
    let world = World::new().await;
    let tenant = world.store.tenant(&world.tenant).await.unwrap();
    let now = now();
    let mut settings = tenant.settings.clone();
    settings.user_sync_enabled = false;
    let tenant = world
        .store
        .update_tenant(
            &world.tenant,
            tenant.revision,
            &settings,
            Recorded::by_nobody(now),
        )
        .await
        .unwrap();
    assert_eq!(
        world.login("ada", PASSWORD).await,
        "FailedPrecondition SYNC_DISABLED"
    );
    settings.user_sync_enabled = true;
    world
        .store
        .update_tenant(
            &world.tenant,
            tenant.revision,
            &settings,
            Recorded::by_nobody(now),
        )
        .await
        .unwrap();

    let password = rollcall_core::secret::Password::new("not the service's".into())
        .ok()
        .unwrap();
    world
        .store
        .rotate_bind_password(
            &world.tenant,
            &world.directory,
            None,
            &password,
            Recorded::by_nobody(now),
        )
        .await
        .unwrap();
    assert_eq!(
        world.login("ada", PASSWORD).await,
        "FailedPrecondition DIRECTORY_MISCONFIGURED"
    );
    assert_eq!(world.binds(&dn("ada")), 0);
}

/// A directory that accepts every connection and answers nothing, with people of its own.
async fn black_hole(world: &mut World, people: u8) -> ScriptedLdap {
    let hole = ScriptedLdap::plain(async |mut peer| {
        while peer.receive().await?.is_some() {}
        Ok(())
    });
    let hole = hole.await.unwrap();
    let tenant = world.tenant.clone();
    world.add_script(&tenant, "hole", &hole).await;
    let changes = (0..people).map(|number| Change {
        kind: ChangeKind::Create,
        user: UserId(Uuid::from_u128(u128::from(number) + 1)),
        expected_revision: Revision::NONE,
        state_before: None,
        origin: Origin {
            user_sync: world.sync.user_sync.clone(),
            directory: DirectoryId::parse("hole").unwrap(),
            external_id: ExternalId::from_bytes(IdKind::EntryUuid, &[number; 16]).unwrap(),
            dn: dn(&format!("hole{number}")),
            linked: false,
        },
        profile: Profile {
            login: format!("hole{number}"),
            role: "user".into(),
            ..Profile::default()
        },
        state: UserState::Active,
        state_reason: None,
        login_ambiguous: false,
        login_asked_by: None,
        changes: Vec::new(),
    });
    world.run(changes.collect(), now()).await;
    hole
}

#[tokio::test(flavor = "multi_thread")]
async fn a_black_holed_directory_costs_its_own_users_only() {
    let mut world = World::without_gateway(Slapd::builder()).await;
    let hole = black_hole(&mut world, 60).await;
    world.start_gateway(&[("login.timeout", "4s")]).await;
    assert_eq!(world.login("ada", PASSWORD).await, "OK ada");
    let lost = (0..60).map(|number| {
        let login = format!("hole{number}");
        let world = &world;
        async move { world.login(&login, "x").await }
    });
    let others = async {
        wait_for("the hole swallows", Duration::from_secs(10), async || {
            hole.connections() > 0
        })
        .await
        .unwrap();
        let start = Instant::now();
        for _ in 0..30 {
            assert_eq!(world.login("ada", PASSWORD).await, "OK ada");
        }
        start.elapsed()
    };
    let (lost, taken) = tokio::join!(join_all(lost), others);
    assert!(
        taken < Duration::from_secs(3),
        "30 logins elsewhere took {taken:?}"
    );
    let told = |answer: &String| {
        [
            "Unavailable DIRECTORY_UNAVAILABLE",
            "ResourceExhausted DIRECTORY_BUSY",
        ]
        .contains(&answer.as_str())
    };
    assert!(lost.iter().all(told), "{lost:?}");
    let users_binds = hole
        .received()
        .into_iter()
        .filter(|request| match &request.operation {
            Operation::Bind { dn, .. } => *dn != world.server.service_dn(),
            _ => false,
        });
    assert_eq!(
        users_binds.count(),
        0,
        "a password was sent although nobody could be verified"
    );
}

/// Holds the right to write to an SQLite file, as a worker does that is frozen within a transaction. Until it is killed.
pub(crate) fn frozen_writer(file: &str) -> Child {
    let script = "import sqlite3, sys\n\
                  sqlite3.connect(sys.argv[1], isolation_level=None).execute('BEGIN IMMEDIATE')\n\
                  print('held', flush=True)\n\
                  sys.stdin.read()";
    let mut writer = Command::new("/usr/bin/python3")
        .args(["-I", "-c", script, file])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut output = BufReader::new(writer.stdout.take().unwrap());
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "held\n");
    writer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_is_frozen_on_sqlite_is_an_outage_and_no_wrong_password() {
    let world = World::with(Slapd::builder(), &[("login.timeout", "1s")]).await;
    assert_eq!(world.login("ada", PASSWORD).await, "OK ada");
    let binds = world.binds(&dn("ada"));
    let mut writer = frozen_writer(world.url.strip_prefix("sqlite:").unwrap());
    let logins = ["ada", "nobody", "bob"].map(|login| world.login(login, PASSWORD));
    let told = tokio::time::timeout(Duration::from_secs(8), join_all(logins)).await;
    assert_eq!(told.unwrap(), ["Unavailable STORE_UNAVAILABLE"; 3]);
    writer.kill().unwrap();
    writer.wait().unwrap();
    // They were told that nothing was sent, so nothing is when the store comes back.
    wait_for("the attempts are recorded", Duration::from_secs(30), async || {
        world.audit().await.len() == 4
    })
    .await
    .unwrap();
    assert_eq!((world.binds(&dn("ada")), world.binds(&dn("bob"))), (binds, 0));
    wait_for("the store is used again", Duration::from_secs(30), async || {
        world.login("ada", PASSWORD).await == "OK ada"
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_was_silent_before_the_bind_may_be_asked_again_with_the_same_request_id() {
    let settings = [("login.timeout", "1s"), ("login.trust_dn", "0s")];
    let world = World::with(Slapd::builder(), &settings).await;
    assert_eq!(world.login("ada", PASSWORD).await, "OK ada");
    let again = || rollcall_proto::v1::AuthenticateRequest {
        request_id: "id-1".into(),
        ..request("ada", PASSWORD)
    };
    world.server.pause().unwrap();
    assert_eq!(
        world.attempt(0, again()).await,
        "Unavailable DIRECTORY_UNAVAILABLE"
    );
    world.server.resume().unwrap();
    wait_for(
        "the directory is used again",
        Duration::from_secs(60),
        async || world.attempt(0, again()).await == "OK ada",
    )
    .await
    .unwrap();
    assert_eq!(world.binds(&dn("ada")), 2);
}
