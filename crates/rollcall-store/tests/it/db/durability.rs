//! What was answered survives a kill.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use rollcall_core::audit::{AuditFilter, AuditKind, LoginOutcome, OwnReason};
use rollcall_core::soft_lock::Settlement;
use rollcall_store::{FinishLogin, LoginStore, NewAuditEvent};

use crate::engine::{Engine, on_both};
use crate::fixture::*;

on_both! {
    an_answered_login_survives_a_kill,
}

const URL: &str = "ROLLCALL_STORE_TEST_URL";
const ENOUGH: usize = 60;

async fn an_answered_login_survives_a_kill(engine: Engine) {
    let store = engine.store().await;
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "db::durability::finish_logins_until_killed",
            "--ignored",
            "--nocapture",
        ])
        .env(URL, engine.url())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let is_answer = |line: &String| line.starts_with("answered ");
    let last = lines
        .map(|line| line.unwrap())
        .filter(is_answer)
        .nth(ENOUGH)
        .unwrap();
    // SIGKILL on Unix.
    child.kill().unwrap();
    child.wait().unwrap();
    let answered: usize = last["answered ".len()..].parse().unwrap();
    let audited = store
        .list_audit(None, &AuditFilter::default(), &all())
        .await
        .unwrap()
        .items
        .len();
    assert!(
        audited > answered,
        "{answered} was answered, but only {audited} rows are there"
    );
}

/// The child of the test above.
#[tokio::test]
#[ignore = "is started, and killed, by another test"]
#[expect(
    clippy::disallowed_methods,
    reason = "the test above tells its child by the environment which database it is"
)]
async fn finish_logins_until_killed() {
    let url = std::env::var(URL).unwrap();
    let keys = crate::engine::keyring(&format!("k1 {}", crate::engine::KEY));
    let store = rollcall_store::Store::open(&url, keys, Default::default())
        .await
        .unwrap();
    let logins = LoginStore::open(&store);
    for number in 0..900 {
        let audit = NewAuditEvent {
            time: at(number),
            tenant: None,
            caller: "child".into(),
            actor: Default::default(),
            kind: AuditKind::Login {
                outcome: LoginOutcome::Denied,
                reason: OwnReason::UnknownLogin.into(),
                user: None,
                user_sync: None,
                directory: None,
                unknown_login: None,
                client_address: None,
                flood: None,
            },
        };
        let finish = FinishLogin {
            tenant: None,
            audit,
            proven_at: None,
            slots: vec![],
            settlement: Settlement::NotSent,
            expect: None,
        };
        logins.finish(finish).await.unwrap();
        writeln!(std::io::stdout(), "answered {number}").unwrap();
    }
}

/// Closing any descriptor of a file gives up all locks that the process has on it (POSIX `fcntl`).
#[tokio::test]
async fn opening_a_file_once_more_gives_up_no_lock_of_whoever_has_it_open() {
    let engine = Engine::sqlite();
    let store = engine.store().await;
    set_up(&store).await;
    let once_more = engine.store().await;
    // The last one to close a database takes its log away. Another process must not take itself for that.
    let file = engine.url().replace("sqlite:", "");
    let script = "import sqlite3, sys\n\
                  database = sqlite3.connect(sys.argv[1], timeout=30)\n\
                  database.execute('UPDATE tenants SET update_time = update_time')\n\
                  database.commit()\n\
                  database.close()";
    let done = Command::new("/usr/bin/python3")
        .args(["-I", "-c", script, &file])
        .status()
        .unwrap();
    assert!(done.success());
    assert!(std::path::Path::new(&format!("{file}-wal")).exists());
    store.tenant(&acme()).await.unwrap();
    once_more.tenant(&acme()).await.unwrap();
}
