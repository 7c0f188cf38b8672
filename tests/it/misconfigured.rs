//! Configurations with mistakes in the files that they name: all are told before anything is served, and end with 64.

use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Result, ensure};
use rollcall_testkit::TestCa;
use system_tests::binary;

const KEY: &str = "k1 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

/// Checks a configuration of this text.
fn check(program: &str, dir: &Path, text: &str) -> Result<Output> {
    let (config, keys) = (dir.join("config.toml"), dir.join("keys"));
    std::fs::write(&keys, KEY)?;
    std::fs::write(&config, text)?;
    let mut command = Command::new(binary(program)?);
    command.arg("--config").arg(config).arg("--check-config");
    if !text.contains("[keyring]") {
        command
            .arg("--set")
            .arg(format!("keyring.key_file={}", keys.display()));
    }
    Ok(command.output()?)
}

fn ends_with(checked: &Output, code: i32, said: &[&str]) -> Result<()> {
    let text = String::from_utf8_lossy(&checked.stderr);
    ensure!(
        checked.status.code() == Some(code),
        "{:?}: {text}",
        checked.status
    );
    for word in said {
        ensure!(text.contains(word), "{word} is not in {text}");
    }
    Ok(())
}

#[test]
fn certificates_that_do_not_fit_are_told_by_both_programs() -> Result<()> {
    let (dir, ca) = (tempfile::tempdir()?, TestCa::new()?);
    let (good, own_key) = ca.loopback_server()?.write_to(dir.path(), "good")?;
    let (_, other_key) = ca.loopback_server()?.write_to(dir.path(), "other")?;
    let (ended, its_key) = ca.expired_server(&["localhost"])?.write_to(dir.path(), "ended")?;
    let garbage = dir.path().join("garbage.pem");
    std::fs::write(&garbage, "-----BEGIN PRIVATE KEY-----\nAAAA")?;
    let tls = |certificate: &Path, key: &Path, more: &str| {
        format!("[server]\ntls_certificate_file = {certificate:?}\ntls_key_file = {key:?}\n{more}")
    };
    let strangers = format!("client_ca_file = {garbage:?}\n");
    for program in ["auth-gateway", "sync-worker"] {
        let check = |text: &str| check(program, dir.path(), text);
        ends_with(&check(&tls(&good, &own_key, ""))?, 0, &[])?;
        let mismatched = check(&tls(&good, &other_key, ""))?;
        ends_with(
            &mismatched,
            64,
            &["server.tls_certificate_file", "cannot be used"],
        )?;
        for key in [Path::new("/does/not/exist"), &garbage, &good] {
            ends_with(&check(&tls(&good, key, ""))?, 64, &["server.tls_key_file"])?;
        }
        ends_with(
            &check(&tls(&own_key, &own_key, ""))?,
            64,
            &["server.tls_certificate_file"],
        )?;
        ends_with(
            &check(&tls(&good, &own_key, &strangers))?,
            64,
            &["server.client_ca_file"],
        )?;
        // It serves with it, since the next one may come while it runs. But it is said.
        let old_authority = format!("client_ca_file = {ended:?}\n");
        for (named, key) in [
            (tls(&ended, &its_key, ""), "server.tls_certificate_file"),
            (tls(&good, &own_key, &old_authority), "server.client_ca_file"),
        ] {
            ends_with(&check(&named)?, 0, &[key, "has ended on"])?;
        }
        let fine = check(&tls(&good, &own_key, ""))?;
        ensure!(
            !String::from_utf8_lossy(&fine.stderr).contains("certificate"),
            "{fine:?}"
        );
    }
    Ok(())
}

#[test]
fn what_a_gateway_shows_the_worker_is_looked_at_as_a_whole() -> Result<()> {
    let (dir, ca) = (tempfile::tempdir()?, TestCa::new()?);
    let (good, own_key) = ca.client("gateway")?.write_to(dir.path(), "good")?;
    let (ended, its_key) = ca.expired_server(&["localhost"])?.write_to(dir.path(), "ended")?;
    let garbage = dir.path().join("garbage.pem");
    std::fs::write(&garbage, "no certificate, and no key")?;
    let worker = |authority: &Path, certificate: &Path, key: &Path| {
        format!(
            "[worker]\nendpoint = \"https://sync-worker:50052\"\nca_file = {authority:?}\n\
             certificate_file = {certificate:?}\nkey_file = {key:?}\n"
        )
    };
    let check = |text: &str| check("auth-gateway", dir.path(), text);
    ends_with(&check(&worker(&ca.file(), &good, &own_key))?, 0, &[])?;
    let files = ["worker.ca_file", "worker.certificate_file", "worker.key_file"];
    ends_with(&check(&worker(&garbage, &garbage, &garbage))?, 64, &files)?;
    let missing = Path::new("/does/not/exist");
    ends_with(&check(&worker(missing, missing, missing))?, 64, &files)?;
    let said = ["worker.certificate_file", "has ended on"];
    ends_with(&check(&worker(&ca.file(), &ended, &its_key))?, 0, &said)
}

#[test]
fn every_file_that_cannot_be_read_is_told_at_once() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let text = "[store]\nurl_file = \"/no/url\"\n[keyring]\nkey_file = \"/no/keys\"\n";
    let of_gateway = "[worker]\nendpoint = \"https://sync-worker:50052\"\ntoken_file = \"/no/token\"\nca_file = \"/no/ca\"\n";
    let checked = check("auth-gateway", dir.path(), &format!("{text}{of_gateway}"))?;
    let files = [
        "store.url_file",
        "keyring.key_file",
        "worker.token_file",
        "worker.ca_file",
    ];
    ends_with(&checked, 64, &files)?;
    let of_worker = "[mail]\nenabled = true\nhost = \"mail\"\nfrom = \"a@example.org\"\nusername = \"a\"\npassword_file = \"/no/password\"\n";
    let checked = check("sync-worker", dir.path(), &format!("{text}{of_worker}"))?;
    ends_with(
        &checked,
        64,
        &["store.url_file", "keyring.key_file", "mail.password_file"],
    )
}
