//! The binary against a worker that answers as told.
#![allow(clippy::unwrap_used, clippy::panic)]

mod audit_tail;
mod command_line;
mod erase_user;
mod run_sync;
mod trigger_due;
mod worker;
