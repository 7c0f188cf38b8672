//! What a nightly run costs that changes nothing. Ten thousand tenants have ten thousand of them.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use parking_lot::Mutex;
use rollcall_proto::v1;
use rollcall_proto::v1::check_connection_request::Target;
use rollcall_runtime::clock::{Clock, ManualClock};
use rollcall_store::PageRequest;
use rollcall_testkit::{Recorder, Slapd, TestCa, TestDatabase, wait_for};
use sync_worker::admission::Scheduler;
use tracing::callsite::rebuild_interest_cache;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::company::{DIRECTORY, TENANT};
use crate::harness::ok;
use crate::run_world::{World, directory_at, people, staff_key, units};
use crate::scheduling::{NOON, at, nightly};

const PEOPLE: usize = 50;
const NIGHTS: usize = 3;
/// How many there are at most, since some may count for nothing.
const MOST_NIGHTS: i32 = 10;
/// Shortly before the run is due, and shortly after.
const BEFORE: &str = "2026-03-02T01:50:00Z";
const DUE: &str = "2026-03-02T02:01:00Z";
/// Statements, transactions and rows are half of what they were when they were measured first: 82, 35 and 14. The round trips
/// are a bind, a search, and before it one question whether the server answers: once a day when the bind password expires.
const BOUND: Cost = Cost {
    statements: 41,
    transactions: 17,
    updated_rows: 7,
    round_trips: 3,
};

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Cost {
    /// Those included that begin and end transactions.
    statements: usize,
    /// A statement outside of any is one.
    transactions: usize,
    updated_rows: usize,
    round_trips: usize,
}

/// A statement, and the rows that it returned or touched.
#[derive(Clone, Default, Debug)]
struct Statement {
    sql: String,
    rows: usize,
    /// It was a transaction of its own.
    alone: bool,
}

/// Keeps what the store executes.
#[derive(Clone, Default)]
struct Statements(Arc<Mutex<Vec<Statement>>>);

impl Statements {
    fn take(&self) -> Vec<Statement> {
        std::mem::take(&mut *self.0.lock())
    }
}

impl Subscriber for Statements {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "rollcall_store::statement"
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut statement = Statement::default();
        event.record(&mut statement);
        // With these the test waits.
        if !statement.sql.contains("ORDER BY create_time DESC, id DESC") {
            self.0.lock().push(statement);
        }
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

impl Visit for Statement {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "sql" {
            value.clone_into(&mut self.sql);
        }
    }

    fn record_u64(&mut self, _: &Field, value: u64) {
        self.rows = usize::try_from(value).unwrap();
    }

