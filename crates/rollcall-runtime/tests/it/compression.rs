//! A channel with gzip on works like one without, and its requests may not become larger than others.

use rollcall_core::error::Reason;
use rollcall_proto::status::reason;
use tonic::codec::CompressionEncoding::Gzip;
use tonic::transport::Channel;
use tonic::{Code, Response, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt;

use crate::running::Running;

fn named(service: String) -> HealthCheckRequest {
    HealthCheckRequest { service }
}

fn client(channel: &Channel) -> HealthClient<Channel> {
    HealthClient::new(channel.clone()).accept_compressed(Gzip)
}

fn encoding<T>(response: &Response<T>) -> Option<&str> {
    response.metadata().get("grpc-encoding")?.to_str().ok()
}

fn check_too_large(status: &Status) {
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    assert_eq!(reason(status), Some(Reason::RequestTooLarge));
    let about = status.get_details_error_info().unwrap().metadata;
    assert_eq!(about["limit"], "16384");
}

#[tokio::test]
async fn an_answer_is_compressed_only_for_a_compressed_request() {
    let server = Running::start("").await;
    let channel = server.connect().await;
    let asked = client(&channel)
        .send_compressed(Gzip)
        .check(named(String::new()))
        .await
        .unwrap();
    assert_eq!(encoding(&asked), Some("gzip"));
    let offered = client(&channel).check(named(String::new())).await.unwrap();
    assert_eq!(encoding(&offered), None);
}

#[tokio::test]
async fn what_a_request_becomes_is_what_counts() {
    let server = Running::start("").await;
    let channel = server.connect().await;
    let mut client = client(&channel).send_compressed(Gzip);
    // 64 MiB of one letter are 64 KiB; 10 MiB are less than the limit, as they are sent.
    for length in [20 * 1024, 10 << 20, 64 << 20] {
        let status = client.check(named("x".repeat(length))).await.unwrap_err();
        check_too_large(&status);
    }
    let fits = client.check(named("x".repeat(16_000))).await.unwrap_err();
    assert_eq!(reason(&fits), Some(Reason::ServiceNotFound));
}

#[tokio::test]
async fn damaged_compression_is_the_callers_mistake() {
    let server = Running::start("").await;
    let channel = server.connect().await;
    // Declared as gzip and not compressed at all, in a frame that says it is.
    let status = crate::not_grpc::send_frame(&channel, "gzip", b"\x01\0\0\0\x04none").await;
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    let bad = status.get_details_bad_request().unwrap().field_violations;
    assert!(bad[0].description.contains("compression"), "{bad:?}");
}
