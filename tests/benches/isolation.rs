//! Whether tenants notice that the directory of another hangs and that of a third is slow. See `docs/performance.md`.
//!
//! 24 callers log people of four tenants in, alone or beside 8 more who do the same for two other tenants. The
//! directories of these work in some rounds and are disturbed in others: one is frozen, which to the gateway looks
//! like a black hole, and one answers half a second late. What is compared is the four tenants' 99th percentile: with
//! that of the rounds alone, since callers who get no answer leave the machine to the others.
#![allow(clippy::print_stdout, missing_docs)]

use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Result, ensure};
use rollcall_proto::v1;
use rollcall_testkit::{Ldif, Postgres, Proxy, Slapd, TestCa, wait_for};
use system_tests::bench::{build_release, median, table};
use system_tests::load::{Crowd, Measured, keep_trying, log_in};
use system_tests::{Backend, System, directory_of, sync_of};

const BASE: &str = "dc=rollcall,dc=test";
const PEOPLE: usize = 2_000;
const CALLERS: usize = 24;
const CALLERS_OF_DISTURBED: usize = 4;
const LATE: Duration = Duration::from_millis(500);
const ROUNDS: usize = 15;
const ROUND: Duration = Duration::from_secs(4);
const RECOVERY_LIMIT: Duration = Duration::from_secs(120);

/// The tenants, and what can be done to the directories of two.
struct Deployment {
    system: System,
    others: Vec<Crowd>,
    frozen: (Slapd, Crowd),
    slow: (Proxy, Crowd),
    _servers: Vec<Slapd>,
}

/// What the two tenants do meanwhile.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Beside {
    /// Nobody of theirs logs in.
    Nobody,
    /// Their people log in.
    Working,
    /// Their people try to.
    Disturbed,
}

/// In this order, then in the opposite one, so that what grows over time falls on all alike.
const ORDER: [Beside; 3] = [Beside::Nobody, Beside::Working, Beside::Disturbed];

#[tokio::main]
async fn main() -> Result<()> {
    build_release()?;
    let postgres = tokio::task::spawn_blocking(Postgres::start_durable).await??;
    postgres.sql("postgres", "create database rollcall")?;
    let stores = [
        ("SQLite", Backend::Sqlite),
        ("PostgreSQL", Backend::Given(postgres.url("rollcall"))),
    ];
    let mut rows = Vec::new();
    for (name, backend) in stores {
        let mut deployment = Deployment::start(backend).await?;
        rows.extend(deployment.measure(name).await?);
    }
    println!(
        "\n{CALLERS} callers of four tenants; medians of {ROUNDS} rounds of {} s each, in turns; {} cores\n",
        ROUND.as_secs(),
        std::thread::available_parallelism()?
    );
    let header = [
        "store",
        "the two others",
        "logins/s",
        "median ms",
        "p99 ms",
        "p99 of alone",
    ];
    println!("{}", table(&header, &rows));
    Ok(())
}

impl Deployment {
    async fn start(backend: Backend) -> Result<Self> {
        let ca = TestCa::new()?;
        let mut servers = Vec::new();
        for _ in 0..6 {
            servers.push(company(&ca).await?);
        }
        let line = Proxy::start(servers[5].tls_address()).await?;
        let mut ports: Vec<u16> = servers.iter().map(|server| server.tls_address().port()).collect();
        ports.push(line.address().port());
        let system = System::start_as_shipped(backend, &ports).await?;
        let mut crowds = Vec::new();
        for (number, server) in servers.iter().enumerate() {
            let tenant = format!("tenants/t{number}");
            let mut directory = directory_of(server, &ca);
            if number == 5 {
                directory.hosts = vec![format!("ldaps://{}", line.address())];
            }
            let sync = sync_of(&format!("{tenant}/directories/hq"), &people_dn());
            system.connect_with(&tenant, directory, sync).await?;
            let run = system
                .run(&format!("{tenant}/userSyncs/staff"), v1::SyncRunMode::Apply)
                .await?;
            ensure!(
                run.state() == v1::SyncRunState::Succeeded,
                "the run ended {:?}",
                run.state()
            );
            crowds.push(Crowd {
                tenant,
                people: PEOPLE,
            });
        }
        let others = crowds.drain(..4).collect();
        let (slow, frozen) = (crowds.pop(), crowds.pop());
        let (Some(slow), Some(frozen)) = (slow, frozen) else {
            anyhow::bail!("there are six tenants");
        };
        let frozen_server = servers.remove(4);
        Ok(Self {
            system,
            others,
            frozen: (frozen_server, frozen),
            slow: (line, slow),
            _servers: servers,
        })
    }

