//! Runs: how long they take beside a C client that dumps the same attributes of the same directory, what memory
//! they need, and whether logins notice them. See docs/performance.md.
//!
//! `cargo bench -p system-tests --bench runs` measures with 100,000 people in a few minutes; `-- --million` with
//! a million as well. What is compared is measured in turns, since other work on the machine changes the figures.

#![allow(clippy::print_stdout)]

mod company;
mod import;
mod logins;
mod run;
mod unchanged;

use anyhow::Result;
use rollcall_testkit::Postgres;
use system_tests::Backend;
use system_tests::bench::{build_release, table};

use crate::company::Company;

const SMALL: usize = 100_000;
const LARGE: usize = 1_000_000;

/// The stores that Rollcall runs on.
const STORES: [Store; 2] = [Store::Postgres, Store::Sqlite];

#[derive(Clone, Copy)]
enum Store {
    Postgres,
    Sqlite,
}

impl Store {
    fn name(self) -> &'static str {
        match self {
            Store::Postgres => "PostgreSQL",
            Store::Sqlite => "SQLite",
        }
    }

    /// An empty store; every commit is on the disk when it is answered. The cluster ends with the value.
    async fn create(self) -> Result<(Backend, Option<Postgres>)> {
        match self {
            Store::Sqlite => Ok((Backend::Sqlite, None)),
            Store::Postgres => {
                let cluster = tokio::task::spawn_blocking(Postgres::start_durable).await??;
                cluster.sql("postgres", "create database rollcall")?;
                Ok((Backend::Given(cluster.url("rollcall")), Some(cluster)))
            }
        }
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let million = std::env::args().any(|argument| argument == "--million");
    build_release()?;
    println!("{}", machine()?);
    let sizes = if million { vec![SMALL, LARGE] } else { vec![SMALL] };
    for people in sizes {
        let company = Company::start(people).await?;
        let mut imports = Vec::new();
        let mut nights = Vec::new();
        for store in STORES {
            let (backend, _cluster) = store.create().await?;
            let mut system = company.connect(backend).await?;
            imports.push(import::measure(store.name(), &company, &system).await?);
            nights.push(unchanged::measure(store.name(), &company, &mut system).await?);
        }
        println!(
            "First import of {people} people\n{}",
            table(&import::HEADER, &imports)
        );
        println!(
            "Full run, nothing changed, {people} people\n{}",
            table(&unchanged::HEADER, &nights)
        );
    }
    let company = Company::start(SMALL).await?;
    let mut beside = Vec::new();
    for store in STORES {
        let (backend, _cluster) = store.create().await?;
        let system = company.connect(backend).await?;
        beside.push(logins::measure(store.name(), &company, &system).await?);
    }
    println!(
        "Logins during an import of {SMALL} people and without it, {} a second\n{}",
        logins::PER_SECOND,
        table(&logins::HEADER, &beside)
    );
    println!("{}", machine()?);
    Ok(())
}

fn machine() -> Result<String> {
    let load = std::fs::read_to_string("/proc/loadavg")?;
    let load: Vec<&str> = load.split(' ').take(3).collect();
    let cores = std::thread::available_parallelism()?;
    Ok(format!("{cores} cores, load {}\n", load.join(" ")))
}
