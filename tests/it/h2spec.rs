//! The servers speak HTTP/2 as it is written down: h2spec tries each rule of RFC 9113 and RFC 7541.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Context, Result};
use system_tests::{Backend, System};

/// Whoever does not begin as HTTP/2 does is told in HTTP/1 what it has reached, before the connection ends. h2spec wants
/// the end alone.
const ANSWERED_IN_WORDS: &str = "2: Sends invalid connection preface";
/// Some cases ask for an error in what follows a request, and meet an answer if that was faster: no gRPC, no such method. What
/// fails each time is a rule that is not kept.
const TRIES: usize = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_servers_keep_the_rules_of_http_2() -> Result<()> {
    let system = System::start(Backend::Sqlite, &[636]).await?;
    for address in [system.gateway.address(), system.worker.address()] {
        let (host, port) = address.rsplit_once(':').context("no port")?;
        let mut broken: Option<BTreeSet<String>> = None;
        for _ in 0..TRIES {
            let Some(failed) = failed_cases(host, port)? else {
                eprintln!("SKIPPED: h2spec is missing");
                return Ok(());
            };
            let still = broken.map_or(failed.clone(), |broken| &broken & &failed);
            let settled = still.len() <= 1;
            broken = Some(still);
            if settled {
                break;
            }
        }
        assert_eq!(broken, Some(BTreeSet::from([ANSWERED_IN_WORDS.to_owned()])));
    }
    Ok(())
}

/// The cases that failed; `None` if there is no h2spec.
fn failed_cases(host: &str, port: &str) -> Result<Option<BTreeSet<String>>> {
    let output = Command::new("h2spec")
        .args(["-h", host, "-p", port, "-o", "10", "--strict"])
        .output();
    let output = match output {
        Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "h2spec is missing: {error}");
            return Ok(None);
        }
    };
    let (tried, failed) = output.split_once("Failures:").context(output.clone())?;
    assert!(tried.matches('✔').count() > 100, "{output}");
    let cases = failed
        .lines()
        .filter_map(|line| line.split_once('×').map(|(_, case)| case.trim().to_owned()));
    Ok(Some(cases.collect()))
}
