//! Each part of the testkit, started for real.
#![allow(clippy::unwrap_used, clippy::panic)]

mod people;
mod postgres;
mod scripted;
mod slapd;
mod wait;
