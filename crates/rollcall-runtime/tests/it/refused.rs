//! Every refusal carries a reason, also those of the transport: methods that are not here, compression that is not
//! known, health of no service.

use rollcall_core::error::Reason;
use rollcall_proto::status::reason;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_prost::ProstCodec;
use tonic_types::StatusExt;

use crate::probe_service::{SERVICE, send};
use crate::running::Running;

async fn call(channel: &Channel, path: &str) -> Status {
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.unwrap();
    let codec = ProstCodec::<String, String>::default();
    let request = tonic::Request::new(String::new());
    client
        .unary(request, path.parse().unwrap(), codec)
        .await
        .unwrap_err()
}

fn metadata(status: &Status, key: &str) -> Option<String> {
    status
        .get_details_error_info()
        .unwrap()
        .metadata
        .get(key)
        .cloned()
}

#[tokio::test]
async fn a_method_that_is_not_here_says_so_and_who_has_it() {
    for (_server, channel) in Running::plain_and_tls().await {
        for (path, method, served_by) in [
            (
                "/rollcall.v1.AuthService/Authenticate",
                "rollcall.v1.AuthService.Authenticate",
                Some("auth-gateway"),
            ),
            (
                "/rollcall.v1.UserSyncService/RunUserSync",
                "rollcall.v1.UserSyncService.RunUserSync",
                Some("sync-worker"),
            ),
            ("/no.Such/Thing", "no.Such.Thing", None),
            (
                "/grpc.health.v1.Health/NoMethod",
                "grpc.health.v1.Health.NoMethod",
                None,
            ),
        ] {
            let status = call(&channel, path).await;
            assert_eq!(status.code(), Code::Unimplemented, "{path}");
            assert_eq!(reason(&status), Some(Reason::Unimplemented), "{path}");
            assert_eq!(metadata(&status, "method").as_deref(), Some(method));
            assert_eq!(metadata(&status, "served_by").as_deref(), served_by);
            if let Some(server) = served_by {
                assert!(status.message().contains(server), "{status}");
            }
        }
        let long = call(&channel, &format!("/{}/x", "a".repeat(3000))).await;
        assert_eq!(reason(&long), Some(Reason::Unimplemented));
        assert!(long.message().len() < 200, "{long}");
    }
}

#[tokio::test]
async fn health_of_no_service_is_not_found_with_a_reason() {
    for (_server, channel) in Running::plain_and_tls().await {
        let mut client = HealthClient::new(channel);
        let request = HealthCheckRequest {
            service: "no.Such".to_owned(),
        };
        let checked = client.check(request.clone()).await.unwrap_err();
        let watched = client.watch(request).await.unwrap_err();
        for status in [checked, watched] {
            assert_eq!(status.code(), Code::NotFound);
            assert_eq!(reason(&status), Some(Reason::ServiceNotFound));
        }
    }
}

#[tokio::test]
async fn compression_that_is_not_known_is_refused_with_a_reason() {
    for (_server, channel) in Running::plain_and_tls().await {
        let mut request = tonic::Request::new(String::new());
        request
            .metadata_mut()
            .insert("grpc-encoding", "snappy".parse().unwrap());
        let status = send(&channel, "RequestId", request).await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented);
        assert_eq!(reason(&status), Some(Reason::Unimplemented));
        assert!(status.message().contains("gzip"), "{status}");
        assert_eq!(metadata(&status, "method"), Some(format!("{SERVICE}.RequestId")));
        assert!(status.metadata().contains_key("grpc-accept-encoding"));
    }
}

#[tokio::test]
async fn too_much_metadata_is_refused_in_words() {
    for (_server, channel) in Running::plain_and_tls().await {
        let with = async |bytes: usize| {
            let mut request = tonic::Request::new(String::new());
            request
                .metadata_mut()
                .insert("x-baggage", "b".repeat(bytes).parse().unwrap());
            send(&channel, "WhoAmI", request).await
        };
        with(15_000).await.unwrap();
        for bytes in [17_000, 20 * 1024, 60 * 1024] {
            let status = with(bytes).await.unwrap_err();
            assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
            assert_eq!(reason(&status), Some(Reason::MetadataTooLarge));
            assert_eq!(metadata(&status, "limit").as_deref(), Some("16384"));
        }
        // Beyond what the transport takes nothing is carried out either, and others on the connection go on.
        assert!(with(100 * 1024).await.is_err());
        with(1).await.unwrap();
    }
}
