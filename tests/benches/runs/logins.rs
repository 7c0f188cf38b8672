//! Logins while a big run is applied to the same store, and the same logins without it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rollcall_proto::v1;
use rollcall_proto::v1::auth_service_client::AuthServiceClient;
use rollcall_proto::v1::authenticate_response::Outcome;
use system_tests::System;
use system_tests::bench::percentile;
use tokio::sync::Notify;
use tonic::transport::Channel;

use crate::company::{Company, PASSWORD, uid};
use crate::run::watched;

/// Logins begin at this rate however long the ones before take, so that a stall is seen by all that it meets.
pub(crate) const PER_SECOND: u32 = 50;
/// Imports, each of another tenant, with as many quiet times before them.
const ROUNDS: usize = 2;
const QUIET: Duration = Duration::from_secs(10);

pub(crate) const HEADER: [&str; 8] = [
    "store",
    "quiet p50 ms",
    "p99",
    "max",
    "import p50 ms",
    "p99",
    "max",
    "p99 ratio",
];

/// The tenant `acme` logs in while others are imported.
pub(crate) async fn measure(store: &str, company: &Company, system: &System) -> Result<Vec<String>> {
    watched(system, "tenants/acme").await?;
    let client = system.auth().await?;
    let (mut quiet, mut busy) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let stop = Arc::new(Notify::new());
        let logins = tokio::spawn(login_until(client.clone(), company.people, stop.clone()));
        tokio::time::sleep(QUIET).await;
        stop.notify_one();
        quiet.extend(logins.await??);

        let tenant = format!("tenants/other{round}");
        company.add_tenant(system, &tenant).await?;
        let logins = tokio::spawn(login_until(client.clone(), company.people, stop.clone()));
        watched(system, &tenant).await?;
        stop.notify_one();
        busy.extend(logins.await??);
    }
    let ratio = percentile(&mut busy, 0.99).as_secs_f64() / percentile(&mut quiet, 0.99).as_secs_f64();
    let cells = [&mut quiet, &mut busy]
        .into_iter()
        .flat_map(|times| [0.5, 0.99, 1.0].map(|share| percentile(times, share)));
    let mut row = vec![store.to_owned()];
    row.extend(cells.map(|time| format!("{:.1}", time.as_secs_f64() * 1000.0)));
    row.push(format!("{ratio:.2}"));
    Ok(row)
}

/// How long each login took, the waiting for its turn included.
async fn login_until(
    client: AuthServiceClient<Channel>,
    people: usize,
    stop: Arc<Notify>,
) -> Result<Vec<Duration>> {
    let mut beat = tokio::time::interval(Duration::from_secs(1) / PER_SECOND);
    let mut running = tokio::task::JoinSet::new();
    let mut number = 0;
    loop {
        tokio::select! {
            _ = stop.notified() => break,
            _ = beat.tick() => {}
        }
        // Spread over the people, so that no soft lock and no cache of one person is what is measured.
        number = (number + 7919) % people;
        running.spawn(login(client.clone(), uid(number)));
    }
    let mut times = Vec::new();
    while let Some(time) = running.join_next().await {
        times.push(time??);
    }
    Ok(times)
}

async fn login(mut client: AuthServiceClient<Channel>, login: String) -> Result<Duration> {
    let started = Instant::now();
    let request = v1::AuthenticateRequest {
        tenant: "tenants/acme".to_owned(),
        login,
        password: PASSWORD.to_owned(),
        ..v1::AuthenticateRequest::default()
    };
    let outcome = client.authenticate(request).await?.into_inner().outcome;
    let time = started.elapsed();
    let outcome = outcome.context("no outcome")?;
    ensure!(matches!(outcome, Outcome::Authenticated(_)), "a login was denied");
    Ok(time)
}
