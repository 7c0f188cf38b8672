//! The gateway with a real slapd, a real database and a real gRPC channel.
#![allow(clippy::unwrap_used, clippy::panic)]

mod login;
mod world;
