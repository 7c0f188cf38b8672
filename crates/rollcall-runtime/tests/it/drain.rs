//! How a server stops.

use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::probe_service::call;
use crate::running::{PATIENCE, Running};

#[tokio::test]
async fn calls_under_way_end_well_while_nobody_new_gets_in() {
    let server = Running::start("[drain]\ntimeout = \"1m\"").await;
    let channel = server.connect().await;
    let waiting = tokio::spawn(async move { call(&channel, "Wait", None).await });
    server.handlers.arrived.acquire().await.unwrap().forget();

    server.stop.cancel();
    let closed = async { while tokio::net::TcpStream::connect(server.address).await.is_ok() {} };
    tokio::time::timeout(PATIENCE, closed).await.unwrap();
    assert!(!server.health.is_ready());
    assert!(!waiting.is_finished());

    server.handlers.released.add_permits(1);
    assert_eq!(waiting.await.unwrap().unwrap(), "released");
    server.ended().await;
}

#[tokio::test]
async fn a_call_that_outlasts_the_drain_is_cut() {
    let server = Running::start("[drain]\ntimeout = \"100ms\"").await;
    let channel = server.connect().await;
    let waiting = tokio::spawn(async move { call(&channel, "Wait", None).await });
    server.handlers.arrived.acquire().await.unwrap().forget();
    server.stop.cancel();
    server.ended().await;
    waiting.abort();
}

#[tokio::test]
async fn whoever_watches_its_health_does_not_hold_the_server_up() {
    let server = Running::start("[drain]\ntimeout = \"10m\"").await;
    let request = HealthCheckRequest {
        service: String::new(),
    };
    let mut client = HealthClient::new(server.connect().await);
    let mut changes = client.watch(request).await.unwrap().into_inner();
    assert!(changes.message().await.unwrap().is_some());
    server.stop.cancel();
    let end = loop {
        match changes.message().await {
            Ok(change) => assert!(change.is_some(), "the stream ends with a reason"),
            Err(status) => break status,
        }
    };
    assert_eq!(end.code(), Code::Unavailable);
    assert!(end.message().contains("shutting down"), "{end:?}");
    server.ended().await;
}

#[tokio::test]
async fn an_idle_connection_does_not_hold_the_server_up() {
    let server = Running::start("[drain]\ntimeout = \"10m\"").await;
    let channel = server.connect().await;
    call(&channel, "WhoAmI", None).await.unwrap();
    server.stop.cancel();
    server.ended().await;
    assert_eq!(
        call(&channel, "WhoAmI", None).await.unwrap_err().code(),
        Code::Unavailable
    );
}
