//! A disk that fills in the middle of a change: nothing is done, and it is said.

use std::io::Write;
use std::process::{Command, Stdio};

use rollcall_core::audit::AuditFilter;
use rollcall_store::{NewUser, Recorded, Store, StoreError};

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
    let mut created = 0_u128;
    let full = loop {
        let user = NewUser {
            id: user_id(100 + created),
            profile: profile(&format!("user{created}")),
            owner: false,
        };
        match store
            .create_local_user(&acme(), user, Recorded::by_nobody(at(9)))
            .await
        {
            Ok(_) => created += 1,
            Err(error) => break error,
        }
        assert!(created < 900, "it does not fill");
    };
    assert!(matches!(full, StoreError::Unavailable(_)), "{full:?}");
    writeln!(std::io::stdout(), "created {created} users").unwrap();
}
