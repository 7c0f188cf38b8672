//! At most one bind of an attempt reaches any server, whatever breaks; and none reaches another directory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rollcall_core::directory::{HostUrl, TransportSecurity};
use rollcall_testkit::{Operation, Peer, Request, ScriptedLdap, Slapd, ber};

use crate::world::{PASSWORD, World, dn, request};

/// What goes wrong on every host once a user's bind has come.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Fault {
    BindGetsNoAnswer,
    BindGetsGarbage,
    BindGetsAnotherKindOfAnswer,
    BindGetsAnotherId,
    BindIsHungUpOn,
    ReadIsHungUpOn,
    ReadIsRefused,
    ReadGetsNoAnswer,
}

/// Two hosts that share a fault; the number of users' binds on both.
async fn hosts(world: &mut World, fault: Fault) -> Arc<AtomicUsize> {
    let binds = Arc::new(AtomicUsize::new(0));
    let mut urls = Vec::new();
    for _ in 0..2 {
        let (service_dn, binds) = (world.server.service_dn(), binds.clone());
        let serve = move |mut peer: Peer| {
            let (service_dn, binds) = (service_dn.clone(), binds.clone());
            async move {
                while let Some(request) = peer.receive().await? {
                    match reply(&request, fault, &service_dn, &binds) {
                        Reply::Send(bytes) => peer.send(&bytes).await?,
                        Reply::Nothing => {}
                        Reply::HangUp => return Ok(()),
                    }
                }
                Ok(())
            }
        };
        let host = ScriptedLdap::plain(serve).await.unwrap();
        urls.push(HostUrl::parse(&format!("ldap://{}", host.address())).unwrap());
        world.keep(host);
    }
    for url in &urls {
        world.allow_port(url.effective_port(None));
    }
    world
        .update_directory(|settings| {
            settings.hosts = urls;
            settings.transport_security = TransportSecurity::Plaintext;
            settings.allow_plaintext = true;
            settings.operation_timeout = Duration::from_millis(500);
        })
        .await;
    binds
}

enum Reply {
    Send(Vec<u8>),
    Nothing,
    HangUp,
}

fn reply(request: &Request, fault: Fault, service_dn: &str, binds: &AtomicUsize) -> Reply {
    let id = request.id;
    match (&request.operation, fault) {
        (Operation::Bind { dn, .. }, _) if dn == service_dn => Reply::Send(ber::bind_response(id, 0, "", "")),
        (Operation::Bind { .. }, fault) => {
            binds.fetch_add(1, Ordering::SeqCst);
            match fault {
                Fault::BindGetsNoAnswer => Reply::Nothing,
                Fault::BindGetsGarbage => Reply::Send(vec![0x30, 0x84, 0xff, 0xff, 0xff, 0xff]),
                Fault::BindGetsAnotherKindOfAnswer => Reply::Send(ber::search_done(id, 0, "")),
                Fault::BindGetsAnotherId => Reply::Send(ber::bind_response(id + 1, 0, "", "")),
                Fault::BindIsHungUpOn => Reply::HangUp,
                Fault::ReadIsHungUpOn | Fault::ReadIsRefused | Fault::ReadGetsNoAnswer => {
                    Reply::Send(ber::bind_response(id, 0, "", ""))
                }
            }
        }
        (_, Fault::ReadIsHungUpOn) => Reply::HangUp,
        (_, Fault::ReadIsRefused) => Reply::Send(ber::search_done(id, 50, "")),
        (_, Fault::ReadGetsNoAnswer) => Reply::Nothing,
        _ => Reply::Send(ber::search_done(id, 0, "")),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bind_reaches_the_hosts_of_a_directory_whatever_breaks() {
    for fault in [
        Fault::BindGetsNoAnswer,
        Fault::BindGetsGarbage,
        Fault::BindGetsAnotherKindOfAnswer,
        Fault::BindGetsAnotherId,
        Fault::BindIsHungUpOn,
        Fault::ReadIsHungUpOn,
        Fault::ReadIsRefused,
        Fault::ReadGetsNoAnswer,
    ] {
        let mut world = World::without_gateway(Slapd::builder()).await;
        let binds = hosts(&mut world, fault).await;
        world.start_gateway(&[("login.timeout", "4s")]).await;
        let told = world.attempt(0, request("ada", PASSWORD)).await;
        assert_eq!(told, "Aborted BIND_OUTCOME_UNKNOWN", "{fault:?}");
        assert_eq!(binds.load(Ordering::SeqCst), 1, "{fault:?}");
        assert_eq!(world.audit().await, ["ERROR BIND_OUTCOME_UNKNOWN"], "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_directory_but_the_user_s_own_ever_sees_a_login() {
    let mut world = World::without_gateway(Slapd::builder()).await;
    let other = ScriptedLdap::plain(async |mut peer: Peer| {
        while let Some(request) = peer.receive().await? {
            // It would let anybody in.
            peer.send(&ber::bind_response(request.id, 0, "", "")).await?;
        }
        Ok(())
    })
    .await
    .unwrap();
    let tenant = world.tenant.clone();
    world.add_script(&tenant, "other", &other).await;
    // Nobody comes from there, so nobody's login seems to.
    world.update_sync(|settings| settings.disabled = true).await;
    world.start_gateway(&[]).await;
    assert_eq!(world.login("ada", PASSWORD).await, "OK ada");
    assert_eq!(world.login("ada", "wrong").await, "DENIED INVALID_CREDENTIALS");
    assert_eq!(world.login("nobody", "wrong").await, "DENIED INVALID_CREDENTIALS");
    world.server.delete(&dn("bob")).unwrap();
    assert_eq!(
        world.login("bob", "password of bob").await,
        "DENIED INVALID_CREDENTIALS"
    );
    world.server.stop();
    assert_eq!(
        world.login("ada", PASSWORD).await,
        "Unavailable DIRECTORY_UNAVAILABLE"
    );
    assert_eq!(other.connections(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_that_passes_before_the_bind_is_the_caller_s_and_takes_no_slot() {
    let settings = [("login.trust_dn", "0s"), ("throttle.login_limit", "1")];
    let world = World::with(Slapd::builder(), &settings).await;
    assert_eq!(world.login("ada", PASSWORD).await, "OK ada");
    world.server.pause().unwrap();
    let mut auth = rollcall_proto::v1::auth_service_client::AuthServiceClient::new(world.channel(0));
    let mut impatient = tonic::Request::new(request("ada", PASSWORD));
    impatient.set_timeout(Duration::from_millis(400));
    let status = auth.authenticate(impatient).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::DeadlineExceeded, "{status:?}");
    world.server.resume().unwrap();
    rollcall_testkit::wait_for("the slot is free", Duration::from_secs(20), async || {
        world.login("ada", PASSWORD).await == "OK ada"
    })
    .await
    .unwrap();
}
