//! System tests, one file per behaviour: both binaries, a real directory, a real store.
#![allow(clippy::unwrap_used, clippy::panic)]

mod company;
mod grpcurl;
mod hostile_names;
mod main_job;
mod recovery;
mod secrets;
