//! What a login costs with everything on, next to a C client that does search and bind on the same slapd in the
//! same run. See `docs/performance.md`. `-- --chart FILE` draws the logins a second too.
#![allow(clippy::print_stdout, missing_docs)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rollcall_proto::v1;
use rollcall_testkit::{Postgres, Slapd, TestCa};
use system_tests::bench::{build_release, cpu_by_program, median, percentile, table};
use system_tests::chart::{Chart, Series};
use system_tests::load::{Crowd, Until, log_in, log_in_until};
use system_tests::{Backend, System};

const PEOPLE: usize = 10_000;
const CALLERS: [usize; 3] = [1, 8, 32];
const ROUNDS: usize = 5;
/// So that all rounds of one row have 10,000 logins, which a 99th percentile takes.
const ROUND: Duration = Duration::from_millis(3500);
/// Whose CPU time is told: what [`cpu_by_program`] calls them, and the table.
const PROGRAMS: [(&str, &str); 5] = [
    ("auth-gateway", "gateway µs"),
    ("sync-worker", "worker µs"),
    ("postgres", "database µs"),
    ("slapd", "slapd µs"),
    ("callers", "callers µs"),
];

/// Sets the last login of everybody back by a day, so that the next login of each is the first of an hour and is noted.
const A_DAY_LATER: &str = "UPDATE last_logins SET time = time - 86400000000 WHERE time > 0";

/// Whose logins a round measures.
#[derive(Clone, Copy)]
enum Logins {
    /// Of people who logged in within the hour, most of them.
    Repeated,
    /// Each is the user's first of the hour, so that the time of the last login is written too: as in the morning.
    First,
}

/// What one round says.
struct Round {
    rate: f64,
    /// For one login, in microseconds, as [`PROGRAMS`]; the C client's own is not known.
    cpu: [f64; PROGRAMS.len()],
    median: f64,
    /// Empty of the C client, which tells its own 99th percentile.
    latencies: Vec<Duration>,
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
    let slapd = Crowd::directory(PEOPLE, &ca)?;
    let limit = Limit::compile(files.path(), &ca, &slapd)?;
    let stores = [
        ("SQLite", Backend::Sqlite),
        ("PostgreSQL", Backend::Given(postgres.url("rollcall"))),
    ];
    let mut systems = Vec::new();
    for (name, backend) in stores {
        systems.push((name, runtime.block_on(system(backend, &slapd, &ca))?));
    }
    let measured: Vec<(String, &System, &Crowd, Logins)> = systems
        .iter()
        .flat_map(|(name, (system, crowd))| {
            let first = format!("{name}, first of the hour");
            [
                ((*name).to_owned(), system, crowd, Logins::Repeated),
                (first, system, crowd, Logins::First),
            ]
        })
        .collect();
    let mut rows = Vec::new();
    let mut drawn: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    for callers in CALLERS {
        let mut of_limit = Vec::new();
        let mut of_systems: Vec<Vec<Round>> = measured.iter().map(|_| Vec::new()).collect();
        for _ in 0..ROUNDS {
            of_limit.push(limit.run(callers)?);
            for ((_, system, crowd, logins), rounds) in measured.iter().zip(&mut of_systems) {
                if matches!(logins, Logins::First) {
                    make_a_day_pass(system, &postgres)?;
                }
                rounds.push(runtime.block_on(round(system, crowd, callers, *logins))?);
            }
        }
        rows.push(row(callers, "C client", &of_limit, None));
        drawn
            .entry("C client".to_owned())
            .or_default()
            .push(point(callers, &of_limit));
        for ((name, ..), rounds) in measured.iter().zip(&of_systems) {
            rows.push(row(callers, name, rounds, Some(&of_limit)));
            drawn
                .entry(name.clone())
                .or_default()
                .push(point(callers, rounds));
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
        "median ms",
        "over C client",
        "p99 ms",
    ];
    let header: Vec<&str> = header
        .into_iter()
        .chain(PROGRAMS.map(|(_, title)| title))
        .collect();
    println!("{}", table(&header, &rows));
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|argument| argument == "--chart") {
        let file = arguments.get(at + 1).context("--chart FILE")?;
        let series: Vec<Series> = drawn
            .into_iter()
            .map(|(name, points)| Series { name, points })
            .collect();
        let chart = Chart {
            title: "Logins a second",
            x: "callers at a time",
            y: "logins a second",
        };
        chart.write(Path::new(file), &series)?;
    }
    Ok(())
}

