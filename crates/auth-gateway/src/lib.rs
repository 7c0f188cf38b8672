//! The login side of Rollcall: AuthService, which checks passwords against the directories that own them, and
//! UserService, which keeps the users.
//!
//! The services convert, authorize and call; what is decided is decided in rollcall-core or, for the order of a login's
//! steps, in [`login`]. This crate must never know ldap3 or sea-orm, and a password only as
//! [`rollcall_core::secret::Password`], from the moment a request is converted.
//!
//! Read first: [`login`] (a login from beginning to end), [`serve`] (how it all is put together), then
//! `config/default.toml`. The lint below shows those who add a variant each place that judges by it.
#![warn(clippy::wildcard_enum_match_arm)]

mod auth_service;
pub mod config;
pub mod login;
pub mod secrets;
pub mod serve;
mod user_service;
mod users;
pub mod worker;
