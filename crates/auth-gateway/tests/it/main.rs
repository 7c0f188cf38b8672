//! The gateway with a real slapd, a real database and a real gRPC channel.
#![allow(clippy::unwrap_used, clippy::panic)]

mod account_states;
mod active_directory;
mod at_once;
mod binary;
mod changes;
mod crash;
mod erasing;
mod events;
mod guessing;
mod hostile_tenant;
mod login;
mod nobody;
mod odd_names;
mod one_bind;
mod outages;
mod panics;
mod refreshes;
mod refusals;
mod secrets;
mod shared_store;
mod tenant_views;
mod users;
mod world;
