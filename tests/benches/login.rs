//! What a login costs with everything on, next to a C client that does search and bind on the same slapd in the
//! same run. See `docs/performance.md`.
#![allow(clippy::print_stdout, missing_docs)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rollcall_proto::v1;
use rollcall_testkit::{Ldif, Postgres, Slapd, TestCa};
use system_tests::bench::{build_release, median, table};
use system_tests::load::{Crowd, log_in};
use system_tests::{Backend, System};

const BASE: &str = "dc=rollcall,dc=test";
const PEOPLE: usize = 10_000;
const CALLERS: [usize; 3] = [1, 8, 32];
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_millis(2500);

/// What one round says.
struct Round {
    rate: f64,
    cpu_per_login: f64,
    median: f64,
    p99: f64,
}

/// The C client, compiled.
struct Limit<'a> {
    program: PathBuf,
    ca_file: PathBuf,
    slapd: &'a Slapd,
}

fn main() -> Result<()> {
    build_release()?;
    let runtime = tokio::runtime::Runtime::new()?;
    let postgres = Postgres::start_durable()?;
    postgres.sql("postgres", "create database rollcall")?;
    let files = tempfile::tempdir()?;
    let ca = TestCa::new()?;
    let slapd = company(&ca)?;
    let limit = Limit::compile(files.path(), &ca, &slapd)?;
    let stores = [
        ("SQLite", Backend::Sqlite),
        ("PostgreSQL", Backend::Given(postgres.url("rollcall"))),
    ];
    let mut systems = Vec::new();
    for (name, backend) in stores {
        systems.push((name, runtime.block_on(system(backend, &slapd, &ca))?));
    }
    let mut rows = Vec::new();
    for callers in CALLERS {
        let mut of_limit = Vec::new();
        let mut of_systems: Vec<Vec<Round>> = systems.iter().map(|_| Vec::new()).collect();
        for _ in 0..ROUNDS {
            of_limit.push(limit.run(callers)?);
            for ((_, (system, crowd)), rounds) in systems.iter().zip(&mut of_systems) {
                rounds.push(runtime.block_on(round(system, crowd, callers))?);
            }
        }
        rows.push(row(callers, "C client", &of_limit, None));
        for ((name, _), rounds) in systems.iter().zip(&of_systems) {
            rows.push(row(callers, name, rounds, Some(&of_limit)));
        }
    }
    println!(
        "\n{PEOPLE} people, TLS to the directory; medians of {ROUNDS} rounds of {} ms, interleaved; {} cores\n",
        ROUND.as_millis(),
        std::thread::available_parallelism()?
    );
    let header = [
        "callers",
        "",
        "logins/s",
        "of C client",
        "gateway µs",
        "median ms",
        "over C client",
        "p99 ms",
    ];
    println!("{}", table(&header, &rows));
    Ok(())
}

fn company(ca: &TestCa) -> Result<Slapd> {
    let mut ldif = Ldif::new();
    ldif.entry(&people_dn())
        .attribute("objectClass", "organizationalUnit")
        .attribute("ou", "People");
    Slapd::builder()
        .base_dn(BASE)
        .certificate(ca.loopback_server()?)
        .ldif(ldif.as_str())
        .ldif(&Crowd::ldif(PEOPLE, &people_dn()))
        .quiet()
        .start()
}

fn people_dn() -> String {
    format!("ou=People,{BASE}")
}

/// Both services as shipped, with everybody synced, and warm.
async fn system(backend: Backend, slapd: &Slapd, ca: &TestCa) -> Result<(System, Crowd)> {
    let system = System::start_as_shipped(backend, &[slapd.tls_address().port()]).await?;
    let tenant = system.connect("acme", slapd, ca, &people_dn()).await?;
    let sync = format!("{tenant}/userSyncs/staff");
    let run = system.run(&sync, v1::SyncRunMode::Apply).await?;
    let people = PEOPLE;
    ensure!(
        run.state() == v1::SyncRunState::Succeeded,
        "the run ended {:?}",
        run.state()
    );
    let crowd = Crowd { tenant, people };
    log_in(&system.gateway, std::slice::from_ref(&crowd), 32, ROUND).await?;
    Ok((system, crowd))
}

