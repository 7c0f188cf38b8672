//! Health follows the store, both ways.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rollcall_runtime::health::{CheckError, Health, check};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::probe_service::SERVICE;
use crate::running::{PATIENCE, Running, settings};

/// A store that can be switched on and off.
#[derive(Clone, Default)]
struct Store(Arc<AtomicBool>);

impl Store {
    fn turn(&self, on: bool) {
        self.0.store(on, Ordering::Relaxed);
    }

    fn follow(&self, health: &Health) {
        let (health, store) = (health.clone(), self.0.clone());
        tokio::spawn(async move {
            let probe = || {
                let up = store.load(Ordering::Relaxed);
                async move {
                    if up {
                        Ok(())
                    } else {
                        Err(std::io::Error::other("down"))
                    }
                }
            };
            health.follow(&settings("").health, probe).await;
        });
    }
}

#[tokio::test]
async fn grpc_health_follows_the_store_both_ways_and_ends_with_the_server() {
    let server = Running::start("[drain]\ndelay = \"1s\"").await;
    let mut client = HealthClient::new(server.connect().await);
    let request = HealthCheckRequest {
        service: SERVICE.to_owned(),
    };
    let mut watch = client.watch(request).await.unwrap().into_inner();
    let mut next = async || {
        let answer = tokio::time::timeout(PATIENCE, watch.message())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        answer.status().as_str_name()
    };
    assert_eq!(next().await, "NOT_SERVING");

    let store = Store::default();
    store.follow(&server.health);
    store.turn(true);
    assert_eq!(next().await, "SERVING");
    store.turn(false);
    assert_eq!(next().await, "NOT_SERVING");
    store.turn(true);
    assert_eq!(next().await, "SERVING");

    server.stop.cancel();
    assert_eq!(next().await, "NOT_SERVING");
}

#[tokio::test]
async fn a_probe_that_hangs_has_failed() {
    let health = Health::new(&[]).await;
    let mut ready = health.subscribe();
    let (follower, first) = (health.clone(), AtomicBool::new(true));
    tokio::spawn(async move {
        let probe = || {
            let answers = first.swap(false, Ordering::Relaxed);
            async move {
                if !answers {
                    std::future::pending::<()>().await;
                }
                Ok::<_, std::io::Error>(())
            }
        };
        follower
            .follow(&settings("[health]\ntimeout = \"100ms\"").health, probe)
            .await;
    });
    for expected in [true, false] {
        tokio::time::timeout(PATIENCE, ready.wait_for(|now| *now == expected))
            .await
            .unwrap()
            .unwrap();
    }
}

#[tokio::test]
async fn the_plaintext_listener_tells_liveness_from_readiness() {
    let health = Health::new(&[]).await;
    let address = health.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let config = settings(&format!("[health]\nlisten = \"{address}\""));
    assert!(matches!(check(&config).await, Err(CheckError::NotReady)));
    assert_eq!(get(address, "GET /livez").await, 200);
    assert_eq!(get(address, "GET /readyz").await, 503);
    assert_eq!(get(address, "GET /").await, 404);
    assert_eq!(get(address, "POST /livez").await, 405);

    let store = Store::default();
    store.turn(true);
    let mut ready = health.subscribe();
    store.follow(&health);
    tokio::time::timeout(PATIENCE, ready.wait_for(|now| *now))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(get(address, "GET /readyz").await, 200);
    check(&config).await.unwrap();
}

#[tokio::test]
async fn without_that_listener_the_grpc_port_is_asked() {
    let server = Running::start("").await;
    let config = settings(&format!("[server]\nlisten = \"{}\"", server.address));
    assert!(matches!(check(&config).await, Err(CheckError::NotReady)));
    let store = Store::default();
    store.turn(true);
    let mut ready = server.health.subscribe();
    store.follow(&server.health);
    tokio::time::timeout(PATIENCE, ready.wait_for(|now| *now))
        .await
        .unwrap()
        .unwrap();
    check(&config).await.unwrap();

    server.stop.cancel();
    server.ended().await;
    assert!(matches!(check(&config).await, Err(CheckError::NoAnswer { .. })));
}

#[tokio::test]
async fn metrics_count_calls_by_method_and_strangers_make_no_series() {
    let server = Running::start("").await;
    let address = server
        .health
        .listen("127.0.0.1:0".parse().unwrap())
        .await
        .unwrap();
    for path in ["/rollcall.v1.AuthService/Guess", "/probe.Guess/Guess"] {
        let mut client = tonic::client::Grpc::new(server.connect().await);
        client.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<(), ()>::default();
        let path = http::uri::PathAndQuery::from_static(path);
        let status = client
            .unary(tonic::Request::new(()), path, codec)
            .await
            .unwrap_err();
        assert_eq!(status.code(), tonic::Code::Unimplemented);
    }
    let answer = ask(address, "GET /metrics").await;
    assert!(
        answer.contains("content-type: application/openmetrics-text; version=1.0.0"),
        "{answer}"
    );
    assert!(answer.contains("rollcall_rpc_calls_total{method=\"other\",code=\"UNIMPLEMENTED\"}"));
    assert!(!answer.contains("Guess"), "{answer}");
    assert!(answer.trim_end().ends_with("# EOF"));
}

async fn get(address: std::net::SocketAddr, method_and_path: &str) -> u16 {
    let answer = ask(address, method_and_path).await;
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

async fn ask(address: std::net::SocketAddr, method_and_path: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("{method_and_path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}
