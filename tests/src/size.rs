//! How much a test does. `tests/run long` asks for more of the same by environment variables.

use anyhow::{Context, Result};

/// A number that a person asks for; `None` means the usual one.
///
/// # Errors
/// The variable holds no number.
pub fn number(name: &str) -> Result<Option<u64>> {
    let value = variable(name);
    value
        .map(|value| value.parse().with_context(|| format!("{name} is no number")))
        .transpose()
}

/// What a person asks for.
#[expect(
    clippy::disallowed_methods,
    reason = "how large a test is, and nothing that is tested"
)]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
