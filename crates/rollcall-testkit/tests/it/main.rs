//! Each part of the testkit, started for real.
#![allow(clippy::unwrap_used, clippy::panic)]

mod dirsrv;
mod left_behind;
mod people;
mod postgres;
mod proxy;
mod recorder;
mod samba;
mod scripted;
mod slapd;
mod tree;
mod wait;