/// How many logins a second so many callers get, the median of the rounds.
#[expect(clippy::cast_precision_loss, reason = "a count of callers")]
fn point(callers: usize, rounds: &[Round]) -> (f64, f64) {
    let rates: Vec<f64> = rounds.iter().map(|round| round.rate).collect();
    (callers as f64, median(&rates))
}

/// Both services as shipped, with everybody synced, and warm.
async fn system(backend: Backend, slapd: &Slapd, ca: &TestCa) -> Result<(System, Crowd)> {
    let system = System::start_as_shipped(backend, &[slapd.tls_address().port()]).await?;
    let tenant = system.connect("acme", slapd, ca, Crowd::PEOPLE_DN).await?;
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

/// For all who have logged in so far.
fn make_a_day_pass(system: &System, postgres: &Postgres) -> Result<()> {
    let file = system.files.path().join("rollcall.db");
    if !file.exists() {
        postgres.sql("rollcall", A_DAY_LATER)?;
        return Ok(());
    }
    let script = "import sqlite3, sys; d = sqlite3.connect(sys.argv[1], timeout=10); d.execute(sys.argv[2]); d.commit()";
    let python = Command::new("/usr/bin/python3")
        .args(["-I", "-c", script])
        .arg(file)
        .arg(A_DAY_LATER)
        .status()?;
    ensure!(python.success(), "the last logins cannot be set back");
    Ok(())
}

async fn round(system: &System, crowd: &Crowd, callers: usize, logins: Logins) -> Result<Round> {
    let before = cpu_by_program()?;
    let until = match logins {
        Logins::Repeated => Until::After(ROUND),
        Logins::First => Until::Once(ROUND),
    };
    let mut measured = log_in_until(&system.gateway, std::slice::from_ref(crowd), callers, until).await?;
    let mut cpu = cpu_between(&before, &cpu_by_program()?, measured.logins);
    // There is a gateway for each store.
    cpu[0] = measured.cpu_per_login();
    Ok(Round {
        rate: measured.rate(),
        cpu,
        median: milliseconds(measured.latency(0.5)),
        p99: milliseconds(measured.latency(0.99)),
        latencies: measured.latencies,
    })
}

/// CPU time for one login.
#[expect(clippy::cast_precision_loss, reason = "a count of logins")]
fn cpu_between(
    before: &BTreeMap<String, Duration>,
    after: &BTreeMap<String, Duration>,
    logins: usize,
) -> [f64; PROGRAMS.len()] {
    PROGRAMS.map(|(program, _)| {
        let at = |times: &BTreeMap<String, Duration>| times.get(program).copied().unwrap_or_default();
        at(after).saturating_sub(at(before)).as_secs_f64() * 1e6 / logins.max(1) as f64
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
        let before = cpu_by_program()?;
        let output = Command::new(&self.program)
            .arg(self.slapd.tls_url())
            .arg(&self.ca_file)
            .args([&self.slapd.service_dn(), Crowd::PEOPLE_DN])
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
        let mut cpu = cpu_between(&before, &cpu_by_program()?, usize::try_from(logins)?);
        // Nobody calls but the client.
        cpu[PROGRAMS.len() - 1] = 0.0;
        Ok(Round {
            rate: logins as f64 * 1e9 / time as f64,
            cpu,
            median: median as f64 / 1e6,
            latencies: Vec::new(),
            p99: p99 as f64 / 1e6,
        })
    }
}

/// Medians of the rounds, and of the ratios to the C client's round before each; the 99th percentile is of all logins of all
/// rounds.
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
    cells.push(format!("{:.2}", of(|round| round.median)));
    cells.push(cell(added, |added| format!("{added:+.2}")));
    let mut all: Vec<Duration> = rounds.iter().flat_map(|round| round.latencies.clone()).collect();
    cells.push(match all.is_empty() {
        true => format!("{:.2}", of(|round| round.p99)),
        false => format!("{:.2}", milliseconds(percentile(&mut all, 0.99))),
    });
    for index in 0..PROGRAMS.len() {
        let times: Vec<f64> = rounds.iter().map(|round| round.cpu[index]).collect();
        let time = median(&times);
        cells.push(if time > 0.0 {
            format!("{time:.0}")
        } else {
            String::new()
        });
    }
    cells
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
