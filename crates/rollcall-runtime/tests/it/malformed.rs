//! Requests that cannot be decoded.

use rollcall_core::error::Reason;
use rollcall_proto::status::reason;
use tonic::codec::Codec;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_prost::ProstCodec;
use tonic_types::StatusExt;

use crate::probe_service::{SERVICE, call};
use crate::running::Running;

const SECRET: &[u8] = b"secret1\xff";

/// Sends a message of another type than the method's, whose field 1 is a text.
async fn send<M>(channel: &Channel, path: &str, message: M) -> Status
where
    M: Send + Sync + 'static,
    ProstCodec<M, ()>: Codec<Encode = M, Decode = ()> + Default,
{
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.unwrap();
    let codec = ProstCodec::<M, ()>::default();
    let request = tonic::Request::new(message);
    client
        .unary(request, path.parse().unwrap(), codec)
        .await
        .unwrap_err()
}

/// The one field that is refused, and why.
fn refused(status: &Status) -> (String, String) {
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    assert_eq!(reason(status), Some(Reason::InvalidField));
    let bad = status.get_details_bad_request().unwrap();
    let [violation] = bad.field_violations.try_into().unwrap();
    (violation.field, violation.description)
}

#[tokio::test]
async fn a_request_that_cannot_be_decoded_is_invalid_and_not_echoed() {
    let server = Running::start("").await;
    let channel = server.connect().await;
    let probe = format!("/{SERVICE}/RequestId");
    let no_text = send(&channel, &probe, SECRET.to_vec()).await;
    assert_eq!(refused(&no_text).1, "is not valid UTF-8");
    assert!(!format!("{no_text:?}").contains("secret1"));
    let number = send(&channel, &probe, 987_654_321_u64).await;
    assert_eq!(refused(&number).1, "cannot be decoded as Protocol Buffers");
    assert!(!format!("{number:?}").contains("987654321"));
    let huge = send(&channel, &probe, vec![0_u8; 5 << 20]).await;
    assert_eq!(huge.code(), Code::InvalidArgument);
    assert_eq!(reason(&huge), Some(Reason::RequestTooLarge));
    let about = huge.get_details_error_info().unwrap().metadata;
    assert_eq!(about["limit"], "4194304");
    assert_eq!(about["method"], format!("{SERVICE}.RequestId"));
    assert!(call(&channel, "RequestId", None).await.is_ok());
}

#[tokio::test]
async fn the_field_is_named_where_it_is_known() {
    let server = Running::start("").await;
    let channel = server.connect().await;
    let health = send(&channel, "/grpc.health.v1.Health/Check", SECRET.to_vec()).await;
    let expected = ("service".to_owned(), "is not valid UTF-8".to_owned());
    assert_eq!(refused(&health), expected);
}
