//! The administrative and sync side of Rollcall: keeps tenants, directories and user syncs, checks them, and carries
//! out runs when somebody asks or the schedule says so.
//!
//! What happens is decided by `rollcall-core`; this crate fetches, asks, and does what it is told. It must never know
//! SQL (that is `rollcall-store`), a byte of LDAP (`rollcall-ldap`) or how a status is encoded (`rollcall-proto`).
//!
//! Read first: [`worker`] (what the services share), then `services` (one file a service), [`run`] (how a run goes) and
//! [`admission`] (which user syncs run when). The lint below shows those who add a variant each place that judges by
//! it.
#![warn(clippy::wildcard_enum_match_arm)]

pub mod admission;
mod check_limit;
mod checks;
pub mod command;
pub mod config;
mod erasures;
mod figures;
mod hidden_state;
mod id_kind;
pub mod mail;
mod refusal_limit;
mod reminders;
mod report;
mod retention;
mod reviewed;
pub mod run;
mod sealer;
pub mod serve;
mod services;
pub mod verify_audit;
pub mod worker;
