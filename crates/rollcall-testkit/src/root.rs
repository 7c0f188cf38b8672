use anyhow::{Result, bail};
use std::io::Write;
use std::os::unix::fs::MetadataExt;

/// True for root. For others it says, past the test harness's capture, that `what` is skipped; with `CI=true`
/// it is an error, since nothing may be skipped there.
#[expect(
    clippy::disallowed_methods,
    reason = "CI is how a machine says that skipping is a failure"
)]
pub fn is_root_for(what: &str) -> Result<bool> {
    if std::fs::metadata("/proc/self")?.uid() == 0 {
        return Ok(true);
    }
    if std::env::var_os("CI").is_some_and(|ci| ci == "true") {
        bail!("{what} needs root");
    }
    writeln!(std::io::stderr(), "SKIPPED: {what} needs root")?;
    Ok(false)
}
