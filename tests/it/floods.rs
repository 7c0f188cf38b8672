//! Whoever holds places and says nothing: both services go on for those who have something to ask.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rollcall_proto::v1;
use rollcall_proto::v1::SyncRunMode;
use rollcall_proto::v1::auth_service_client::AuthServiceClient;
use rollcall_proto::v1::authenticate_response::Outcome;
use rollcall_proto::v1::tenant_service_client::TenantServiceClient;
use system_tests::bench::Usage;
use system_tests::{Backend, Service, System};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::company::{BASE, company};

const SILENT: usize = 10_000;
const WATCHERS: usize = 1_000;
/// Connections that are begun at a time: more would wait for the listen queue.
const AT_ONCE: usize = 100;
const PATIENCE: Duration = Duration::from_secs(60);
const PASSWORD: &str = "countess of lovelace";

/// How many files and connections this process and those that it starts may have open each.
fn descriptors() -> Result<usize> {
    let limits = std::fs::read_to_string("/proc/self/limits")?;
    let line = limits.lines().find(|line| line.starts_with("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().nth(3));
    Ok(soft.context("no limit")?.parse().unwrap_or(usize::MAX))
}

/// Connects so often and says nothing. Those that the server ended in the meantime count too.
async fn silent(address: String, connections: usize) -> Result<Vec<TcpStream>> {
    let mut held = Vec::new();
    while held.len() < connections {
        let mut connecting = JoinSet::new();
        for _ in 0..AT_ONCE.min(connections - held.len()) {
            connecting.spawn(TcpStream::connect(address.clone()));
        }
        while let Some(stream) = connecting.join_next().await {
            held.push(stream?.context("cannot connect; too few descriptors?")?);
        }
    }
    Ok(held)
}

/// A login as of a service that has just been started, and its answer.
async fn login(gateway: &Service) -> Result<()> {
    let request = v1::AuthenticateRequest {
        tenant: "tenants/acme".to_owned(),
        login: "ada".to_owned(),
        password: PASSWORD.to_owned(),
        ..v1::AuthenticateRequest::default()
    };
    let mut client = AuthServiceClient::new(gateway.channel().await?);
    let answer = client.authenticate(request).await?.into_inner();
    let is_in = matches!(answer.outcome, Some(Outcome::Authenticated(_)));
    ensure!(is_in, "{:?}", answer.outcome);
    Ok(())
}

async fn ask(worker: &Service) -> Result<()> {
    let request = v1::GetTenantRequest {
        name: "tenants/acme".to_owned(),
    };
    let mut client = TenantServiceClient::new(worker.channel().await?);
    client.get_tenant(request).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_silent_connections_and_a_thousand_watchers_keep_nobody_from_logging_in() -> Result<()> {
    let (ca, slapd) = company(&[("ada", "ada@example.test", PASSWORD)]).await?;
    let system = System::start(Backend::Sqlite, &[slapd.tls_address().port()]).await?;
    let tenant = system.connect("acme", &slapd, &ca, BASE).await?;
    system
        .run(&format!("{tenant}/userSyncs/staff"), SyncRunMode::Apply)
        .await?;
    let many = SILENT.min(descriptors()? / 2);
    login(&system.gateway).await?;
    let memory = |service: &Service| Ok::<_, anyhow::Error>(Usage::of(service.pid())?.resident);
    let before = (memory(&system.gateway)?, memory(&system.worker)?);

    let mut flood = JoinSet::new();
    flood.spawn(silent(system.gateway.address().to_owned(), many));
    flood.spawn(silent(system.worker.address().to_owned(), many / 2));
    let watching = system.users().await?;
    let mut streams = JoinSet::new();
    for _ in 0..WATCHERS {
        let mut client = watching.clone();
        streams.spawn(async move {
            let watch = v1::WatchUserEventsRequest {
                parent: "tenants/acme".to_owned(),
                ..v1::WatchUserEventsRequest::default()
            };
            client
                .watch_user_events(watch)
                .await
                .map(tonic::Response::into_inner)
        });
    }
    // On a connection of its own each time, which needs a place among them.
    let (mut held, mut logins) = (Vec::new(), 0);
    let all = async {
        while held.len() < 2 || logins < 50 {
            login(&system.gateway).await?;
            ask(&system.worker).await?;
            logins += 1;
            while let Some(connected) = flood.try_join_next() {
                held.push(connected??);
            }
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(PATIENCE * 2, all).await??;
    let connected: usize = held.iter().map(Vec::len).sum();
    assert_eq!(connected, many + many / 2);
    // All of them are there, and a hundred streams; and whoever comes now is served too.
    let streams = streams.join_all().await;
    assert!(streams.iter().filter(|stream| stream.is_ok()).count() >= 100);
    for _ in 0..20 {
        tokio::time::timeout(PATIENCE, login(&system.gateway)).await??;
        tokio::time::timeout(PATIENCE, ask(&system.worker)).await??;
    }
    let grown = [
        memory(&system.gateway)?.saturating_sub(before.0),
        memory(&system.worker)?.saturating_sub(before.1),
    ];
    eprintln!(
        "{logins} logins during the flood; {} and {} MiB more",
        grown[0] >> 20,
        grown[1] >> 20
    );
    assert!(grown.iter().all(|grown| *grown < 150 << 20), "{grown:?}");
    Ok(())
}
