//! How a command ended, and the exit code that says so.

use std::process::ExitCode;

/// How a command ended, when it could be carried out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Verdict {
    Well,
    NeedsAttention,
    Failed,
}

impl From<Verdict> for ExitCode {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Well => ExitCode::SUCCESS,
            Verdict::Failed => ExitCode::from(1),
            Verdict::NeedsAttention => ExitCode::from(2),
        }
    }
}
