//! The servers speak HTTP/2 as it is written down: h2spec tries each rule of RFC 9113 and RFC 7541.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Context, Result};
use system_tests::{Backend, System};

/// Whoever does not begin as HTTP/2 does is told in HTTP/1 what it has reached, before the connection ends. h2spec wants
/// the end alone.
const ANSWERED_IN_WORDS: &str = "2: Sends invalid connection preface";
/// These send a request without its end, which is refused at once, and then something wrong. If the answer was faster, the
/// server has closed the stream by then and has to ignore what still comes for it (RFC 9113, section 5.1). No other case
/// may fail even once, and these may not fail each time.
const RACING: [&str; 7] = [
    r#"1: Sends a HEADERS frame with the "content-length" header field which does not equal the DATA frame payload length"#,
    r#"2: Sends a HEADERS frame with the "content-length" header field which does not equal the sum of the multiple DATA frames payload length"#,
    "1: Sends a second HEADERS frame without the END_STREAM flag",
    "3: Sends a HEADERS frame that contains a pseudo-header field as trailers",
    "3: Sends multiple WINDOW_UPDATE frames increasing the flow control window to above 2^31-1 on a stream",
    "8: closed: Sends a DATA frame after sending RST_STREAM frame",
    "9: closed: Sends a HEADERS frame after sending RST_STREAM frame",
];
const TRIES: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_servers_keep_the_rules_of_http_2() -> Result<()> {
    let system = System::start(Backend::Sqlite, &[636]).await?;
    for address in [system.gateway.address(), system.worker.address()] {
        let (host, port) = address.rsplit_once(':').context("no port")?;
        let mut unkept: BTreeSet<String> = RACING.map(str::to_owned).into();
        for _ in 0..TRIES {
            let Some(mut failed) = failed_cases(host, port)? else {
                eprintln!("SKIPPED: h2spec is missing");
                return Ok(());
            };
            assert!(
                failed.remove(ANSWERED_IN_WORDS),
                "left out for nothing: {failed:?}"
            );
            unkept.retain(|case| failed.contains(case));
            failed.retain(|case| !RACING.contains(&case.as_str()));
            assert!(failed.is_empty(), "{failed:#?}");
            if unkept.is_empty() {
                break;
            }
        }
        assert!(unkept.is_empty(), "failed each time: {unkept:#?}");
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
