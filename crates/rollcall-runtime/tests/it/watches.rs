//! Endless streams: so many of one caller, and none for a reader that does not read.

use std::sync::Arc;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt;

use crate::probe_service::{SERVICE, call, open, try_open};
use crate::running::{PATIENCE, Running};

fn reason(status: &Status) -> String {
    let info = status.get_details_error_info();
    info.map(|info| info.reason).unwrap_or_default()
}

#[tokio::test]
async fn a_caller_has_so_many_streams_and_everything_else_goes_on() {
    let server = Running::start("[server]\nmax_streams_per_caller = 3").await;
    let channel = server.connect().await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        streams.push(open(&channel, "WatchNothing").await);
    }
    // On another connection too: it is the caller who is counted.
    for channel in [&channel, &server.connect().await] {
        let refused = try_open(channel, "WatchNothing").await.unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted);
        assert_eq!(reason(&refused), "TOO_MANY_STREAMS");
        let info = refused.get_details_error_info().unwrap();
        assert_eq!(info.metadata["limit"], "3");
        assert!(refused.get_details_retry_info().is_some());
    }
    assert_eq!(call(&channel, "WhoAmI", None).await.unwrap(), "local");
    open(&channel, "Nothing").await;
    // Health is asked by strangers, who count by their address.
    let health = || HealthCheckRequest {
        service: SERVICE.to_owned(),
    };
    let mut watching = Vec::new();
    for _ in 0..3 {
        let answer = HealthClient::new(channel.clone()).watch(health()).await;
        watching.push(answer.unwrap());
    }
    let refused = HealthClient::new(channel.clone()).watch(health()).await;
    assert_eq!(reason(&refused.unwrap_err()), "TOO_MANY_STREAMS");
    let answer = HealthClient::new(channel.clone()).check(health()).await;
    assert!(answer.is_ok(), "who asks once is not counted");
    // A stream that ends leaves its place.
    streams.pop();
    let again = async {
        loop {
            match try_open(&channel, "WatchNothing").await {
                Ok(stream) => return stream,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, again).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_never_reads_is_ended_with_words_and_what_it_held_goes() {
    let server = Running::start("[server]\nreader_timeout = \"1s\"").await;
    let channel = server.connect().await;
    let flooded = server.handlers.flooded.clone();
    let held = Arc::strong_count(&flooded);
    let mut flood = open(&channel, "WatchFlood").await;
    assert!(Arc::strong_count(&flooded) > held);
    // Who has nothing to read is no such reader.
    let mut idle = open(&channel, "WatchNothing").await;
    idle.message().await.unwrap().unwrap();
    let given_up = async {
        while Arc::strong_count(&flooded) > held {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, given_up).await.unwrap();
    // Whoever reads on gets what was on its way, and the words.
    let rest = async {
        loop {
            if let Err(status) = flood.message().await {
                return status;
            }
        }
    };
    let status = tokio::time::timeout(PATIENCE, rest).await.unwrap();
    assert_eq!(
        (status.code(), reason(&status)),
        (Code::Unavailable, "READER_TOO_SLOW".to_owned())
    );
    assert!(status.get_details_retry_info().is_some());
    assert_eq!(call(&channel, "WhoAmI", None).await.unwrap(), "local");
    let next = tokio::time::timeout(Duration::from_secs(3), idle.message()).await;
    assert!(
        next.is_err(),
        "the connection of a reader that woke up stays: {next:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_connection_of_a_reader_that_does_not_wake_up_is_closed() {
    let server = Running::start("[server]\nreader_timeout = \"300ms\"").await;
    let channel = server.connect().await;
    let mut idle = open(&channel, "WatchNothing").await;
    idle.message().await.unwrap().unwrap();
    let _flood = open(&channel, "WatchFlood").await;
    let ended = tokio::time::timeout(PATIENCE, idle.message()).await.unwrap();
    assert!(ended.is_err(), "{ended:?}");
    // Others are left alone.
    let mut other = open(&server.connect().await, "WatchNothing").await;
    assert_eq!(other.message().await.unwrap().unwrap(), "nothing yet");
}
