//! Which release's programs a test starts.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

/// A release.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Release {
    /// This tree's.
    This,
    /// The one before: `tests/previous-release` says which, and builds it.
    Before,
}

impl Release {
    /// A program of it.
    pub fn binary(self, name: &str) -> Result<PathBuf> {
        match self {
            Self::This => binary(name),
            Self::Before => Ok(before()?.join(name)),
        }
    }

    /// Whether its programs are there. Where they are not, tests that need them are skipped, and CI fails, unless tests/run
    /// says that the history here does not hold that release.
    #[expect(
        clippy::disallowed_methods,
        reason = "CI is how a machine says that skipping is a failure"
    )]
    pub fn is_here(self) -> Result<bool> {
        if self.binary("auth-gateway")?.exists() {
            return Ok(true);
        }
        let is = |name: &str, value: &str| std::env::var_os(name).is_some_and(|set| set == value);
        if is("CI", "true") && !is("ROLLCALL_PREVIOUS_RELEASE", "absent") {
            bail!("the release before is missing: run tests/previous-release");
        }
        // Past the capture of the test harness.
        writeln!(
            std::io::stderr(),
            "SKIPPED: a test that needs the release before, which tests/previous-release builds"
        )?;
        Ok(false)
    }
}

/// Beside the directory that the running test was built into.
fn before() -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    let target = test
        .ancestors()
        .nth(3)
        .context("the test has no build directory")?;
    Ok(target.join("previous").join("bin"))
}

/// A binary of this workspace's build: beside the directory that the running test was built into.
pub fn binary(name: &str) -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    let directory = test
        .ancestors()
        .nth(2)
        .context("the test has no build directory")?;
    let binary = directory.join(name);
    if !binary.exists() {
        bail!(
            "{} is missing: run cargo build --workspace --bins",
            binary.display()
        );
    }
    Ok(binary)
}
