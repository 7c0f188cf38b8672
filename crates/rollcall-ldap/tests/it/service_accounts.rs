//! The bind account whose password is refused: when another one is tried, and what is told of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rollcall_core::dialect::Dialect;
use rollcall_core::secret::Password;
use rollcall_ldap::{
    AnotherPassword, DirectoryConfig, Later, LdapDirectory, LdapError, PasswordKeeper, TriedPassword,
};
use rollcall_testkit::{Operation, Peer, ScriptedLdap, ber, wait_for};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::setup::*;

const LIMIT: Duration = Duration::from_secs(30);
const WRONG: &str = "80090308: LdapErr: DSID-0C09044E, comment: AcceptSecurityContext error, data 52e, v4563";
const LOCKED: &str =
    "80090308: LdapErr: DSID-0C09044E, comment: AcceptSecurityContext error, data 775, v4563";
const EXPIRED: &str =
    "80090308: LdapErr: DSID-0C09044E, comment: AcceptSecurityContext error, data 532, v4563";

/// Gives "next" away, once.
#[derive(Clone, Default)]
struct Keeper {
    asked: Arc<AtomicUsize>,
    told: Arc<Mutex<Vec<TriedPassword>>>,
}

impl PasswordKeeper for Keeper {
    fn another(&self, refused: Arc<Password>) -> Later<Option<AnotherPassword>> {
        assert_eq!(refused.expose(), "service password");
        let first = self.asked.fetch_add(1, Ordering::SeqCst) == 0;
        Box::pin(async move { first.then(|| AnotherPassword::Pending(password("next"))) })
    }

    fn tried(&self, tried: Arc<Password>, outcome: TriedPassword) -> Later<()> {
        assert_eq!(tried.expose(), "next");
        self.told.lock().push(outcome);
        Box::pin(async {})
    }
}

/// Accepts these passwords, and answers others as told.
async fn server(accepted: &'static str, code: i64, text: &'static str) -> ScriptedLdap {
    ScriptedLdap::plain(move |mut peer: Peer| async move {
        loop {
            let request = next(&mut peer).await?;
            let answer = match &request.operation {
                Operation::Bind { password, .. } if password == accepted.as_bytes() => {
                    ber::bind_response(request.id, 0, "", "")
                }
                Operation::Bind { .. } => ber::bind_response(request.id, code, "", text),
                _ => [entry(request.id, "cn=1"), ber::search_done(request.id, 0, "")].concat(),
            };
            peer.send(&answer).await?;
        }
    })
    .await
    .unwrap()
}

fn directory(server: &ScriptedLdap, keeper: &Keeper, dialect: Option<Dialect>) -> LdapDirectory {
    let settings = settings(&[format!("ldap://{}", server.address())]);
    LdapDirectory::new(DirectoryConfig {
        password_keeper: Some(Arc::new(keeper.clone())),
        dialect,
        ..config(settings, "service password")
    })
    .unwrap()
}

async fn read_something(directory: &LdapDirectory) -> Result<bool, LdapError> {
    let entry = directory
        .read_entry(&read("cn=1", &["uid"]), in_seconds(10))
        .await;
    entry.map(|entry| entry.is_some())
}

fn binds(server: &ScriptedLdap) -> usize {
    let is_bind = |operation: &Operation| matches!(operation, Operation::Bind { .. });
    let received = server.received();
    received
        .iter()
        .filter(|request| is_bind(&request.operation))
        .count()
}

/// How often this password was sent.
fn sent(server: &ScriptedLdap, text: &str) -> usize {
    let received = server.received();
    let binds = received.iter().filter(
        |request| matches!(&request.operation, Operation::Bind { password, .. } if password == text.as_bytes()),
    );
    binds.count()
}