async fn round(system: &System, crowd: &Crowd, callers: usize) -> Result<Round> {
    let mut measured = log_in(&system.gateway, std::slice::from_ref(crowd), callers, ROUND).await?;
    Ok(Round {
        rate: measured.rate(),
        cpu_per_login: measured.cpu_per_login(),
        median: milliseconds(measured.latency(0.5)),
        p99: milliseconds(measured.latency(0.99)),
    })
}

impl<'a> Limit<'a> {
    fn compile(files: &Path, ca: &TestCa, slapd: &'a Slapd) -> Result<Self> {
        ensure!(
            Path::new("/usr/include/ldap.h").exists(),
            "ldap.h is missing: apt-get install gcc libc6-dev libldap-dev"
        );
        let program = files.join("ldap_client");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/ldap_client.c");
        let mut gcc = Command::new("gcc");
        gcc.arg("-O2").arg("-o").arg(&program).arg(source);
        let status = gcc.args(["-lldap", "-llber", "-lpthread"]).status();
        let status = status.context("gcc is missing: apt-get install gcc libc6-dev libldap-dev")?;
        ensure!(status.success(), "the C client does not compile");
        let ca_file = files.join("ca.pem");
        std::fs::write(&ca_file, ca.pem())?;
        Ok(Self {
            program,
            ca_file,
            slapd,
        })
    }

    #[expect(clippy::cast_precision_loss, reason = "nanoseconds of a few seconds")]
    fn run(&self, callers: usize) -> Result<Round> {
        let output = Command::new(&self.program)
            .arg(self.slapd.tls_url())
            .arg(&self.ca_file)
            .args([&self.slapd.service_dn(), &people_dn()])
            .args([PEOPLE, callers].map(|number| number.to_string()))
            .arg(ROUND.as_millis().to_string())
            .env("SERVICE_PASSWORD", self.slapd.service_password())
            .output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        let numbers: Vec<u64> = said
            .split_whitespace()
            .filter_map(|number| number.parse().ok())
            .collect();
        let &[logins, time, median, p99] = numbers.as_slice() else {
            anyhow::bail!("the C client fails: {}", String::from_utf8_lossy(&output.stderr));
        };
        Ok(Round {
            rate: logins as f64 * 1e9 / time as f64,
            cpu_per_login: 0.0,
            median: median as f64 / 1e6,
            p99: p99 as f64 / 1e6,
        })
    }
}

/// Medians of the rounds, and of the ratios to the C client's round before each.
fn row(callers: usize, name: &str, rounds: &[Round], limit: Option<&[Round]>) -> Vec<String> {
    let of = |value: fn(&Round) -> f64| median(&rounds.iter().map(value).collect::<Vec<_>>());
    let mut cells = vec![
        callers.to_string(),
        name.to_owned(),
        format!("{:.0}", of(|round| round.rate)),
    ];
    let compared = |value: fn(&Round, &Round) -> f64| {
        let pairs = rounds.iter().zip(limit?);
        Some(median(
            &pairs
                .map(|(round, limit)| value(round, limit))
                .collect::<Vec<_>>(),
        ))
    };
    let cell = |value: Option<f64>, text: fn(f64) -> String| value.map_or_else(String::new, text);
    let ratio = compared(|round, limit| round.rate / limit.rate);
    let added = compared(|round, limit| round.median - limit.median);
    cells.push(cell(ratio, |ratio| format!("{ratio:.2}")));
    cells.push(cell(ratio.map(|_| of(|round| round.cpu_per_login)), |cpu| {
        format!("{cpu:.0}")
    }));
    cells.push(format!("{:.2}", of(|round| round.median)));
    cells.push(cell(added, |added| format!("{added:+.2}")));
    cells.push(format!("{:.2}", of(|round| round.p99)));
    cells
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
