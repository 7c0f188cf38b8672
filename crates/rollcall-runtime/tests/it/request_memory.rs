//! What requests under way hold in memory is bounded, and one caller has half of it at most.

use tonic::Request;
use tonic::transport::Channel;

use crate::callers::caller_with_token;
use crate::probe_service::{call, send};
use crate::running::{PATIENCE, Running};

/// Eight of these fit into a caller's half.
const LARGE: usize = 3_900_000;

async fn send_large(channel: Channel, token: &'static str) -> String {
    let mut request = Request::new("x".repeat(LARGE));
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
