//! The sync worker as its callers see it: a real server on a free port, SQLite, and real slapd servers.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    unreachable_pub
)]

mod audit;
mod bind_expiry;
mod cases;
mod command;
mod company;
mod connection_checks;
mod directories;
mod directory_permits;
mod empty_base;
mod endpoint_change;
mod erasing;
mod explaining;
mod forecasts;
mod harness;
mod hidden_state;
mod holds;
mod identity;
mod issues;
mod judgement;
mod left_behind;
mod mail_budgets;
mod moves;
mod names;
mod odd_names;
mod overlaps;
mod pending_passwords;
mod relinking;
mod reminding;
mod repeats;
mod reports;
mod run_bad_input;
mod run_completeness;
mod run_costs;
mod run_cut_short;
mod run_rules;
mod run_world;
mod runs;
mod scheduling;
mod secret_attributes;
mod security_review;
mod shared_ids;
mod swaps;
mod tenants;
mod trust;
mod unreadable;
mod user_sync_checks;
mod user_syncs;
mod watching;
