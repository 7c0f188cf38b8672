//! Connections over their lives: where they go, how many there are, when they are replaced.

use std::sync::Arc;
use std::time::Duration;

use rollcall_core::directory::DirectorySettings;
use rollcall_ldap::{LdapDirectory, LdapError, PoolLimits, ResultCode, SearchOutcome, TlsFailure};
use rollcall_testkit::{
    Operation, Peer, ScriptedLdap, Slapd, TestCa, ber, hostile_people, people_ldif, wait_for,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::setup::*;

/// Says yes to every bind and answers every search with one entry.
async fn friendly(mut peer: Peer) -> anyhow::Result<()> {
    loop {
        let request = next(&mut peer).await?;
        let answer = match request.operation {
            Operation::Bind { .. } => ber::bind_response(request.id, 0, "", ""),
            _ => [entry(request.id, "cn=1"), ber::search_done(request.id, 0, "")].concat(),
        };
        peer.send(&answer).await?;
    }
}

async fn read_something(directory: &LdapDirectory) -> Result<bool, LdapError> {
    let entry = directory
        .read_entry(&read("cn=1", &["uid"]), in_seconds(10))
        .await;
    entry.map(|entry| entry.is_some())
}

/// A host that takes the bind but not the service account is passed over for both.
#[tokio::test]
async fn the_bind_goes_to_the_host_that_the_read_goes_to() {
    let unready = ScriptedLdap::plain(|mut peer| async move {
        let bind = next(&mut peer).await?;
        peer.send(&ber::bind_response(bind.id, 51, "", "busy")).await?;
        peer.closed().await
    })
    .await
    .unwrap();
    let ready = ScriptedLdap::plain(friendly).await.unwrap();
    let urls = [&unready, &ready].map(|server| format!("ldap://{}", server.address()));
    let directory = directory(settings(&urls), "service password");
    let verified = directory
        .verify_and_read(
            "cn=1",
            &password("secret"),
            &read("cn=1", &["uid"]),
            in_seconds(10),
        )
        .await;
    assert_eq!(verified.bind.unwrap().code, ResultCode::SUCCESS);
    assert!(verified.read.unwrap().is_some());
    let of_the_user = |server: &ScriptedLdap| {
        let requests = server.received().into_iter();
        let binds = requests
            .filter(|request| matches!(&request.operation, Operation::Bind { dn, .. } if dn == "cn=1"));
        binds.count()
    };
    assert_eq!((of_the_user(&unready), of_the_user(&ready)), (0, 1));
}

#[tokio::test]
async fn no_more_connections_than_places_and_no_more_waiting_than_the_queue_holds() {
    let answer = Arc::new(Notify::new());
    let waiting = answer.clone();
    let server = ScriptedLdap::plain(move |mut peer| {
        let waiting = waiting.clone();
        async move {
            let mut search = after_bind(&mut peer).await?;
            loop {
                waiting.notified().await;
                peer.send(&[entry(search.id, "cn=1"), ber::search_done(search.id, 0, "")].concat())
                    .await?;
                search = next(&mut peer).await?;
            }
        }
    })
    .await
    .unwrap();
    let mut config = config(settings(&[format!("ldap://{}", server.address())]), "x");
    config.limits = PoolLimits {
        service: 2,
        queue: 1,
        ..PoolLimits::default()
    };
    let directory = LdapDirectory::new(config).unwrap();
    let start = || {
        let directory = directory.clone();
        tokio::spawn(async move { read_something(&directory).await })
    };
    let under_way = [start(), start()];
    wait_for(
        "two searches are under way",
        Duration::from_secs(10),
        async || server.received().len() == 4,
    )
    .await
    .unwrap();
    let third = read_something(&directory);
    tokio::pin!(third);
    assert!(futures::poll!(&mut third).is_pending());
    assert_eq!(read_something(&directory).await, Err(LdapError::Busy));
    answer.notify_one();
    answer.notify_one();
    for search in under_way {
        assert_eq!(search.await.unwrap(), Ok(true));
    }
    answer.notify_one();
    answer.notify_one();
    assert_eq!(third.await, Ok(true));
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_connection_that_is_too_old_or_was_idle_for_too_long_is_replaced() {
    let server = ScriptedLdap::plain(friendly).await.unwrap();
    let usual = PoolLimits::default();
    for (limits, connections) in [
        (usual, 1),
        (
            PoolLimits {
                max_age: Duration::ZERO,
                ..usual
            },
            3,
        ),
        (
            PoolLimits {
                max_idle: Duration::ZERO,
                ..usual
            },
            3,
        ),
    ] {
        let mut config = config(settings(&[format!("ldap://{}", server.address())]), "x");
        config.limits = limits;
        let directory = LdapDirectory::new(config).unwrap();
        let before = server.connections();
        for _ in 0..3 {
            assert_eq!(read_something(&directory).await, Ok(true));
        }
        assert_eq!(server.connections() - before, connections, "{limits:?}");
    }
}

/// Matrix case 30: by FIN and by RST, in the moment in which the connection is idle.
#[tokio::test]
async fn a_connection_that_was_closed_while_idle_is_replaced_unnoticed() {
    for reset in [false, true] {
        let server = ScriptedLdap::plain(move |mut peer| async move {
            let search = after_bind(&mut peer).await?;
            peer.send(&[entry(search.id, "cn=1"), ber::search_done(search.id, 0, "")].concat())
                .await?;
            if reset { peer.reset() } else { Ok(()) }
        })
        .await
        .unwrap();
        let directory = on_script(server.address());
        for _ in 0..5 {
            assert_eq!(read_something(&directory).await, Ok(true), "reset: {reset}");
        }
        assert_eq!(server.connections(), 5);
    }
}

/// Matrix case 30: nothing tells that the other end is gone but its silence, once.
#[tokio::test]
async fn a_half_open_connection_costs_one_operation_timeout_and_is_not_used_again() {
    let server = ScriptedLdap::plain(|mut peer| async move {
        let search = after_bind(&mut peer).await?;
        peer.send(&[entry(search.id, "cn=1"), ber::search_done(search.id, 0, "")].concat())
            .await?;
        if peer.number() == 0 {
            return peer.closed().await;
        }
        friendly(peer).await
    })
    .await
    .unwrap();
    let mut settings = settings(&[format!("ldap://{}", server.address())]);
    settings.operation_timeout = Duration::from_millis(200);
    let directory = directory(settings, "x");
    assert_eq!(read_something(&directory).await, Ok(true));
    assert_eq!(read_something(&directory).await, Err(LdapError::Timeout));
    assert_eq!(read_something(&directory).await, Ok(true));
    assert_eq!(server.connections(), 2);
}

/// A line of 300 ms there and back that holds one chunk in twenty up, as TCP does while it repeats what was lost.
async fn slow_line(server: std::net::SocketAddr) -> std::net::SocketAddr {
    async fn carry(
        mut from: impl AsyncReadExt + Unpin,
        mut to: impl AsyncWriteExt + Unpin,
    ) -> std::io::Result<()> {
        let mut chunk = [0; 1400];
        for number in 1.. {
            let count = from.read(&mut chunk).await?;
            if count == 0 {
                break;
            }
            let lost = number % 20 == 0;
            tokio::time::sleep(Duration::from_millis(if lost { 400 } else { 150 })).await;
            to.write_all(&chunk[..count]).await?;
        }
        to.shutdown().await
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((caller, _)) = listener.accept().await {
            let server = TcpStream::connect(server).await.unwrap();
            let (from_caller, to_caller) = caller.into_split();
            let (from_server, to_server) = server.into_split();
            tokio::spawn(carry(from_caller, to_server));
            tokio::spawn(carry(from_server, to_caller));
        }
    });
    address
}

/// Matrix case 32.
#[tokio::test]
async fn a_far_and_lossy_line_only_takes_longer() {
    let people = hostile_people(60);
    let slapd = Slapd::builder()
        .ldif(&people_ldif(&people, "dc=example,dc=org"))
        .start()
        .unwrap();
    let far = DirectorySettings {
        page_size: 20,
        hosts: settings(&[format!("ldap://{}", slow_line(slapd.address()).await)]).hosts,
        ..slapd_settings(&slapd)
    };
    let directory = directory(far, slapd.service_password());
    let (entries, outcome) = pull(&directory, everything("dc=example,dc=org", &["uid"])).await;
    assert!(matches!(outcome, SearchOutcome::Complete(_)), "{outcome:?}");
    let uids = entries.iter().filter(|entry| entry.text("uid").is_some()).count();
    assert_eq!(uids, people.len());
}

/// Matrix case 35: the connections of the old settings go on until these are dropped; a new CA counts for every
/// connection of the new ones, and no session of the old trust is taken up again.
#[tokio::test]
async fn changed_trust_holds_for_every_new_connection() {
    let (old, new) = (TestCa::new().unwrap(), TestCa::new().unwrap());
    let server = ScriptedLdap::tls(&old.loopback_server().unwrap(), friendly)
        .await
        .unwrap();
    let trusting = |ca: &TestCa| {
        let settings = DirectorySettings {
            ca_certificates: ca.pem(),
            ..settings(&[format!("ldaps://{}", server.address())])
        };
        directory(settings, "service password")
    };
    let before = trusting(&old);
    assert_eq!(read_something(&before).await, Ok(true));
    let after = trusting(&new);
    assert_eq!(
        read_something(&after).await,
        Err(LdapError::Tls(TlsFailure::UnknownIssuer))
    );
    assert_eq!(read_something(&before).await, Ok(true));
    drop(before);
    wait_for(
        "the old connections are closed",
        Duration::from_secs(10),
        async || server.open_connections() == 0,
    )
    .await
    .unwrap();
}

/// Matrix case 36: rustls panics when it has to choose between two providers of cryptography. It never has to.
#[tokio::test]
async fn tls_needs_no_default_provider() {
    let ca = TestCa::new().unwrap();
    let server = ScriptedLdap::tls(&ca.loopback_server().unwrap(), friendly)
        .await
        .unwrap();
    let settings = DirectorySettings {
        ca_certificates: ca.pem(),
        ..settings(&[format!("ldaps://{}", server.address())])
    };
    assert_eq!(read_something(&directory(settings, "x")).await, Ok(true));
    assert!(rustls::crypto::CryptoProvider::get_default().is_none());
}

/// Matrix case 25: a name is resolved once, and only the addresses that passed are connected to. Here one name
/// has an address that is allowed and perhaps one that is not.
#[tokio::test]
async fn only_an_address_that_passed_is_connected_to() {
    let server = ScriptedLdap::plain(friendly).await.unwrap();
    let port = server.address().port();
    let forbidden = TcpListener::bind(("::1", port)).await.unwrap();
    let mut config = config(settings(&[format!("ldap://localhost:{port}")]), "x");
    config.egress = rollcall_ldap::EgressPolicy::new(vec!["127.0.0.0/8".parse().unwrap()], vec![port]).into();
    let directory = LdapDirectory::new(config).unwrap();
    for _ in 0..3 {
        assert_eq!(read_something(&directory).await, Ok(true));
    }
    let nobody_came = tokio::time::timeout(Duration::from_millis(50), forbidden.accept()).await;
    assert!(nobody_came.is_err());
}
