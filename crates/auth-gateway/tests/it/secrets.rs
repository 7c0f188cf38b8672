//! Canaries: passwords that are sent every way there is, and must be found nowhere.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rollcall_proto::v1::auth_service_client::AuthServiceClient;
use rollcall_testkit::Slapd;
use tonic::transport::Channel;

use crate::world::{KEYRING, PASSWORD, World, request};

const GUESS: &str = "canary-guess-8d1f";
const TYPED_AS_LOGIN: &str = "canary-typed-as-login-77aa";

struct Gateway {
    child: Child,
    log: std::thread::JoinHandle<String>,
    channel: Channel,
}

/// The real binary, with everything that it can be made to log.
async fn gateway(world: &World) -> Gateway {
    let port = world.slapd.tls_address().port();
    let settings = [
        "server.listen=127.0.0.1:0".to_owned(),
        "telemetry.filter=trace".to_owned(),
        "telemetry.format=json".to_owned(),
        format!("store.url={}", world.url),
        "egress.allow_cidrs=[\"127.0.0.0/8\"]".to_owned(),
        format!("egress.allow_ports=[{port}]"),
        "login.timeout=1500ms".to_owned(),
    ];
    let mut child = Command::new(env!("CARGO_BIN_EXE_auth-gateway"))
        .args(settings.iter().flat_map(|setting| ["--set", setting]))
        .env("AUTH_GATEWAY__KEYRING__KEY", KEYRING)
        .env("RUST_BACKTRACE", "1")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let (found, address) = mpsc::channel();
    let log = std::thread::spawn(move || {
        let mut all = String::new();
        let mut line = String::new();
        while lines.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
            if let Some((_, rest)) = line.split_once("\"server.address\":\"") {
                _ = found.send(rest.split('"').next().unwrap_or_default().to_owned());
            }
            all.push_str(&std::mem::take(&mut line));
        }
        _ = lines.read_to_string(&mut all);
        all
    });
    let address = address.recv_timeout(Duration::from_secs(30)).unwrap();
    let channel = Channel::from_shared(format!("http://{address}"))
        .unwrap()
        .connect()
        .await
        .unwrap();
    Gateway { child, log, channel }
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_are_found_nowhere() {
    let mut world = World::without_gateway(Slapd::builder()).await;
    let mut gateway = gateway(&world).await;
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
    world.slapd.pause().unwrap();
    send("bob", PASSWORD).await;
    world.slapd.resume().unwrap();
    world.slapd.stop();
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
    let service_password = world.slapd.service_password();
    for canary in [PASSWORD, GUESS, TYPED_AS_LOGIN, service_password] {
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
