//! What people, runs and logins take of the store: bytes of the database with its indexes, and of PostgreSQL's write-ahead log.
//! The inputs of `docs/capacity.md`. Sizes are the same in every build, so this also runs in a debug build.

#![allow(clippy::print_stdout, missing_docs)]

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rollcall_proto::v1;
use rollcall_testkit::{Postgres, Slapd, TestCa, wait_for};
use system_tests::bench::{build_release, table};
use system_tests::load::{Crowd, Until, log_in_until};
use system_tests::{Backend, System};

const PEOPLE: usize = 10_000;
const CALLERS: usize = 8;
/// Longest time for everybody to log in once.
const LIMIT: Duration = Duration::from_secs(600);

/// All tables with their indexes but the one whose rows stay for a second.
const SIZE_ON_POSTGRES: &str = "SELECT sum(pg_total_relation_size(oid)) FROM pg_class
    WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND relname <> 'audit_unsealed'";
const RECORD_ON_POSTGRES: &str =
    "SELECT pg_total_relation_size('audit_events') + pg_total_relation_size('audit_payloads')";
const WAL_ON_POSTGRES: &str = "SELECT pg_current_wal_insert_lsn() - '0/0'";
const SIZE_ON_SQLITE: &str = "SELECT (page_count - freelist_count) * page_size
    FROM pragma_page_count, pragma_freelist_count, pragma_page_size";
const UNSEALED: &str = "SELECT count(*) FROM audit_unsealed";

/// What was written so far.
struct Sizes {
    database: i64,
    /// The sealed audit record, of PostgreSQL.
    record: Option<i64>,
    /// The write-ahead log, of PostgreSQL.
    wal: Option<i64>,
}

struct Measured<'a> {
    store: &'static str,
    system: System,
    postgres: Option<&'a Postgres>,
}

#[tokio::main]
async fn main() -> Result<()> {
    if !cfg!(debug_assertions) {
        build_release()?;
    }
    let ca = TestCa::new()?;
    let slapd = Crowd::directory(PEOPLE, &ca)?;
    let postgres = Postgres::start_durable()?;
    postgres.sql("postgres", "create database rollcall")?;
    let ports = [slapd.tls_address().port()];
    let url = postgres.url("rollcall");
    let stores = [
        ("PostgreSQL", Backend::Given(url), Some(&postgres)),
        ("SQLite", Backend::Sqlite, None),
    ];
    let mut rows = Vec::new();
    for (store, backend, postgres) in stores {
        let system = System::start_as_shipped(backend, &ports).await?;
        let measured = Measured {
            store,
            system,
            postgres,
        };
        measured.measure(&slapd, &ca, &mut rows).await?;
    }
    println!(
        "{PEOPLE} people\n{}",
        table(
            &["", "store", "database, bytes", "of it audit record", "log, bytes"],
            &rows
        )
    );
    Ok(())
}

impl Measured<'_> {
    async fn measure(&self, slapd: &Slapd, ca: &TestCa, rows: &mut Vec<Vec<String>>) -> Result<()> {
        let tenant = self.system.connect("acme", slapd, ca, Crowd::PEOPLE_DN).await?;
        let mut before = self.sizes().await?;
        self.run(&tenant).await?;
        before = self.tell("a user", PEOPLE, before, rows).await?;
        self.run(&tenant).await?;
        before = self.tell("a run without changes", 1, before, rows).await?;
        for what in ["a user's first login", "a further login"] {
            let crowd = Crowd {
                tenant: tenant.clone(),
                people: PEOPLE,
            };
            let crowds = std::slice::from_ref(&crowd);
            let done = log_in_until(&self.system.gateway, crowds, CALLERS, Until::Once(LIMIT)).await?;
            ensure!(done.logins == PEOPLE, "only {} logged in", done.logins);
            before = self.tell(what, PEOPLE, before, rows).await?;
        }
        Ok(())
    }

    async fn run(&self, tenant: &str) -> Result<()> {
        let sync = format!("{tenant}/userSyncs/staff");
        let run = self.system.run(&sync, v1::SyncRunMode::Apply).await?;
        ensure!(
            run.state() == v1::SyncRunState::Succeeded,
            "the run ended {:?}",
            run.state()
        );
        Ok(())
    }

    /// Adds a row with what one of so many took since then.
    #[expect(clippy::cast_possible_wrap, reason = "a count of people")]
    async fn tell(
        &self,
        what: &str,
        count: usize,
        before: Sizes,
        rows: &mut Vec<Vec<String>>,
    ) -> Result<Sizes> {
        let now = self.sizes().await?;
        let each = |bytes: i64| (bytes / count as i64).to_string();
        let both = |now: Option<i64>, before: Option<i64>| {
            let bytes = now.zip(before).map(|(now, before)| each(now - before));
            bytes.unwrap_or_default()
        };
        rows.push(vec![
            what.to_owned(),
            self.store.to_owned(),
            each(now.database - before.database),
            both(now.record, before.record),
            both(now.wal, before.wal),
        ]);
        Ok(now)
    }

    /// Once everything is sealed.
    async fn sizes(&self) -> Result<Sizes> {
        let sealed = async || self.number(UNSEALED).is_ok_and(|unsealed| unsealed == 0);
        wait_for("the record to be sealed", LIMIT, sealed).await?;
        Ok(match self.postgres {
            Some(_) => Sizes {
                database: self.number(SIZE_ON_POSTGRES)?,
                record: Some(self.number(RECORD_ON_POSTGRES)?),
                wal: Some(self.number(WAL_ON_POSTGRES)?),
            },
            None => Sizes {
                database: self.number(SIZE_ON_SQLITE)?,
                record: None,
                wal: None,
            },
        })
    }

    fn number(&self, sql: &str) -> Result<i64> {
        let said = match self.postgres {
            Some(postgres) => postgres.sql("rollcall", sql)?,
            None => {
                let script = "import sqlite3, sys; print(sqlite3.connect(sys.argv[1], timeout=10).execute(sys.argv[2]).fetchone()[0])";
                let mut python = Command::new("/usr/bin/python3");
                python.args(["-I", "-c", script]);
                let output = python
                    .arg(self.system.files.path().join("rollcall.db"))
                    .arg(sql)
                    .output()?;
                String::from_utf8_lossy(&output.stdout).into_owned()
            }
        };
        said.trim().parse().with_context(|| format!("no number: {said}"))
    }
}
