//! The binary itself: its exit codes and what it says.

use std::path::Path;
use std::process::{Command, Output};

const KEY: &str = "k1 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

const OTHER_KEY: &str = "k2 AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

/// Runs the binary on a database and a key file in `dir`.
fn run(dir: &Path, arguments: &[&str]) -> Output {
    run_with(KEY, dir, arguments)
}

fn run_with(keyring: &str, dir: &Path, arguments: &[&str]) -> Output {
    std::fs::write(dir.join("key"), keyring).unwrap();
    let url = format!("sqlite:{}", dir.join("rollcall.db").display());
    Command::new(env!("CARGO_BIN_EXE_sync-worker"))
        .env_clear()
        .env("SYNC_WORKER__STORE__URL", url)
        .env("SYNC_WORKER__KEYRING__KEY_FILE", dir.join("key"))
        .args(arguments)
        .output()
        .unwrap()
}

fn says(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn all_mistakes_of_a_configuration_are_told_at_once_and_end_with_64() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(run(dir.path(), &["--check-config"]).status.code(), Some(0));
    let wrong = [
        "--check-config",
        "--set",
        "runs.concurrent=0",
        "--set",
        "scheduler.typo=1",
        "--listen",
        "nowhere",
    ];
    let output = run(dir.path(), &wrong);
    assert_eq!(output.status.code(), Some(64));
    for mistake in ["runs.concurrent", "scheduler.typo", "server.listen"] {
        assert!(says(&output).contains(mistake), "{mistake} in {}", says(&output));
    }
    let output = run(
        dir.path(),
        &["--check-config", "--set", "keyring.key_file=/does/not/exist"],
    );
    assert_eq!(output.status.code(), Some(64));
    assert!(says(&output).contains("keyring.key_file"), "{}", says(&output));
}

#[test]
fn what_the_machine_does_not_give_is_told_before_a_start() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), &["--check-config"]);
    let checked_with = |descriptors: u32| {
        let limited = format!("ulimit -n {descriptors}; exec \"$@\"");
        let url = format!("sqlite:{}", dir.path().join("rollcall.db").display());
        Command::new("/bin/sh")
            .args([
                "-c",
                &limited,
                "sh",
                env!("CARGO_BIN_EXE_sync-worker"),
                "--check-config",
            ])
            .env_clear()
            .env("SYNC_WORKER__STORE__URL", url)
            .env("SYNC_WORKER__KEYRING__KEY_FILE", dir.path().join("key"))
            .output()
            .unwrap()
    };
    let few = checked_with(300);
    assert_eq!(few.status.code(), Some(0), "{}", says(&few));
    assert!(says(&few).contains("may have 300 open files"), "{}", says(&few));
    let too_few = checked_with(200);
    assert_eq!(too_few.status.code(), Some(1), "{}", says(&too_few));
    assert!(says(&too_few).contains("needs 256"), "{}", says(&too_few));
}

#[test]
fn a_keyring_that_everybody_can_read_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let complains = |mode: u32| {
        std::fs::write(dir.path().join("key"), KEY).unwrap();
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(dir.path().join("key"), permissions).unwrap();
        let output = run(dir.path(), &["--check-config"]);
        assert_eq!(output.status.code(), Some(0), "{}", says(&output));
        says(&output).contains("every account of this machine can read it")
    };
    assert!(complains(0o644));
    assert!(!complains(0o600) && !complains(0o640));
}

#[test]
fn a_database_is_migrated_first_and_then_used() {
    let dir = tempfile::tempdir().unwrap();
    let refused = run(dir.path(), &["run-due"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        says(&refused).contains("sync-worker migrate"),
        "{}",
        says(&refused)
    );
    for arguments in [["migrate"], ["migrate"], ["run-due"]] {
        let output = run(dir.path(), &arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", says(&output));
    }
}

#[test]
fn keys_are_rotated_and_a_keyring_that_does_not_fit_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let ends_with = |keyring: &str, command: &[&str], code: i32, said: &[&str]| {
        let output = run_with(keyring, dir.path(), command);
        let text = says(&output);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{command:?} with {keyring}: {text}"
        );
        for word in said {
            assert!(
                text.contains(word),
                "{command:?} with {keyring}: no {word} in {text}"
            );
        }
    };
    let both = format!("{OTHER_KEY}\n{KEY}");
    let wrong = OTHER_KEY.replace("k2", "k1");
    ends_with(KEY, &["migrate"], 0, &[]);
    for command in [
        &["run-due"][..],
        &["migrate"],
        &["rotate-keys"],
        &["--listen", "127.0.0.1:0"],
    ] {
        ends_with(OTHER_KEY, command, 64, &["keyring.key_file", "k1", "missing"]);
        ends_with(&wrong, command, 64, &["keyring.key_file", "k1", "not the one"]);
    }
    ends_with(KEY, &["rotate-keys"], 0, &[]);
    ends_with(&both, &["run-due"], 0, &[]);
    ends_with(OTHER_KEY, &["run-due"], 64, &["k1"]);
    ends_with(&both, &["rotate-keys"], 0, &["k1", "may be taken out"]);
    ends_with(&both, &["rotate-keys"], 0, &["k1", "may be taken out"]);
    ends_with(OTHER_KEY, &["run-due"], 0, &[]);
    ends_with(KEY, &["run-due"], 64, &["k2", "missing"]);
}

#[test]
fn nobody_answers_a_health_check_where_nothing_runs() {
    let dir = tempfile::tempdir().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let output = run(
        dir.path(),
        &["healthcheck", "--listen", &format!("127.0.0.1:{port}")],
    );
    assert_eq!(output.status.code(), Some(1), "{}", says(&output));
}

#[test]
fn the_printed_configuration_shows_no_secret() {
    let dir = tempfile::tempdir().unwrap();
    let canary = "postgres://rollcall:canary@db/rollcall";
    let output = run(
        dir.path(),
        &["--print-config", "--set", &format!("store.url={canary}")],
    );
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("[scheduler]") && !text.contains("canary"), "{text}");
}
