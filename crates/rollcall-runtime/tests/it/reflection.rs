//! A client without the contract can ask for it, in both versions of the protocol.

use tonic_reflection::pb::{v1, v1alpha};

use crate::running::Running;

const HEALTH: &str = "grpc.health.v1.Health";

#[tokio::test]
async fn both_versions_list_the_services() {
    let server = Running::start("").await;
    let channel = server.connect().await;

    let mut client = v1::server_reflection_client::ServerReflectionClient::new(channel.clone());
    let request = v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(v1::server_reflection_request::MessageRequest::ListServices(
            String::new(),
        )),
    };
    let mut stream = client
        .server_reflection_info(tokio_stream::once(request))
        .await
        .unwrap()
        .into_inner();
    match stream.message().await.unwrap().unwrap().message_response.unwrap() {
        v1::server_reflection_response::MessageResponse::ListServicesResponse(list) => {
            assert!(
                list.service.iter().any(|service| service.name == HEALTH),
                "{list:?}"
            );
        }
        other => panic!("{other:?}"),
    }

    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(channel);
    let request = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(v1alpha::server_reflection_request::MessageRequest::ListServices(
            String::new(),
        )),
    };
    let mut stream = client
        .server_reflection_info(tokio_stream::once(request))
        .await
        .unwrap()
        .into_inner();
    match stream.message().await.unwrap().unwrap().message_response.unwrap() {
        v1alpha::server_reflection_response::MessageResponse::ListServicesResponse(list) => {
            assert!(
                list.service.iter().any(|service| service.name == HEALTH),
                "{list:?}"
            );
        }
        other => panic!("{other:?}"),
    }
}
