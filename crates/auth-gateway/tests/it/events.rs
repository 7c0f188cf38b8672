//! The feed as a consumer has it that loses its connection, or comes back too late.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::TimeDelta;
use rollcall_core::id::{TenantId, UserId, Uuid};
use rollcall_core::user::Profile;
use rollcall_proto::v1::*;
use rollcall_runtime::clock::Clock;
use rollcall_store::{NewUser, Recorded, Store};
use rollcall_testkit::Slapd;

use crate::world::World;

/// Callers who change users at the same time, and how many users each of them creates.
const WRITERS: u128 = 10;
const EACH: u128 = 12;

fn watch(after: &str) -> WatchUserEventsRequest {
    WatchUserEventsRequest {
        parent: "tenants/acme".into(),
        after: after.into(),
        types: Vec::new(),
    }
}

fn read(after: &str) -> ListUserEventsRequest {
    ListUserEventsRequest {
        parent: "tenants/acme".into(),
        after: after.into(),
        ..ListUserEventsRequest::default()
    }
}

async fn create(store: Store, number: u128) {
    create_with(store, number, 0).await;
}

async fn create_with(store: Store, number: u128, restrictions: usize) {
    let user = NewUser {
        id: UserId(Uuid::from_u128(number)),
        profile: Profile {
            login: format!("local{number}"),
            role: "user".into(),
            restrictions: (0..restrictions)
                .map(|index| format!("{index}{}", "x".repeat(250)))
                .collect(),
            ..Profile::default()
        },
        owner: false,
    };
    let acme = TenantId::parse("acme").unwrap();
    store
        .create_local_user(&acme, user, Recorded::by_nobody(Clock::System.now()))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_breaks_again_and_again_tells_every_event_once() {
    let world = World::new().await;
    let mut users = world.users();
    let mut cursor = users
        .list_user_events(read(""))
        .await
        .unwrap()
        .into_inner()
        .next_cursor;
    for writer in 0..WRITERS {
        let store = world.store.clone();
        tokio::spawn(async move {
            for number in 1..=EACH {
                create(store.clone(), writer * EACH + number).await;
            }
        });
    }
    let mut told = Vec::new();
    while told.len() < (WRITERS * EACH) as usize {
        let mut stream = users
            .watch_user_events(watch(&cursor))
            .await
            .unwrap()
            .into_inner();
        let begin = stream.message().await.unwrap().unwrap();
        assert_eq!((begin.event, begin.cursor.as_str()), (None, cursor.as_str()));
        // The connection breaks after a few more each time.
        for _ in 0..=told.len() % 7 {
            let message = stream.message().await.unwrap().unwrap();
            cursor = message.cursor;
            told.extend(message.event.map(|event| event.user.unwrap().name));
            if told.len() == (WRITERS * EACH) as usize {
                break;
            }
        }
    }
    let once: BTreeSet<&String> = told.iter().collect();
    assert_eq!(once.len(), told.len(), "an event came twice");
    let rest = users.list_user_events(read(&cursor)).await.unwrap().into_inner();
    assert!(rest.events.is_empty() && !rest.more, "{rest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_back_too_late_is_told_to_list_the_users() {
    let world = World::new().await;
    let mut users = world.users();
    let first = users.list_user_events(read("")).await.unwrap().into_inner();
    let old = first.events[0].cursor.clone();
    create(world.store.clone(), 1).await;
    let all = Clock::System.now() + TimeDelta::days(1);
    world.store.delete_old_events(all, 2).await.unwrap();

    let listed = users.list_user_events(read(&old)).await.unwrap_err();
    let mut stream = users.watch_user_events(watch(&old)).await.unwrap().into_inner();
    let watched = stream.message().await.unwrap_err();
    for status in [listed, watched] {
        let reason = rollcall_proto::status::reason(&status).unwrap();
        assert_eq!(reason.as_str(), "CURSOR_EXPIRED", "{status:?}");
        assert!(status.message().contains("users"), "{status:?}");
    }
    // Without a cursor, from the oldest that is kept; and a cursor at that place is good.
    let kept = users.list_user_events(read("")).await.unwrap().into_inner();
    assert_eq!(kept.events.len(), 2);
    let from = first.events[1].cursor.clone();
    let resumed = users.list_user_events(read(&from)).await.unwrap().into_inner();
    assert_eq!(resumed.events, kept.events);
}

/// What is told to whoever takes nothing for a while; a reader that wakes up goes on from the last cursor without a loss.
#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_falls_asleep_is_told_so_and_loses_nothing() {
    const USERS: u128 = 200;
    let patience = Duration::from_secs(2);
    let world = World::with(Slapd::builder(), &[("server.reader_timeout", "2s")]).await;
    let mut users = world.users();
    let start = users.list_user_events(read("")).await.unwrap().into_inner();
    let mut cursor = start.next_cursor;
    // More than there is room for on the way to a reader.
    for number in 0..USERS {
        create_with(world.store.clone(), number + 1, 100).await;
    }
    let mut told = Vec::new();
    let mut slept = false;
    let until_told = async {
        loop {
            let mut stream = match users.watch_user_events(watch(&cursor)).await {
                Ok(stream) => stream.into_inner(),
                Err(_) => continue,
            };
            // The reader that is awake in time finds the words; of one that sleeps for twice as long the connection ends.
            tokio::time::sleep(patience * 3 / 2).await;
            loop {
                match stream.message().await {
                    Ok(message) => {
                        let message = message.unwrap();
                        cursor = message.cursor;
                        told.extend(message.event.map(|event| event.user.unwrap().login));
                    }
                    Err(status) => {
                        let reason = rollcall_proto::status::reason(&status);
                        slept = reason.is_some_and(|reason| reason.as_str() == "READER_TOO_SLOW");
                        break;
                    }
                }
            }
            if slept {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), until_told)
        .await
        .unwrap();
    assert!(told.len() < USERS as usize, "the stream went on");
    let mut rest = users
        .watch_user_events(watch(&cursor))
        .await
        .unwrap()
        .into_inner();
    while told.len() < USERS as usize {
        let message = rest.message().await.unwrap().unwrap();
        told.extend(message.event.map(|event| event.user.unwrap().login));
    }
    let made: Vec<_> = (1..=USERS).map(|number| format!("local{number}")).collect();
    assert_eq!(told, made);
}
