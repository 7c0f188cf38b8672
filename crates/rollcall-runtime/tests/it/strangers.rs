//! Whoever connects and shows no caller gets little time and little room.

use std::sync::Arc;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::callers::{TOKEN, code, over_tls, token_caller};
use crate::certificates::Authority;
use crate::probe_service::call;
use crate::running::{PATIENCE, Running};

const SHORT: &str = "handshake_timeout = \"200ms\"\nfirst_call_timeout = \"400ms\"\n";

async fn handshake(server: &Running, authority: &Authority) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(server.address).await?;
    let connector = TlsConnector::from(Arc::new(authority.rustls_client(&[b"h2"])));
    connector.connect(server.address.ip().into(), stream).await
}

/// Waits until the server ends the connection.
async fn ends(stream: &mut (impl AsyncReadExt + Unpin)) {
    let mut bytes = Vec::new();
    let end = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await;
    _ = end.expect("the connection goes on");
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_ended() {
    let authority = Authority::new();
    let over_tls = Running::start(&(authority.server_section() + SHORT)).await;
    ends(&mut TcpStream::connect(over_tls.address).await.unwrap()).await;
    ends(&mut handshake(&over_tls, &authority).await.unwrap()).await;
    let plain = Running::start(&format!("[server]\n{SHORT}")).await;
    ends(&mut TcpStream::connect(plain.address).await.unwrap()).await;
}

#[tokio::test]
async fn a_connection_without_a_call_is_ended_and_one_with_a_call_is_not() {
    let authority = Authority::new();
    let config = token_caller("") + &authority.server_section() + SHORT;
    let server = Running::start(&config).await;
    let idle = handshake(&server, &authority).await.unwrap();
    let (_sender, connection) =
        hyper::client::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new())
            .handshake::<_, tonic::body::Body>(hyper_util::rt::TokioIo::new(idle))
            .await
            .unwrap();
    let mut probe = HealthClient::new(over_tls(&server, authority.client()).await.unwrap());
    let mut watching = probe
        .watch(HealthCheckRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert!(watching.message().await.unwrap().is_some());
    _ = tokio::time::timeout(PATIENCE, connection)
        .await
        .expect("the connection without a call goes on");
    // The other one began earlier and is still there.
    probe.check(HealthCheckRequest::default()).await.unwrap();
}

#[tokio::test]
async fn strangers_leave_when_a_caller_needs_the_place() {
    let authority = Authority::new();
    let limits = "max_connections = 8\nhandshake_timeout = \"1m\"\nfirst_call_timeout = \"1h\"\n";
    let config = token_caller("") + &authority.server_section() + limits;
    let server = Running::start(&config).await;
    let callers_own = over_tls(&server, authority.client()).await.unwrap();
    assert_eq!(
        call(&callers_own, "WhoAmI", Some(TOKEN)).await.unwrap(),
        "frontend"
    );
    let mut strangers = Vec::new();
    for _ in 0..40 {
        strangers.push(handshake(&server, &authority).await.unwrap());
    }
    // Some of them ask, and show no caller.
    for _ in 0..10 {
        let stranger = over_tls(&server, authority.client()).await.unwrap();
        assert_eq!(
            code(call(&stranger, "WhoAmI", Some("wrong")).await),
            Code::Unauthenticated
        );
    }
    let connecting = over_tls(&server, authority.client());
    let another = tokio::time::timeout(PATIENCE, connecting).await.unwrap().unwrap();
    assert_eq!(call(&another, "WhoAmI", Some(TOKEN)).await.unwrap(), "frontend");
    // Whoever was a caller before has kept the place.
    assert_eq!(
        call(&callers_own, "WhoAmI", Some(TOKEN)).await.unwrap(),
        "frontend"
    );
    for stranger in &mut strangers[..30] {
        ends(stranger).await;
    }
}

/// All places taken by callers stay taken: nobody who has proven a caller is ended for another.
#[tokio::test]
async fn callers_are_never_ended_for_others() {
    let server = Running::start(&(token_caller("") + "[server]\nmax_connections = 2\n")).await;
    let mut callers = Vec::new();
    for _ in 0..2 {
        let channel = server.connect().await;
        assert_eq!(call(&channel, "WhoAmI", Some(TOKEN)).await.unwrap(), "frontend");
        callers.push(channel);
    }
    let third = server.connect().await;
    let waiting = tokio::spawn(async move { call(&third, "WhoAmI", Some(TOKEN)).await });
    for channel in &callers {
        assert_eq!(call(channel, "WhoAmI", Some(TOKEN)).await.unwrap(), "frontend");
    }
    assert!(!waiting.is_finished());
    callers.pop();
    let answer = tokio::time::timeout(PATIENCE, waiting).await.unwrap();
    assert_eq!(answer.unwrap().unwrap(), "frontend");
}
