//! A client without the contract can ask for it, in both versions of the protocol.

use tonic_reflection::pb::{v1, v1alpha};

use crate::probe_service::SERVICE;
use crate::running::Running;

fn sorted(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

/// Its own services and no other of the contract, whose descriptors it has all the same.
fn expected(version: &str) -> [String; 3] {
    [
        "grpc.health.v1.Health".to_owned(),
        format!("grpc.reflection.{version}.ServerReflection"),
        SERVICE.to_owned(),
    ]
}

#[tokio::test]
async fn both_versions_list_the_servers_own_services() {
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
            let names = list.service.into_iter().map(|service| service.name);
            assert_eq!(sorted(names), expected("v1"));
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
            let names = list.service.into_iter().map(|service| service.name);
            assert_eq!(sorted(names), expected("v1alpha"));
        }
        other => panic!("{other:?}"),
    }
}
