//! What clients send that no client should: each is refused with a reason, and nobody else notices.

use anyhow::{Context, Result};
use system_tests::{Backend, Contract, System, length_delimited};
use tonic::body::Body;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt;
use tower::ServiceExt;

/// The status that a call with these bytes as its message ends with at once.
async fn status(channel: &Channel, path: &str, message: &[u8]) -> Result<Status> {
    let mut frame = vec![0];
    frame.extend(u32::try_from(message.len())?.to_be_bytes());
    frame.extend(message);
    let request = http::Request::post(format!("http://x{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Body::new(http_body_util::Full::from(frame)))?;
    let response = channel.clone().oneshot(request).await?;
    Status::from_header_map(response.headers()).context("the call did not end at once")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_text_that_is_not_utf_8_is_refused_in_every_field_there_is() -> Result<()> {
    let system = System::start(Backend::Sqlite, &[636]).await?;
    let (gateway, worker) = (system.gateway.channel().await?, system.worker.channel().await?);
    let contract = Contract::read()?;
    let mut tried = 0;
    for method in contract.methods() {
        let service = method.path.split('/').nth(1).context("no service")?;
        let channel = match rollcall_proto::server_of(service) {
            Some("auth-gateway") => &gateway,
            _ => &worker,
        };
        for (field, message) in contract.bad_texts(&method.input) {
            let status = status(channel, &method.path, &message).await?;
            let what = format!("{} {field}: {status:?}", method.path);
            assert_eq!(status.code(), Code::InvalidArgument, "{what}");
            let info = status.get_details_error_info().context(what.clone())?;
            assert_eq!(info.reason, "INVALID_FIELD", "{what}");
            let bad = status.get_details_bad_request().context(what.clone())?;
            let [violation] = bad.field_violations.as_slice() else {
                panic!("{what}");
            };
            assert_eq!(violation.field, field, "{what}");
            assert_eq!(violation.description, "is not valid UTF-8", "{what}");
            assert!(!what.contains("secret"), "{what}");
            tried += 1;
        }
    }
    assert!(tried > 200, "only {tried} fields were found");
    for service in [&system.gateway, &system.worker] {
        assert!(
            !service.log().contains("secret\u{fffd}"),
            "a log repeats what was sent"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fields_of_a_later_contract_change_nothing() -> Result<()> {
    let system = System::start(Backend::Sqlite, &[636]).await?;
    let (gateway, worker) = (system.gateway.channel().await?, system.worker.channel().await?);
    let unknown = length_delimited(12_345, b"anything");
    let mut refused = 0;
    for method in Contract::read()?.methods() {
        let service = method.path.split('/').nth(1).context("no service")?;
        let channel = match rollcall_proto::server_of(service) {
            Some("auth-gateway") => &gateway,
            _ => &worker,
        };
        // An empty request is refused by all methods that require something; the others answer.
        let Ok(empty) = status(channel, &method.path, b"").await else {
            continue;
        };
        let later = status(channel, &method.path, &unknown).await?;
        assert_eq!(
            (later.code(), later.message(), later.details()),
            (empty.code(), empty.message(), empty.details()),
            "{}",
            method.path
        );
        refused += 1;
    }
    assert!(refused > 30, "only {refused} methods refused an empty request");
    Ok(())
}
