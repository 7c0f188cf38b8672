//! What both services compose from the adapters, once: a login, a run, a refresh and a check ask the same question in
//! the same way and read the answer alike.
//!
//! It holds no rule (those are rollcall-core's) and serves no call of its own. It must never know SQL, a byte of LDAP,
//! or which of the services uses it.
//!
//! Read first: [`directories`] (those that are open), [`reading`] (how a user sync reads entries), [`role`] (the role
//! of one entry), [`roles`] (the same for a whole run) and [`failure`] (what a failed operation on a directory means
//! for the caller). [`call`], [`paging`], [`resource`] and [`record`] are what every method of both services begins and
//! ends with. The lint below shows those who add a variant each place that judges by it.
#![warn(clippy::wildcard_enum_match_arm)]

mod actor;
mod groups;

pub mod call;
pub mod configuration;
pub mod directories;
pub mod eligibility;
pub mod failure;
pub mod in_use;
pub mod message_size;
pub mod methods;
pub mod offers;
pub mod paging;
pub mod pull;
pub mod reading;
pub mod record;
pub mod resource;
pub mod role;
pub mod roles;
pub mod scope;
pub mod tokens;
pub mod watch;
