//! Cut off anywhere in the middle, a change and its record are both there, or neither is.
//!
//! On PostgreSQL the connection breaks at each statement in turn, before the server has it or before its answer is read. On
//! SQLite, which is in the process, a kill leaves the beginning of what was written to the log: each beginning is tried.

mod line;

use std::path::Path;
use std::sync::Arc;

use futures::stream::{self, StreamExt};
use rollcall_core::error::chain;
use rollcall_store::{PageRequest, Recorded, Store, StoreError, StoreOptions};

use crate::engine::{Engine, KEY, keyring};
use crate::fixture::{at, tenant_id, tenant_settings};
use crate::records::{DEEDS, Deed, begin, seen};
use line::{Line, When};

/// Statements of the longest deed are fewer by far.
const MOST_STATEMENTS: u64 = 200;
/// Deeds that are cut at the same time.
const AT_A_TIME: usize = 4;

/// What a test begins with: where all is closed, so that it can be copied.
async fn template(engine: Engine) -> (Engine, rollcall_store::LeaseToken) {
    let (store, lease) = begin(&engine).await;
    store.close().await;
    // However long the test takes.
    engine
        .sql("UPDATE leases SET expire_time = expire_time + 86400000000")
        .await;
    (engine, lease)
}

async fn open(url: &str) -> Store {
    Store::open(url, keyring(&format!("k1 {KEY}")), StoreOptions::default())
        .await
        .unwrap()
}

/// Deed and record, or neither; whether they are there.
fn both_or_neither(what: &str, before: &(String, usize), now: &(String, usize)) -> bool {
    let (deed, record) = (now.0 != before.0, now.1 > before.1);
    assert!(!deed || record, "{what}: a deed without its record");
    assert!(deed || !record, "{what}: a record without its deed");
    deed
}

/// A page of tenants takes as many statements as it does for one tenant: a cut at the next would be reached else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_tenants_is_two_statements_however_many_they_are() {
    let engine = Engine::postgres();
    let store = engine.store().await;
    for number in 0..50 {
        let id = tenant_id(&format!("tenant{number}"));
        let domains = [
            format!("two.tenant{number}.example"),
            format!("one.tenant{number}.example"),
        ];
        let settings = tenant_settings(&[domains[0].as_str(), domains[1].as_str()]);
        let record = Recorded::by_nobody(at(0));
        store.create_tenant(&id, &settings, record).await.unwrap();
    }
    let line = Line::to(&engine.url()).await;
    let store = open(line.url()).await;
    line.cut_at(3, When::BeforeTheServer);
    let page = store.list_tenants(None, &PageRequest::first(100)).await.unwrap();
    assert!(!line.carry_on(), "a third statement");
    assert_eq!(page.items.len(), 50);
    for tenant in page.items {
        let domains = [
            format!("two.{}.example", tenant.id),
            format!("one.{}.example", tenant.id),
        ];
        assert_eq!(tenant.settings.verified_domains, domains);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn at_any_statement_on_postgresql() {
    let begin = Arc::new(template(Engine::postgres()).await);
    // Several at a time: each waits for the database most of the time.
    let cuts =
        stream::iter(DEEDS).map(|(name, _, deed)| tokio::spawn(cuts_of(Arc::clone(&begin), name, deed)));
    let cuts: Vec<u64> = cuts
        .buffer_unordered(AT_A_TIME)
        .map(Result::unwrap)
        .collect()
        .await;
    let cuts: u64 = cuts.into_iter().sum();
    assert!(cuts > DEEDS.len() as u64 * 4, "{cuts} cuts");
}

/// Cuts the deed at each of its statements in turn; returns how often.
async fn cuts_of(begin: Arc<(Engine, rollcall_store::LeaseToken)>, name: &str, deed: Deed) -> u64 {
    let (template, lease) = &*begin;
    let mut cuts = 0;
    for when in [When::BeforeTheServer, When::BeforeItsAnswer] {
        let mut statement = 1;
        while let Some(next) = of_a_copy(template, lease, (name, deed), when, statement).await {
            cuts += next - statement;
            statement = next;
        }
    }
    cuts
}

/// Cuts the deed at this statement and, as long as nothing came of it, at the next ones. Returns the statement to go on with,
/// on another copy; `None` if the deed ended before that statement.
async fn of_a_copy(
    template: &Engine,
    lease: &rollcall_store::LeaseToken,
    (name, deed): (&str, Deed),
    when: When,
    mut statement: u64,
) -> Option<u64> {
    let engine = template.back_up();
    let watcher = open(&engine.url()).await;
    let line = Line::to(&engine.url()).await;
    let store = open(line.url()).await;
    let before = seen(&watcher).await;
    let next = loop {
        assert!(statement < MOST_STATEMENTS, "{name} does not end");
        line.cut_at(statement, when);
        let ended = deed(&store, lease).await;
        let was_cut = line.carry_on();
        let what = format!("{name} at {statement} {when:?}");
        let done = both_or_neither(&what, &before, &seen(&watcher).await);
        match ended {
            // A session that was cut off may hold its locks for a moment.
            Err(StoreError::Locked | StoreError::Contended) if !was_cut => continue,
            Err(error) if !was_cut => panic!("{what}: {}", chain(&error)),
            Ok(()) if !was_cut => {
                assert!(done, "{what}");
                break None;
            }
            Ok(()) => assert!(done, "{what}: told it was done"),
            Err(_) => {}
        }
        statement += 1;
        if done {
            break Some(statement);
        }
    };
    store.close().await;
    watcher.close().await;
    next
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_any_write_on_sqlite() {
    let (template, lease) = template(Engine::sqlite()).await;
    for (name, _, deed) in DEEDS {
        let engine = template.back_up();
        let store = open(&engine.url()).await;
        let before = seen(&store).await;
        deed(&store, &lease).await.unwrap();
        let after = seen(&store).await;
        assert!(both_or_neither(name, &before, &after), "{name}");
        // As the files are now, with the log that a kill would leave.
        let killed = engine.back_up();
        store.close().await;
        let (mut states, mut length) = (Vec::new(), killed.log_header());
        let whole = killed.log_length();
        while length <= whole {
            let copy = killed.back_up();
            copy.cut_log(length);
            let store = open(&copy.url()).await;
            let now = seen(&store).await;
            store.close().await;
            states.push(both_or_neither(&format!("{name} at {length}"), &before, &now));
            length += killed.log_frame();
        }
        let (first, last) = (states.first(), states.last());
        assert_eq!((first, last), (Some(&false), Some(&true)), "{name}: {states:?}");
    }
}

/// SQLite's log, as its file format has it: a header of 32 bytes, and for each page a header of 24 bytes and the page.
impl Engine {
    fn log(&self) -> std::path::PathBuf {
        let Engine::Sqlite(dir) = self else {
            unreachable!("of SQLite alone")
        };
        dir.path().join("rollcall.db-wal")
    }

    fn log_header(&self) -> u64 {
        32
    }

    fn log_frame(&self) -> u64 {
        let page = |path: &Path| {
            let log = std::fs::read(path).unwrap();
            u32::from_be_bytes(log[8..12].try_into().unwrap())
        };
        24 + u64::from(page(&self.log()))
    }

    fn log_length(&self) -> u64 {
        std::fs::metadata(self.log()).unwrap().len()
    }

    fn cut_log(&self, length: u64) {
        let file = std::fs::OpenOptions::new().write(true).open(self.log()).unwrap();
        file.set_len(length).unwrap();
        // What is left of shared memory is of the process that died.
        let shared = self.log().with_extension("db-shm");
        let _ = std::fs::remove_file(shared);
    }
}
