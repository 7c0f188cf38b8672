//! A disk that fills in the middle of a change: nothing is done, and it is said.

use std::io::Write;
use std::process::{Command, Stdio};

use rollcall_core::audit::AuditFilter;
use rollcall_core::user::User;
use rollcall_store::{NewUser, Recorded, Store, StoreError};
use rollcall_testkit::{Postgres, SmallDisk, is_root_for};

use crate::engine::{Engine, KEY, keyring};
use crate::fixture::*;

const URL: &str = "ROLLCALL_STORE_TEST_FULL_URL";

/// A file that may not grow further stands for the disk: SQLite gets an error from the same write.
#[tokio::test]
async fn what_does_not_fit_any_more_is_not_done_and_said_on_sqlite() {
    let engine = Engine::sqlite();
    let store = engine.store().await;
    set_up(&store).await;
    let records = async |store: &Store| {
        let found = store.list_audit(None, &AuditFilter::default(), &all()).await;
        found.unwrap().items.len()
    };
    let before = records(&store).await;
    store.close().await;
    let this = std::env::current_exe().unwrap();
    // Blocks of 512 bytes or of 1 KiB, as the shell likes; the signal would end the child.
    let script = "trap '' XFSZ; ulimit -f 2000; exec \"$0\" --exact db::disk_full::create_users_until_it_is_full --ignored --nocapture";
    let ended = Command::new("sh")
        .args(["-c", script])
        .arg(this)
        .env(URL, engine.url())
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    let said = String::from_utf8(ended.stdout).unwrap();
    assert!(ended.status.success(), "{said}");
    let (_, rest) = said.split_once("created ").unwrap();
    let created: usize = rest.split_whitespace().next().unwrap().parse().unwrap();
    assert!(created > 0, "{said}");
    let store = engine.store().await;
    let users = store
        .list_users(&acme(), &Default::default(), &all())
        .await
        .unwrap();
    let users = users.items.len();
    assert_eq!((users, records(&store).await - before), (created, created));
}

/// The child of the test above.
#[tokio::test]
#[ignore = "is started by another test, which lets its files grow only so far"]
#[expect(
    clippy::disallowed_methods,
    reason = "the test above tells its child by the environment which database it is"
)]
async fn create_users_until_it_is_full() {
    let url = std::env::var(URL).unwrap();
    let keys = keyring(&format!("k1 {KEY}"));
    let store = Store::open(&url, keys, Default::default()).await.unwrap();
    let (created, full) = fill(&store, 900).await;
    assert!(matches!(full, StoreError::Unavailable(_)), "{full:?}");
    writeln!(std::io::stdout(), "created {created} users").unwrap();
}

/// Creates users until it fails: how many there are then, and the failure.
async fn fill(store: &Store, most: usize) -> (usize, StoreError) {
    for created in 0..most {
        if let Err(error) = create(store, created).await {
            return (created, error);
        }
    }
    panic!("it does not fill");
}

async fn create(store: &Store, number: usize) -> Result<User, StoreError> {
    let user = NewUser {
        id: user_id(100 + number as u128),
        profile: profile(&format!("user{number}")),
        owner: false,
    };
    store
        .create_local_user(&acme(), user, Recorded::by_nobody(at(9)))
        .await
}

/// The tables are on a small disk of their own; the server's log is not, so it goes on and says which statement failed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_fit_any_more_is_not_done_and_said_on_postgresql() {
    if !is_root_for("a PostgreSQL on a disk that fills").unwrap() {
        return;
    }
    let disk = SmallDisk::mount(32).unwrap();
    let postgres = Postgres::start().unwrap();
    postgres.create_database_on("small", disk.path()).unwrap();
    let keys = keyring(&format!("k1 {KEY}"));
    let store = Store::connect(&postgres.url("small"), keys, Default::default())
        .await
        .unwrap();
    store.migrate().await.unwrap();
    set_up(&store).await;
    let counted = || {
        ["users", "user_events", "audit_unsealed"].map(|table| {
            let count = postgres.sql("small", &format!("select count(*) from {table}"));
            count.unwrap().trim().parse::<usize>().unwrap()
        })
    };
    let [_, _, before] = counted();
    let with = |created| [created, created, before + created];
    disk.leave(256 << 10).unwrap();
    let (created, full) = fill(&store, 900).await;
    assert!(
        created > 0 && matches!(full, StoreError::Unavailable(_)),
        "{created}: {full:?}"
    );
    assert_eq!(counted(), with(created));
    // Again and again, whatever is full first: nothing of it is done.
    for _ in 0..3 {
        let full = create(&store, created).await;
        assert!(matches!(full, Err(StoreError::Unavailable(_))), "{full:?}");
    }
    assert_eq!(counted(), with(created));
    disk.clear().unwrap();
    create(&store, created).await.unwrap();
    assert_eq!(counted(), with(created + 1));
    store.close().await;
}
