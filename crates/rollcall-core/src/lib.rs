//! The rules of Rollcall, without any I/O.
//!
//! A tenant connects its LDAP directory; user syncs choose which of its entries become users; runs carry
//! that out and logins ask the directory for a password check. Everything that *decides* is here, as types
//! and pure functions; the other crates fetch, ask this one, and do what it says.
//!
//! This crate must never know tonic, sea-orm, ldap3, a socket, a file, the environment or the current
//! time: time is a parameter, and so is chance.
//!
//! Read first: [`directory`] and [`user_sync`] (what a tenant configures), then [`user`], [`judgement`] (what an
//! entry means), [`claims`] (who gets which login), [`plan`] (what a run would change) and [`verdict`] (what a
//! bind's answer means).
// Whoever adds a variant is shown each place that judges by it.
#![warn(clippy::wildcard_enum_match_arm)]

pub mod audit;
pub mod check;
pub mod claims;
pub mod dialect;
pub mod digests;
pub mod directory;
pub mod dn;
pub mod entry;
pub mod erasure;
pub mod error;
pub mod event;
pub mod exclusions;
pub mod external_id;
pub mod feed;
pub mod field;
pub mod filter;
pub mod guard;
pub mod id;
pub mod id_choice;
pub mod identifier;
pub mod issue;
pub mod judgement;
pub mod last_login;
pub mod local_user;
pub mod mac;
pub mod mail;
pub mod mapping;
pub mod naming;
pub mod person;
pub mod plan;
pub mod planner;
pub mod reader;
pub mod reminder;
pub mod revision;
pub mod role;
pub mod run;
pub mod schedule;
pub mod schema;
pub mod secret;
pub mod secret_attribute;
pub mod security_review;
pub mod soft_lock;
pub mod survey;
pub mod template;
pub mod tenant;
mod text_enum;
mod text_form;
pub mod user;
pub mod user_sync;
pub mod verdict;
pub mod violation;
pub mod vocabulary;
pub mod wording;
