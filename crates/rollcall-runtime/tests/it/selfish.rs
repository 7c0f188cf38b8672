//! Clients that take what they can: they cost themselves.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::Request;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rollcall_core::error::Reason;
use rollcall_proto::status::reason;
use tokio::net::TcpStream;
use tonic::{Code, Status};

use crate::probe_service::{SERVICE, call, open};
use crate::running::{PATIENCE, Running};

const STREAMS: usize = 1_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_streams_that_nobody_reads_hold_little_and_stop_nobody() {
    let server = Running::start("").await;
    let channel = server.connect().await;
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        streams.push(open(&channel, "Flood").await);
    }
    let flooded = server.handlers.flooded.clone();
    assert!(Arc::strong_count(&flooded) > STREAMS);
    // What is made stops growing: nothing more is made than the client has room for, and one portion for each stream.
    let resting = async {
        let mut before = 0;
        loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let now = flooded.load(Ordering::Relaxed);
            if now == before {
                return now;
            }
            before = now;
        }
    };
    let made = tokio::time::timeout(PATIENCE, resting).await.unwrap();
    assert!(
        made < 128 << 20,
        "{made} bytes wait for a client that does not read"
    );
    let other = server.connect().await;
    let answer = tokio::time::timeout(PATIENCE, call(&other, "WhoAmI", None)).await;
    assert_eq!(answer.unwrap().unwrap(), "local");

    drop((streams, channel));
    let ended = async {
        while Arc::strong_count(&flooded) > 3 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, ended).await.unwrap();
}

#[tokio::test]
async fn a_deadline_of_a_millisecond_ends_the_call_and_nothing_else() {
    let server = Running::start("").await;
    let stream = TcpStream::connect(server.address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    let driver = tokio::spawn(connection);
    // Below tonic, whose client ends the call by itself.
    let mut ask = async |method: &str, timeout: &str| {
        let request = Request::post(format!("http://{}/{SERVICE}/{method}", server.address))
            .header("content-type", "application/grpc")
            .header("grpc-timeout", timeout)
            .body(Full::new(Bytes::from_static(&[0; 5])))
            .unwrap();
        let response = sender.send_request(request).await.unwrap();
        Status::from_header_map(response.headers())
    };
    for timeout in ["1m", "1000u", "1n", "0m"] {
        let status = ask("Wait", timeout).await.unwrap();
        assert_eq!(status.code(), Code::DeadlineExceeded, "{timeout}: {status}");
        assert_eq!(reason(&status), Some(Reason::DeadlineExceeded), "{timeout}");
    }
    assert!(ask("WhoAmI", "10S").await.is_none(), "it has an answer");
    driver.abort();
}