#[tokio::test]
async fn a_password_that_is_wrong_or_expired_gives_way_to_the_next_on_the_same_connection() {
    for (text, dialect) in [
        (WRONG, Some(Dialect::ActiveDirectory)),
        (EXPIRED, Some(Dialect::ActiveDirectory)),
        (WRONG, None),
        ("", Some(Dialect::OpenLdap)),
        ("", None),
    ] {
        let (server, keeper) = (server("next", 49, text).await, Keeper::default());
        let directory = directory(&server, &keeper, dialect);
        assert_eq!(read_something(&directory).await, Ok(true), "{text}");
        assert_eq!(*keeper.told.lock(), [TriedPassword::Accepted], "{text}");
        assert_eq!((binds(&server), server.connections()), (2, 1), "{text}");
        directory.close_idle();
        assert_eq!(read_something(&directory).await, Ok(true), "{text}");
        assert_eq!(binds(&server), 3, "it is the present one from then on");
    }
}

#[tokio::test]
async fn whatever_else_is_wrong_nobody_is_asked_for_another_password() {
    for (code, text, dialect) in [
        (49, LOCKED, Some(Dialect::ActiveDirectory)),
        (49, LOCKED, None),
        (49, "", Some(Dialect::ActiveDirectory)),
        (48, "", None),
        (19, "", None),
        (50, "", None),
        (51, "", None),
        (52, "", None),
        (53, "the account is locked", None),
    ] {
        let (server, keeper) = (server("next", code, text).await, Keeper::default());
        let directory = directory(&server, &keeper, dialect);
        assert!(read_something(&directory).await.is_err());
        assert_eq!(keeper.asked.load(Ordering::SeqCst), 0, "{code} {text}");
        assert_eq!(binds(&server), 1, "{code} {text}");
    }
}

#[tokio::test]
async fn a_next_password_that_is_refused_too_is_told_and_the_refusal_stays() {
    let (server, keeper) = (server("another", 49, WRONG).await, Keeper::default());
    let directory = directory(&server, &keeper, None);
    for _ in 0..3 {
        assert!(matches!(
            read_something(&directory).await,
            Err(LdapError::BindRefused(_))
        ));
    }
    assert_eq!(*keeper.told.lock(), [TriedPassword::Refused]);
    assert_eq!(binds(&server), 2, "a refused account is left alone for a while");
}

/// A login that has no more time must not leave a password behind of which nobody knows whether it is right.
#[tokio::test]
async fn whoever_goes_away_meanwhile_the_keeper_is_told() {
    let answer = Arc::new(Notify::new());
    let waiting = Arc::clone(&answer);
    let server = ScriptedLdap::plain(move |mut peer: Peer| {
        let waiting = Arc::clone(&waiting);
        async move {
            let first = next(&mut peer).await?;
            peer.send(&ber::bind_response(first.id, 49, "", WRONG)).await?;
            let second = next(&mut peer).await?;
            waiting.notified().await;
            peer.send(&ber::bind_response(second.id, 0, "", "")).await?;
            peer.closed().await
        }
    })
    .await
    .unwrap();
    let keeper = Keeper::default();
    let directory = directory(&server, &keeper, None);
    let reading = tokio::spawn(async move { read_something(&directory).await });
    wait_for("the next password is sent", LIMIT, async || binds(&server) == 2)
        .await
        .unwrap();
    reading.abort();
    assert!(reading.await.is_err());
    answer.notify_one();
    wait_for("the keeper is told", LIMIT, async || {
        *keeper.told.lock() == [TriedPassword::Accepted]
    })
    .await
    .unwrap();
}

/// One connection asks, the others use what it found.
#[tokio::test]
async fn connections_that_are_refused_at_once_ask_once() {
    let (server, keeper) = (server("next", 49, WRONG).await, Keeper::default());
    let directory = directory(&server, &keeper, None);
    let reads = (0..6).map(|_| read_something(&directory));
    let read = futures::future::join_all(reads).await;
    assert!(read.iter().all(|read| *read == Ok(true)), "{read:?}");
    assert_eq!(keeper.asked.load(Ordering::SeqCst), 1);
    assert_eq!(*keeper.told.lock(), [TriedPassword::Accepted]);
    assert_eq!(sent(&server, "service password"), 1);
}

