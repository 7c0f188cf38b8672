//! How a process ends: 0, or 64 with one line for each mistake in the configuration, or 1 with the chain of
//! causes of a failed start.

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use crate::config::{Loaded, Mistakes, Settings};

use rollcall_core::error::chain;

/// Exit code for a wrong configuration or command line: EX_USAGE of sysexits.h.
pub const USAGE: u8 = 64;

/// Why a process ends early.
#[derive(Debug)]
pub enum Failure {
    /// The configuration is wrong.
    Configuration(Mistakes),
    /// Something needed at the start did not work, or a server broke.
    Failed(Box<dyn Error + Send + Sync>),
}

impl From<Mistakes> for Failure {
    fn from(mistakes: Mistakes) -> Self {
        Self::Configuration(mistakes)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Configuration(mistakes) => write!(f, "{mistakes}"),
            Self::Failed(error) => f.write_str(&chain(&**error)),
        }
    }
}

impl Failure {
    /// True if the same start may succeed later, since the configuration is not wrong.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(self, Self::Failed(_))
    }

    /// A failure for this reason.
    pub fn because(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Failed(error.into())
    }
}

/// Reads the command line. On a mistake, or for `--help` and `--version`, prints and ends the process.
pub fn parse_arguments<A: Parser>() -> A {
    A::try_parse().unwrap_or_else(|error| {
        // Nothing is left to do if standard error is closed.
        let _ = error.print();
        std::process::exit(if error.use_stderr() { USAGE.into() } else { 0 })
    })
}

/// Writes the settings in effect to standard output, with secrets redacted.
///
/// # Errors
/// Nobody takes them.
pub fn print_configuration<T: Settings>(loaded: &Loaded<T>) -> Result<(), Failure> {
    let text = loaded.to_redacted_toml();
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(Failure::because)
}

/// Runs the body of `main`, tells what went wrong on standard error, and returns the exit code.
pub fn run(program: &str, main: impl FnOnce() -> Result<(), Failure>) -> ExitCode {
    let failure = match main() {
        Ok(()) => return ExitCode::SUCCESS,
        Err(failure) => failure,
    };
    match failure {
        Failure::Configuration(mistakes) => {
            for mistake in mistakes.iter() {
                eprintln!("{program}: {mistake}");
            }
            ExitCode::from(USAGE)
        }
        Failure::Failed(error) => {
            eprintln!("{program}: {}", chain(&*error));
            ExitCode::FAILURE
        }
    }
}