    fn record_bool(&mut self, _: &Field, value: bool) {
        self.alone = value;
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

/// What these statements are all together.
fn cost_of(statements: &[Statement]) -> Cost {
    let begun = statements
        .iter()
        .filter(|statement| statement.sql == "BEGIN")
        .count();
    let updates = statements
        .iter()
        .filter(|statement| statement.sql.starts_with("UPDATE") || statement.sql.contains("DO UPDATE"));
    Cost {
        // Each transaction that begins ends with one more.
        statements: statements.len() + begun,
        transactions: statements.iter().filter(|statement| statement.alone).count() + begun,
        updated_rows: updates.map(|statement| statement.rows).sum(),
        round_trips: 0,
    }
}

/// How many operations of the run the server has answered. Before the bind comes one that there is on plain connections
/// alone, such as that to the recorder: what the port speaks.
fn answered(messages: &[Vec<u8>]) -> usize {
    let operation = |message: &Vec<u8>| {
        let header = match message[1] {
            length if length < 0x80 => 2,
            octets => 2 + usize::from(octets & 0x7f),
        };
        let id = 2 + usize::from(message[header + 1]);
        message[header + id]
    };
    // The answers to a bind and to a search.
    let ends = messages.iter().map(operation).skip_while(|tag| *tag != 0x61);
    ends.filter(|tag| matches!(tag, 0x61 | 0x65)).count()
}

/// Whoever waited for a run has seen its end.
fn was_waited_for(statements: &[Statement]) -> bool {
    let last = |is: fn(&Statement) -> bool| statements.iter().rposition(is);
    let written = last(|statement| statement.sql.starts_with("UPDATE \"sync_runs\""));
    let read = last(|statement| statement.alone && statement.sql.contains(" FROM sync_runs r WHERE tenant"));
    written.is_some() && read > written
}

async fn costs_of_unchanged_runs(database: Option<TestDatabase>) -> Vec<(Cost, Vec<Statement>)> {
    let ca = TestCa::new().unwrap();
    let mut ldif = units();
    people(&mut ldif, "Staff", PEOPLE);
    let slapd = Slapd::builder()
        .certificate(ca.loopback_server().unwrap())
        .ldif(ldif.as_str())
        .start()
        .unwrap();
    let recorder = Arc::new(Recorder::start(slapd.tls_address(), &ca).await.unwrap());
    let port = recorder.address().port();
    let directory = directory_at(format!("ldap://{}", recorder.address()), &slapd);
    let settings: Vec<(&str, &str)> = database
        .iter()
        .map(|database| ("store.url", database.url()))
        .collect();
    let clock = ManualClock::new(at(NOON));
    let time = Clock::Manual(clock.clone());
    let mut world = World::around_with(&settings, slapd, port, directory, nightly(), time.clone()).await;
    let check = v1::CheckConnectionRequest {
        parent: TENANT.into(),
        target: Some(Target::Directory(DIRECTORY.into())),
    };
    ok(world.clients.directories.check_connection(check)).await;
    // In a thread of its own, where nothing else is executed.
    let measured = std::thread::spawn(move || {
        let statements = Statements::default();
        let _seen = tracing::subscriber::set_default(statements.clone());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let settings = [("scheduler.enabled", "true")];
            let worker = world.worker.another(&[port], &settings, time).await;
            let mut scheduler = Scheduler::new(worker);
            let mut costs = Vec::new();
            for night in 0..MOST_NIGHTS {
                // What a tick does once an hour is none of the run's.
                clock.set(at(BEFORE) + TimeDelta::days(night.into()));
                scheduler.tick().await;
                statements.take();
                scheduler.tick().await;
                let idle = cost_of(&statements.take());
                recorder.take();
                clock.set(at(DUE) + TimeDelta::days(night.into()));
                // Other threads' tests may have told the process that nobody listens to statements.
                rebuild_interest_cache();
                scheduler.tick().await;
                let key = staff_key();
                let ended = async || {
                    let store = &world.store;
                    let runs = store.list_runs(&key, &PageRequest::first(100)).await.unwrap();
                    let rest = runs.items.iter().filter(|run| !run.state.is_working()).count();
                    rest == usize::try_from(night).unwrap() + 1
                };
                wait_for("the night's run", Duration::from_secs(20), ended)
                    .await
                    .unwrap();
                let told = async || was_waited_for(&statements.0.lock());
                let is_told = wait_for("its statements", Duration::from_secs(5), told).await;
                let executed = statements.take();
                if let Err(error) = is_told {
                    eprintln!("night {night} counts for nothing: {error}: {executed:#?}");
                    continue;
                }
                let all = cost_of(&executed);
                let cost = Cost {
                    statements: all.statements - idle.statements,
                    transactions: all.transactions - idle.transactions,
                    updated_rows: all.updated_rows - idle.updated_rows,
                    round_trips: answered(&recorder.take()),
                };
                eprintln!("night {night}: {cost:?}");
                if night > 0 {
                    costs.push((cost, executed));
                }
                if costs.len() == NIGHTS {
                    break;
                }
            }
            assert_eq!(world.users().await.len(), PEOPLE);
            costs
        })
    });
    tokio::task::spawn_blocking(|| measured.join().unwrap())
        .await
        .unwrap()
}

fn expect_cheap(costs: &[(Cost, Vec<Statement>)]) {
    assert_eq!(costs.len(), NIGHTS, "too few nights were counted");
    for (cost, executed) in costs {
        let is_cheap = cost.statements <= BOUND.statements
            && cost.transactions <= BOUND.transactions
            && cost.updated_rows <= BOUND.updated_rows
            && cost.round_trips <= BOUND.round_trips;
        // Something must have been counted.
        let is_counted = cost.updated_rows > 0 && cost.round_trips > 0;
        assert!(is_cheap && is_counted, "{cost:?} for {executed:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_changes_nothing_costs_little_on_sqlite() {
    expect_cheap(&costs_of_unchanged_runs(None).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_changes_nothing_costs_little_on_postgres() {
    let database = tokio::task::spawn_blocking(TestDatabase::new)
        .await
        .unwrap()
        .unwrap();
    expect_cheap(&costs_of_unchanged_runs(Some(database)).await);
}
