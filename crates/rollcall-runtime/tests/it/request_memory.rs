//! What requests under way hold in memory is bounded, and one caller has half of it at most.

use std::convert::Infallible;

use futures::{StreamExt, stream};
use http::Request;
use http_body::Frame;
use http_body_util::StreamBody;
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rollcall_core::error::Reason;
use rollcall_proto::status::reason;
use tokio::net::TcpStream;
use tonic::Status;
use tonic::transport::Channel;

use crate::callers::caller_with_token;
use crate::probe_service::{SERVICE, call, send};
use crate::running::{PATIENCE, Running};

/// Eight of these fit into a caller's half.
const LARGE: usize = 3_900_000;

async fn send_large(channel: Channel, token: &'static str) -> String {
    let mut request = tonic::Request::new("x".repeat(LARGE));
    let header = format!("Bearer {token}").parse().unwrap();
    request.metadata_mut().insert("authorization", header);
    send(&channel, "Wait", request).await.unwrap().into_inner()
}

#[tokio::test]
async fn large_requests_of_one_caller_wait_for_each_other_and_nobody_else_waits_for_them() {
    let server = Running::start(
        &(caller_with_token("greedy", "greedy", "") + &caller_with_token("modest", "modest", "")),
    )
    .await;
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..20 {
        waiting.spawn(send_large(server.connect().await, "greedy"));
    }
    let arrived = server.handlers.arrived.clone();
    let eight = tokio::time::timeout(PATIENCE, arrived.acquire_many(8));
    eight.await.unwrap().unwrap().forget();
    let other = server.connect().await;
    assert_eq!(call(&other, "WhoAmI", Some("modest")).await.unwrap(), "modest");
    waiting.spawn(send_large(other.clone(), "modest"));
    let one = tokio::time::timeout(PATIENCE, arrived.acquire_many(1));
    one.await.unwrap().unwrap().forget();
    assert_eq!(arrived.available_permits(), 0, "more than half is taken");
    assert_eq!(call(&other, "WhoAmI", Some("greedy")).await.unwrap(), "greedy");
    server.handlers.released.add_permits(21);
    for answer in waiting.join_all().await {
        assert_eq!(answer, "released");
    }
}

/// tonic reads what comes behind the message of a call, message by message, and throws it away: that holds memory too.
#[tokio::test]
async fn a_large_message_behind_the_one_of_a_call_is_refused_before_it_is_read() {
    let server = Running::start("").await;
    let stream = TcpStream::connect(server.address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    let driver = tokio::spawn(connection);
    for prefix in [*b"\0\0\x3b\x82\x60", *b"\x01\0\0\0\x09"] {
        let begin = [[0; 5].as_slice(), &prefix, b"and no more of it"].concat();
        // It never ends.
        let frames =
            stream::iter([Ok::<_, Infallible>(Frame::data(Bytes::from(begin)))]).chain(stream::pending());
        let request = Request::post(format!("http://{}/{SERVICE}/WhoAmI", server.address))
            .header("content-type", "application/grpc")
            .header("grpc-encoding", "gzip")
            .body(StreamBody::new(frames))
            .unwrap();
        let answer = tokio::time::timeout(PATIENCE, sender.send_request(request)).await;
        let status = Status::from_header_map(answer.unwrap().unwrap().headers()).unwrap();
        assert_eq!(reason(&status), Some(Reason::RequestTooLarge), "{status}");
    }
    driver.abort();
}
