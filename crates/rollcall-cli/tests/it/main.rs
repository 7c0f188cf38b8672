//! The binary against a worker that answers as told.
#![allow(clippy::unwrap_used, clippy::panic)]

mod command_line;
mod run_sync;
mod trigger_due;
mod worker;