    /// A row for each of [`ORDER`].
    async fn measure(&mut self, store: &str) -> Result<Vec<Vec<String>>> {
        let mut rounds = ORDER.map(|beside| (beside, Vec::new()));
        for number in 0..ROUNDS {
            for turn in 0..ORDER.len() {
                let index = match number % 2 {
                    0 => turn,
                    _ => ORDER.len() - 1 - turn,
                };
                let (beside, measured) = &mut rounds[index];
                let mut round = self.round(*beside).await?;
                measured.push([
                    round.rate(),
                    milliseconds(round.latency(0.5)),
                    milliseconds(round.latency(0.99)),
                ]);
            }
        }
        let of = |measured: &[[f64; 3]], column: usize| {
            median(&measured.iter().map(|round| round[column]).collect::<Vec<_>>())
        };
        let alone = of(&rounds[0].1, 2);
        let row = |(beside, measured): &(Beside, Vec<[f64; 3]>)| {
            let what = match beside {
                Beside::Nobody => "silent",
                Beside::Working => "working",
                Beside::Disturbed => "disturbed",
            };
            let mut cells = vec![store.to_owned(), what.to_owned()];
            cells.extend((0..3).map(|column| format!("{:.2}", of(measured, column))));
            cells.push(format!("{:.2}", of(measured, 2) / alone));
            cells
        };
        Ok(rounds.iter().map(row).collect())
    }

    async fn round(&mut self, beside: Beside) -> Result<Measured> {
        if beside == Beside::Disturbed {
            self.frozen.0.pause()?;
            self.slow.0.delay_answers(LATE);
        }
        let gateway = &self.system.gateway;
        let mut trying = Vec::new();
        if beside != Beside::Nobody {
            for crowd in [&self.frozen.1, &self.slow.1] {
                trying.push(keep_trying(gateway, crowd, CALLERS_OF_DISTURBED).await?);
            }
        }
        // Without the moment in which what was under way ends.
        tokio::time::sleep(ROUND / 4).await;
        let measured = log_in(gateway, &self.others, CALLERS, ROUND).await;
        drop(trying);
        self.slow.0.delay_answers(Duration::ZERO);
        if beside == Beside::Disturbed {
            self.frozen.0.resume()?;
            self.recovered().await?;
        }
        measured
    }

    /// Waits until the two tenants' people can log in again.
    async fn recovered(&self) -> Result<()> {
        for crowd in [&self.frozen.1, &self.slow.1] {
            let next = std::sync::atomic::AtomicUsize::new(0);
            let logs_in = async || {
                // Somebody else each time: whose bind had no answer may be locked here.
                let person = next.fetch_add(37, Ordering::Relaxed) % crowd.people;
                let Ok(mut client) = self.system.auth().await else {
                    return false;
                };
                let answer = client.authenticate(crowd.request(person)).await;
                let outcome = answer.ok().and_then(|answer| answer.into_inner().outcome);
                matches!(
                    outcome,
                    Some(v1::authenticate_response::Outcome::Authenticated(_))
                )
            };
            wait_for("the tenant to be served again", RECOVERY_LIMIT, logs_in).await?;
        }
        Ok(())
    }
}

async fn company(ca: &TestCa) -> Result<Slapd> {
    let certificate = ca.loopback_server()?;
    let start = move || {
        let mut ldif = Ldif::new();
        ldif.entry(&people_dn())
            .attribute("objectClass", "organizationalUnit")
            .attribute("ou", "People");
        Slapd::builder()
            .base_dn(BASE)
            .certificate(certificate)
            .ldif(ldif.as_str())
            .ldif(&Crowd::ldif(PEOPLE, &people_dn()))
            .quiet()
            .start()
    };
    tokio::task::spawn_blocking(start).await?
}

fn people_dn() -> String {
    format!("ou=People,{BASE}")
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
