//! System tests, one file per behaviour: both binaries, a real directory, a real store.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods
)]

mod bad_input;
mod balancer;
mod chaos;
mod company;
mod cron_job;
mod crowd;
mod deletions;
mod failover;
mod floods;
mod foreign_guid;
mod grpcurl;
mod h2spec;
mod hostile_names;
mod interrupted;
mod lockout;
mod lost_role;
mod main_job;
mod mended;
mod misconfigured;
mod new_forest;
mod observed;
mod recovery;
mod refreshed;
mod renewed;
mod replicas;
mod restored;
mod rolling;
mod rotation;
mod secrets;
mod steps;
mod support;
mod upgraded;
mod walk;
mod watchers;
