//! The server over real sockets, with a small service behind it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod callers;
mod certificates;
mod compression;
mod drain;
mod health;
mod isolation;
mod malformed;
mod not_grpc;
mod probe_service;
mod reflection;
mod refused;
mod reloaded;
mod request_memory;
mod running;
mod selfish;
mod strangers;
mod stream_age;
mod watches;
