//! The servers speak HTTP/2 as it is written down: h2spec tries each rule of RFC 9113 and RFC 7541.

use std::process::Command;

use anyhow::{Context, Result};
use system_tests::{Backend, System};

/// Whoever does not begin as HTTP/2 does is told in HTTP/1 what it has reached, before the connection ends. h2spec wants
/// the end alone.
const ANSWERED_IN_WORDS: &str = "2: Sends invalid connection preface";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_servers_keep_the_rules_of_http_2() -> Result<()> {
    let system = System::start(Backend::Sqlite, &[636]).await?;
    for address in [system.gateway.address(), system.worker.address()] {
        let (host, port) = address.rsplit_once(':').context("no port")?;
        let output = Command::new("h2spec")
            .args(["-h", host, "-p", port, "-o", "10", "--strict"])
            .output();
        let output = match output {
            Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
            Err(error) => {
                assert!(std::env::var_os("CI").is_none(), "h2spec is missing: {error}");
                eprintln!("SKIPPED: h2spec is missing");
                return Ok(());
            }
        };
        let (tried, failed) = output.split_once("Failures:").context(output.clone())?;
        assert!(tried.matches('✔').count() > 100, "{output}");
        let failed: Vec<&str> = failed
            .lines()
            .filter_map(|line| line.split_once('×').map(|(_, case)| case.trim()))
            .collect();
        assert_eq!(failed, [ANSWERED_IN_WORDS], "{output}");
    }
    Ok(())
}
