//! The store's conformance suite: every test runs on SQLite and on PostgreSQL.
#![allow(clippy::unwrap_used, clippy::panic)]

mod engine;
mod fixture;

mod apply;
mod configuration;
mod converge;
mod deletions;
mod durability;
mod event_changes;
mod feed;
mod guard_counts;
mod held_line;
mod id_kinds;
mod in_force;
mod isolation;
mod leases;
mod local_users;
mod login_requests;
mod logins;
mod lookups;
mod plans;
mod refusals;
mod retention;
mod runs;
mod schema;
mod secrets;
mod throttles;
mod vanished;
