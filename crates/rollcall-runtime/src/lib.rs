//! What both services share at run time: configuration, telemetry, caller authentication, the gRPC server,
//! health and shutdown.
//!
//! This crate must never know what a directory, a user or a sync is, and never reads the store: a service
//! hands in its routes and a probe.
//!
//! Read first: `config/default.toml` (every setting), [`server`] (the stack that a call passes through),
//! then [`caller`] (who may do what).
// Whoever adds a variant is shown each place that judges by it.
#![warn(clippy::wildcard_enum_match_arm)]

pub mod caller;
pub mod clock;
pub mod config;
pub mod descriptors;
pub mod exit;
pub mod expiry;
mod extensions;
mod failure;
pub mod health;
mod http1;
mod introduction;
mod layer;
pub mod machine;
pub mod memory;
mod permission;
mod process;
pub mod reload;
mod request_size;
pub mod server;
pub mod shutdown;
pub mod telemetry;

pub use failure::failed;
