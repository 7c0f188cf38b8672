//! The gateway with a real slapd, a real database and a real gRPC channel.
#![allow(clippy::unwrap_used, clippy::panic)]

mod changes;
mod guessing;
mod login;
mod outages;
mod refusals;
mod secrets;
mod users;
mod world;
