//! Outages: never a denial, and a retry is offered only while nothing was sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rollcall_core::directory::{HostUrl, TransportSecurity};
use rollcall_testkit::{Operation, ScriptedLdap, Slapd, ber, wait_for};

use crate::world::{PASSWORD, World, dn, request};

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
    assert_eq!(world.login("ada", PASSWORD).await, "DENIED TOO_MANY_ATTEMPTS");
    assert_eq!(world.login("bob", "password of bob").await, "OK bob");
    assert_eq!(
        world.audit().await[1..3],
        ["ERROR BIND_OUTCOME_UNKNOWN", "DENIED TOO_MANY_ATTEMPTS"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_leaves_is_accounted_for_and_poisons_nothing() {
    let world = World::new().await;
    assert_eq!(world.login("ada", PASSWORD).await, "OK ada");
    world.server.pause().unwrap();
    let mut impatient = tonic::Request::new(request("ada", PASSWORD));
    impatient.set_timeout(Duration::from_millis(300));
    let mut client = rollcall_proto::v1::auth_service_client::AuthServiceClient::new(world.channel(0));
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

/// Answers searches and the service account, and closes the connection on a user's bind.
async fn hangs_up_on_users(service_dn: String, binds: Arc<AtomicUsize>) -> ScriptedLdap {
    ScriptedLdap::plain(move |mut peer| {
        let (service_dn, binds) = (service_dn.clone(), binds.clone());
        async move {
            while let Some(request) = peer.receive().await? {
                match &request.operation {
                    Operation::Bind { dn, .. } if *dn == service_dn => {
                        peer.send(&ber::bind_response(request.id, 0, "", "")).await?;
                    }
                    Operation::Bind { .. } => {
                        binds.fetch_add(1, Ordering::SeqCst);
                        return Ok(());
                    }
                    _ => peer.send(&ber::search_done(request.id, 0, "")).await?,
                }
            }
            Ok(())
        }
    })
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn at_most_one_bind_reaches_any_host_whatever_breaks() {
    let mut world = World::without_gateway(Slapd::builder()).await;
    let binds = Arc::new(AtomicUsize::new(0));
    let first = hangs_up_on_users(world.server.service_dn(), binds.clone()).await;
    let second = hangs_up_on_users(world.server.service_dn(), binds.clone()).await;
    let hosts =
        [&first, &second].map(|server| HostUrl::parse(&format!("ldap://{}", server.address())).unwrap());
    world
        .update_directory(|settings| {
            settings.hosts = hosts.into();
            settings.transport_security = TransportSecurity::Plaintext;
            settings.allow_plaintext = true;
        })
        .await;
    world.start_gateway(&[]).await;
    assert_eq!(world.login("ada", PASSWORD).await, "Aborted BIND_OUTCOME_UNKNOWN");
    assert_eq!(binds.load(Ordering::SeqCst), 1);
    assert_eq!(world.binds(&dn("ada")), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_switched_off_or_misconfigured_is_told() {
    let world = World::new().await;
    let tenant = world.store.tenant(&world.tenant).await.unwrap();
    let now = crate::world::now();
    let mut settings = tenant.settings.clone();
    settings.user_sync_enabled = false;
    let tenant = world
        .store
        .update_tenant(&world.tenant, tenant.revision, &settings, now)
        .await
        .unwrap();
    assert_eq!(
        world.login("ada", PASSWORD).await,
        "FailedPrecondition SYNC_DISABLED"
    );
    settings.user_sync_enabled = true;
    world
        .store
        .update_tenant(&world.tenant, tenant.revision, &settings, now)
        .await
        .unwrap();

    let password = rollcall_core::secret::Password::new("not the service's".into())
        .ok()
        .unwrap();
    world
        .store
        .rotate_bind_password(&world.tenant, &world.directory, None, &password, now)
        .await
        .unwrap();
    assert_eq!(
        world.login("ada", PASSWORD).await,
        "FailedPrecondition DIRECTORY_MISCONFIGURED"
    );
    assert_eq!(world.binds(&dn("ada")), 0);
}
