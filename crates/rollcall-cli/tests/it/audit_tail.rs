//! Following the audit record, however often it is killed.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::process::{Child, Command};

use crate::worker::{Script, rollcallctl};

const EVENTS: usize = 3_000;

fn tail(endpoint: &str, state: &Path, out: File) -> Child {
    Command::new(env!("CARGO_BIN_EXE_rollcallctl"))
        .args(["audit", "tail", "--endpoint", endpoint, "--state"])
        .arg(state)
        .env_remove("ROLLCALL_TOKEN")
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

fn numbers(text: &str) -> Vec<(usize, bool)> {
    let lines = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let number = |name: &str| name.rsplit('/').next().unwrap().parse().unwrap();
    lines
        .map(|line| {
            let repeated = line.get("maybe_repeated").is_some_and(|flag| flag == true);
            (number(line["name"].as_str().unwrap()), repeated)
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_random_it_loses_nothing_and_tells_what_it_repeats() {
    let script = Script {
        audited: EVENTS,
        ..Script::default()
    };
    let endpoint = script.start().await;
    let dir = tempfile::tempdir().unwrap();
    let (state, out) = (dir.path().join("state"), dir.path().join("out"));
    let mut wait = 7_u64;
    let mut kills = 0;
    loop {
        let file = OpenOptions::new().create(true).append(true).open(&out).unwrap();
        let mut child = tail(&endpoint, &state, file);
        wait = wait.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        // The chance of the test, not a wait for anything.
        tokio::time::sleep(Duration::from_millis(50 + (wait >> 33) % 400)).await;
        child.kill().await.unwrap();
        kills += 1;
        let written = numbers(&std::fs::read_to_string(&out).unwrap());
        if written.iter().any(|(number, _)| *number == EVENTS) {
            let mut times: BTreeMap<usize, usize> = BTreeMap::new();
            for (number, repeated) in written {
                let before = times.entry(number).or_default();
                assert!(
                    *before == 0 || repeated,
                    "{number} comes again and does not say so"
                );
                *before += 1;
            }
            assert!(times.keys().copied().eq(1..=EVENTS), "none is lost");
            break;
        }
        assert!(kills < 2_000, "it does not get on");
    }
    assert!(kills > 2, "it was hardly killed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_that_is_not_kept_any_more_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    std::fs::write(&state, r#"{"cursor":"3"}"#).unwrap();
    let script = Script {
        audited: 10,
        kept_from: 5,
        ..Script::default()
    };
    let endpoint = script.start().await;
    let arguments = [
        "audit",
        "tail",
        "--endpoint",
        &endpoint,
        "--state",
        state.to_str().unwrap(),
    ];
    let ended = rollcallctl(&arguments, &[]).await;
    assert_eq!((ended.code, ended.out.as_str()), (1, ""), "{}", ended.err);
    assert!(ended.err.contains("remove"), "{}", ended.err);
    assert_eq!(std::fs::read_to_string(&state).unwrap(), r#"{"cursor":"3"}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_do_not_share_a_state() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let lock = File::create(dir.path().join("state.lock")).unwrap();
    lock.lock().unwrap();
    let script = Script::default();
    let endpoint = script.start().await;
    let arguments = [
        "audit",
        "tail",
        "--endpoint",
        &endpoint,
        "--state",
        state.to_str().unwrap(),
    ];
    let ended = rollcallctl(&arguments, &[]).await;
    assert_eq!(ended.code, 1);
    assert!(ended.err.contains("another tail"), "{}", ended.err);
}
