//! Canaries: passwords that are sent every way there is, and must be found nowhere.

use std::process::Command;

use rollcall_proto::v1::auth_service_client::AuthServiceClient;
use rollcall_testkit::Slapd;
use tonic_prost::ProstCodec;

use crate::binary::gateway;
use crate::world::{PASSWORD, World, request};

const GUESS: &str = "canary-guess-8d1f";
const TYPED_AS_LOGIN: &str = "canary-typed-as-login-77aa";

#[tokio::test(flavor = "multi_thread")]
async fn passwords_are_found_nowhere() {
    let mut world = World::without_gateway(Slapd::builder()).await;
    let mut gateway = gateway(&world, &["telemetry.filter=trace", "login.timeout=1500ms"]).await;
    let mut auth = AuthServiceClient::new(gateway.channel.clone());
    let mut told = String::new();
    let mut send = async |login: &str, password: &str| match auth.authenticate(request(login, password)).await
    {
        Ok(answer) => told.push_str(&format!("{:?}", answer.metadata())),
        Err(status) => told.push_str(&format!("{status:?}")),
    };
    send("ada", PASSWORD).await;
    send("ada", GUESS).await;
    send("ada", &format!("{GUESS}\0")).await;
    send(GUESS, GUESS).await;
    send(TYPED_AS_LOGIN, "x").await;
    send("bob", GUESS).await;
    for number in 0..4 {
        send("eve", &format!("{GUESS}{number}")).await;
    }
    let mut raw = tonic::client::Grpc::new(gateway.channel.clone());
    raw.ready().await.unwrap();
    let no_text = tonic::Request::new([GUESS.as_bytes(), b"\xff"].concat());
    let path = "/rollcall.v1.AuthService/Authenticate".parse().unwrap();
    let refused = raw
        .unary(no_text, path, ProstCodec::<Vec<u8>, ()>::default())
        .await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{refused:?}");
    told.push_str(&format!("{refused:?}"));
    let mut send = async |login: &str, password: &str| match auth.authenticate(request(login, password)).await
    {
        Ok(answer) => told.push_str(&format!("{:?}", answer.metadata())),
        Err(status) => told.push_str(&format!("{status:?}")),
    };
    world.server.pause().unwrap();
    send("bob", PASSWORD).await;
    world.server.resume().unwrap();
    world.server.stop();
    send("bob", PASSWORD).await;
    let terminated = Command::new("kill")
        .arg(gateway.child.id().to_string())
        .status()
        .unwrap();
    assert!(terminated.success() && gateway.child.wait().unwrap().success());
    let log = gateway.log.join().unwrap();
    assert!(
        log.contains("call answered") && log.contains("BIND_OUTCOME_UNKNOWN"),
        "the log shows little: {log}"
    );

    let database = world.database_bytes();
    let service_password = world.server.service_password();
    // As Debug would print it, too, which writes what is not ASCII in another way.
    let ascii = PASSWORD
        .split(|letter: char| !letter.is_ascii())
        .next_back()
        .unwrap();
    for canary in [PASSWORD, ascii, GUESS, TYPED_AS_LOGIN, service_password] {
        for (place, bytes) in [
            ("log", log.as_bytes()),
            ("answers", told.as_bytes()),
            ("database", &database),
        ] {
            let found = bytes
                .windows(canary.len())
                .any(|window| window == canary.as_bytes());
            assert!(!found, "{canary} is in the {place}");
        }
    }
}
