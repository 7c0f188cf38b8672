//! Streams do not outlive the connection that they began on.

use std::time::{Duration, Instant};

use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt;

use crate::probe_service::{SERVICE, call, open, read};
use crate::running::{PATIENCE, Running};

const AGE: Duration = Duration::from_secs(2);

async fn with_age() -> Running {
    Running::start(&format!("[server]\nmax_connection_age = \"{}s\"", AGE.as_secs())).await
}

#[tokio::test]
async fn what_watches_ends_within_the_last_tenth_and_says_why() {
    let server = with_age().await;
    let channel = server.connect().await;
    let began = Instant::now();
    let watching = tokio::time::timeout(PATIENCE, read(&channel, "WatchNothing"));
    let (texts, status) = watching.await.unwrap();
    assert_eq!(texts, ["nothing yet"]);
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(
        status.get_details_error_info().unwrap().reason,
        "CONNECTION_TOO_OLD"
    );
    assert!(status.get_details_retry_info().is_some());
    let lasted = began.elapsed();
    assert!(lasted >= AGE.mul_f64(0.85), "{lasted:?}");
    // Whoever calls again gets a new connection, and is not sent away at once.
    let mut again = open(&channel, "WatchNothing").await;
    assert_eq!(again.message().await.unwrap().unwrap(), "nothing yet");
    let next = tokio::time::timeout(AGE / 4, again.message()).await;
    assert!(next.is_err(), "{next:?}");
}

#[tokio::test]
async fn health_that_is_watched_ends_too() {
    let server = with_age().await;
    let request = HealthCheckRequest {
        service: SERVICE.to_owned(),
    };
    let mut client = HealthClient::new(server.connect().await);
    let mut states = client.watch(request).await.unwrap().into_inner();
    let ended = async {
        loop {
            if let Err(status) = states.message().await {
                return status;
            }
        }
    };
    let status = tokio::time::timeout(PATIENCE, ended).await.unwrap();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(
        status.get_details_error_info().unwrap().reason,
        "CONNECTION_TOO_OLD"
    );
}

#[tokio::test]
async fn streams_that_end_by_themselves_and_calls_under_way_are_left_alone() {
    let server = with_age().await;
    let channel = server.connect().await;
    let waiting = {
        let channel = channel.clone();
        tokio::spawn(async move { call(&channel, "Wait", None).await })
    };
    server.handlers.arrived.acquire().await.unwrap().forget();
    let mut stream = open(&channel, "Nothing").await;
    stream.message().await.unwrap().unwrap();
    let next = tokio::time::timeout(AGE.mul_f64(1.5), stream.message()).await;
    assert!(next.is_err(), "{next:?}");
    server.handlers.released.add_permits(1);
    assert_eq!(waiting.await.unwrap().unwrap(), "released");
}