/// Each refusal counts towards the account's lockout.
#[tokio::test]
async fn a_wrong_password_is_sent_once_however_many_connections_are_opened_at_once() {
    let server = server("another", 49, WRONG).await;
    let settings = settings(&[format!("ldap://{}", server.address())]);
    let nobody = LdapDirectory::new(config(settings, "service password")).unwrap();
    // Gives away nothing but a password that is wrong too.
    let keeper = Keeper::default();
    let kept = directory(&server, &keeper, None);
    for directory in [&nobody, &kept] {
        let before = sent(&server, "service password");
        for _ in 0..2 {
            let reads = (0..20).map(|_| read_something(directory));
            let read = futures::future::join_all(reads).await;
            let refused = |read: &Result<bool, LdapError>| matches!(read, Err(LdapError::BindRefused(_)));
            assert!(read.iter().all(refused), "{read:?}");
        }
        assert_eq!(sent(&server, "service password"), before + 1);
    }
    assert_eq!(keeper.asked.load(Ordering::SeqCst), 1);
    assert_eq!(*keeper.told.lock(), [TriedPassword::Refused]);
}

/// Those who wait in vain for the first answer do not all send the password.
#[tokio::test]
async fn a_directory_that_is_slow_to_refuse_a_password_gets_it_twice_at_most() {
    let third = Arc::new(Notify::new());
    let binds = Arc::new(AtomicUsize::new(0));
    let server = ScriptedLdap::plain(move |mut peer: Peer| {
        let (third, binds) = (Arc::clone(&third), Arc::clone(&binds));
        async move {
            let request = next(&mut peer).await?;
            if binds.fetch_add(1, Ordering::SeqCst) == 2 {
                third.notify_waiters();
            }
            // The first answer comes when a third bind has come, or would have.
            let _ = timeout(Duration::from_secs(4), third.notified()).await;
            peer.send(&ber::bind_response(request.id, 49, "", WRONG)).await?;
            peer.closed().await
        }
    })
    .await
    .unwrap();
    let settings = settings(&[format!("ldap://{}", server.address())]);
    let directory = LdapDirectory::new(config(settings, "service password")).unwrap();
    let reads = (0..6).map(|_| read_something(&directory));
    let read = futures::future::join_all(reads).await;
    let refused = |read: &Result<bool, LdapError>| matches!(read, Err(LdapError::BindRefused(_)));
    assert!(read.iter().all(refused), "{read:?}");
    assert_eq!(sent(&server, "service password"), 2);
}

/// What is no refusal of a password says nothing about the next bind.
#[tokio::test]
async fn an_outage_is_not_remembered_as_a_refusal() {
    for outage in [Outage::Busy, Outage::Unwilling, Outage::Gone] {
        // One less than opens the circuit breaker, which does remember outages.
        let failures = Arc::new(AtomicUsize::new(2));
        let server =
            ScriptedLdap::plain(move |peer: Peer| fail_then_serve(peer, outage, Arc::clone(&failures)))
                .await
                .unwrap();
        let keeper = Keeper::default();
        let directory = directory(&server, &keeper, None);
        for _ in 0..2 {
            assert!(read_something(&directory).await.is_err(), "{outage:?}");
        }
        assert_eq!(read_something(&directory).await, Ok(true), "{outage:?}");
        assert_eq!(sent(&server, "service password"), 3, "{outage:?}");
        assert_eq!(keeper.asked.load(Ordering::SeqCst), 0, "{outage:?}");
    }
}

#[derive(Clone, Copy, Debug)]
enum Outage {
    Busy,
    Unwilling,
    Gone,
}

async fn fail_then_serve(mut peer: Peer, outage: Outage, failures: Arc<AtomicUsize>) -> anyhow::Result<()> {
    loop {
        let request = next(&mut peer).await?;
        let is_bind = matches!(request.operation, Operation::Bind { .. });
        let order = Ordering::SeqCst;
        let fails = is_bind
            && failures
                .fetch_update(order, order, |left| left.checked_sub(1))
                .is_ok();
        let answer = match (outage, is_bind) {
            (Outage::Busy, _) if fails => ber::bind_response(request.id, 51, "", "busy"),
            (Outage::Unwilling, _) if fails => ber::bind_response(request.id, 53, "", "not now"),
            (Outage::Gone, _) if fails => return Ok(()),
            (_, true) => ber::bind_response(request.id, 0, "", ""),
            (_, false) => [entry(request.id, "cn=1"), ber::search_done(request.id, 0, "")].concat(),
        };
        peer.send(&answer).await?;
    }
}
