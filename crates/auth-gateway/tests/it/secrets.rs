//! Canaries: passwords that are sent every way there is, and must be found nowhere.

use std::process::Command;

use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use rollcall_proto::v1::auth_service_client::AuthServiceClient;
use rollcall_testkit::{Slapd, TestDatabase};
use tonic_prost::ProstCodec;

use crate::binary::gateway;
use crate::world::{PASSWORD, World, request};

const GUESS: &str = "canary-guess-8d1f";
const TYPED_AS_LOGIN: &str = "canary-typed-as-login-77aa";

#[tokio::test(flavor = "multi_thread")]
async fn passwords_are_found_nowhere_on_sqlite() {
    passwords_are_found_nowhere(World::without_gateway(Slapd::builder()).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_are_found_nowhere_on_postgresql() {
    passwords_are_found_nowhere(World::on_postgres(TestDatabase::new().unwrap()).await).await;
}

/// The ways in which a text may be written down: as it is, in hexadecimal, and in base64 wherever it stands in it.
fn spellings(canary: &str) -> Vec<String> {
    let hex: String = canary.bytes().map(|byte| format!("{byte:02x}")).collect();
    let numbers: Vec<String> = canary.bytes().map(|byte| byte.to_string()).collect();
    let mut all = vec![canary.to_owned(), hex.to_uppercase(), hex, numbers.join(", ")];
    for before in 0..3 {
        let padded = [&b"???"[..before], canary.as_bytes()].concat();
        let text = BASE64_STANDARD_NO_PAD.encode(padded);
        // Without the characters that what stands before and after has a part in.
        all.push(text[(before * 8).div_ceil(6)..text.len() - 1].to_owned());
    }
    all
}

#[test]
fn a_canary_is_recognised_in_each_of_its_spellings() {
    let text = BASE64_STANDARD_NO_PAD.encode(format!("user=ada&{GUESS}&more"));
    let holds = |text: &str| spellings(GUESS).iter().any(|spelling| text.contains(spelling));
    assert!(holds(&text) && holds(&format!("{:?}", GUESS.as_bytes())));
    assert!(!holds(
        &BASE64_STANDARD_NO_PAD.encode("something else of the same length")
    ));
}

async fn passwords_are_found_nowhere(mut world: World) {
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

    let database = String::from_utf8_lossy(&world.database_bytes()).into_owned();
    assert!(
        database.contains("BIND_OUTCOME_UNKNOWN"),
        "the database shows little"
    );
    let service_password = world.server.service_password();
    // As Debug would print it, too, which writes what is not ASCII in another way.
    let ascii = PASSWORD
        .split(|letter: char| !letter.is_ascii())
        .next_back()
        .unwrap();
    for canary in [PASSWORD, ascii, GUESS, TYPED_AS_LOGIN, service_password] {
        for spelling in spellings(canary) {
            for (place, text) in [("log", &log), ("answers", &told), ("database", &database)] {
                assert!(
                    !text.contains(&spelling),
                    "{canary} is in the {place} as {spelling}"
                );
            }
        }
    }
}
