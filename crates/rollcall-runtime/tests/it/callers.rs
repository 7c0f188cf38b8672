//! Who gets in.

use rcgen::SanType;
use tonic::Code;
use tonic::transport::{Channel, ClientTlsConfig};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt;

use crate::certificates::Authority;
use crate::probe_service::{SERVICE, call, send};
use crate::running::{PATIENCE, Running};

pub(crate) const TOKEN: &str = "correct horse";

pub(crate) fn token_caller(quota: &str) -> String {
    caller_with_token("frontend", TOKEN, quota)
}

pub(crate) fn caller_with_token(name: &str, token: &str, quota: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, token.as_bytes());
    let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "[[callers]]\nname = \"{name}\"\ntoken_sha256 = \"{hex}\"\npermissions = [\"users.read\"]\n\
         tenants = [\"*\"]\n{quota}\n"
    )
}

fn certificate_caller(name: &str, certificate_name: &str) -> String {
    format!(
        "[[callers]]\nname = \"{name}\"\ncertificate_name = \"{certificate_name}\"\n\
         permissions = [\"users.read\"]\ntenants = [\"*\"]\n"
    )
}

pub(crate) fn code<T>(answer: Result<T, tonic::Status>) -> Code {
    answer.err().map_or(Code::Ok, |status| status.code())
}

#[tokio::test]
async fn without_callers_a_local_process_may_do_everything() {
    let server = Running::start("").await;
    let channel = server.connect().await;
    assert_eq!(call(&channel, "WhoAmI", None).await.unwrap(), "local");
}

#[tokio::test]
async fn a_token_names_its_caller_and_reaches_no_handler() {
    let server = Running::start(&token_caller("")).await;
    let channel = server.connect().await;
    assert_eq!(call(&channel, "WhoAmI", Some(TOKEN)).await.unwrap(), "frontend");
    assert_eq!(
        call(&channel, "SeesAuthorization", Some(TOKEN)).await.unwrap(),
        "false"
    );
    for stranger in [None, Some("wrong"), Some("")] {
        let status = call(&channel, "WhoAmI", stranger).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated, "{stranger:?}");
        assert_eq!(
            status.get_details_error_info().unwrap().reason,
            "CALLER_UNAUTHENTICATED"
        );
    }
}

#[tokio::test]
async fn health_answers_strangers() {
    let server = Running::start(&token_caller("")).await;
    let request = HealthCheckRequest {
        service: SERVICE.to_owned(),
    };
    HealthClient::new(server.connect().await)
        .check(request)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_used_up_quota_says_when_to_come_back() {
    let server = Running::start(&token_caller("requests_per_second = 1\nburst = 2")).await;
    let channel = server.connect().await;
    let mut refused = None;
    for _ in 0..4 {
        refused = refused.or(call(&channel, "WhoAmI", Some(TOKEN)).await.err());
    }
    let status = refused.unwrap();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(
        status
            .get_details_retry_info()
            .unwrap()
            .retry_delay
            .unwrap()
            .as_secs_f64()
            <= 1.0
    );
}

pub(crate) async fn over_tls(
    server: &Running,
    tls: ClientTlsConfig,
) -> Result<Channel, tonic::transport::Error> {
    server.endpoint("https").tls_config(tls)?.connect().await
}

#[tokio::test]
async fn a_client_certificate_names_its_caller() {
    let authority = Authority::new();
    let config = certificate_caller("dns", "web.example")
        + &certificate_caller("spiffe", "spiffe://example/web")
        + &certificate_caller("common", "Web Frontend")
        + &authority.server_section()
        + &authority.client_ca_line();
    let server = Running::start(&config).await;
    let dns = |name: &str| SanType::DnsName(name.try_into().unwrap());
    let uri = |name: &str| SanType::URI(name.try_into().unwrap());
    let cases = [
        (
            authority.issue("x", vec![dns("other.example"), dns("web.example")]),
            Some("dns"),
        ),
        (
            authority.issue("x", vec![uri("spiffe://example/web")]),
            Some("spiffe"),
        ),
        (authority.issue("Web Frontend", vec![]), Some("common")),
        // The common name does not count beside other names.
        (authority.issue("Web Frontend", vec![dns("other.example")]), None),
        (authority.issue("other", vec![]), None),
    ];
    for (identity, expected) in cases {
        let channel = over_tls(&server, authority.client_with(identity)).await.unwrap();
        let answer = call(&channel, "WhoAmI", None).await;
        match expected {
            Some(name) => assert_eq!(answer.unwrap(), name),
            None => assert_eq!(code(answer), Code::Unauthenticated),
        }
    }
}

#[tokio::test]
async fn a_certificate_of_a_strange_authority_is_worth_nothing() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let config =
        certificate_caller("common", "web") + &authority.server_section() + &authority.client_ca_line();
    let server = Running::start(&config).await;
    for tls in [
        authority.client(),
        authority.client_with(stranger.issue("web", vec![])),
    ] {
        // In TLS 1.3 the client learns of the refusal only when it reads.
        if let Ok(channel) = over_tls(&server, tls).await {
            assert_ne!(code(call(&channel, "WhoAmI", None).await), Code::Ok);
        }
    }
    let good = over_tls(&server, authority.client_with(authority.issue("web", vec![])))
        .await
        .unwrap();
    assert_eq!(call(&good, "WhoAmI", None).await.unwrap(), "common");
}

#[tokio::test]
async fn tokens_and_certificates_work_side_by_side() {
    let authority = Authority::new();
    let config = token_caller("")
        + &certificate_caller("common", "web")
        + &authority.server_section()
        + &authority.client_ca_line();
    let server = Running::start(&config).await;
    let plain = over_tls(&server, authority.client()).await.unwrap();
    assert_eq!(call(&plain, "WhoAmI", Some(TOKEN)).await.unwrap(), "frontend");
    assert_eq!(code(call(&plain, "WhoAmI", None).await), Code::Unauthenticated);
    let shown = authority.client_with(authority.issue("web", vec![]));
    assert_eq!(
        call(&over_tls(&server, shown).await.unwrap(), "WhoAmI", None)
            .await
            .unwrap(),
        "common"
    );
}

#[tokio::test]
async fn a_silent_client_does_not_stop_others_from_their_handshake() {
    let authority = Authority::new();
    let server = Running::start(&(authority.server_section() + "handshake_timeout = \"1m\"\n")).await;
    let _silent = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let connecting = over_tls(&server, authority.client());
    let channel = tokio::time::timeout(PATIENCE, connecting).await.unwrap().unwrap();
    assert_eq!(call(&channel, "WhoAmI", None).await.unwrap(), "local");
}

#[tokio::test]
async fn a_request_keeps_its_id_or_gets_one() {
    let server = Running::start("").await;
    let channel = server.connect().await;
    let id_of = async |given: Option<&str>| {
        let mut request = tonic::Request::new(String::new());
        if let Some(id) = given {
            request.metadata_mut().insert("x-request-id", id.parse().unwrap());
        }
        let response = send(&channel, "RequestId", request).await.unwrap();
        let header = response
            .metadata()
            .get("x-request-id")
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        assert_eq!(header, *response.get_ref());
        header
    };
    assert_eq!(id_of(Some("abc-123")).await, "abc-123");
    let (one, two) = (id_of(None).await, id_of(None).await);
    assert_ne!(one, two);
    assert_ne!(id_of(Some(&"x".repeat(65))).await, "x".repeat(65));
    assert_ne!(id_of(Some("with space")).await, "with space");
}
