//! Rollcall's gRPC contract in Rust: the generated code of `proto/rollcall/v1`, the conversions between the wire and
//! the domain, and the one mapping from errors to statuses.
//!
//! It must never know a database, a directory or a configuration file: it holds no state and does no I/O. The rules
//! about values are `rollcall-core`'s; here the shapes of the wire are decoded, and every bad field of a request is
//! reported at once.
//!
//! Start with [`v1`], which is the contract itself; its comments are those of the `.proto` files. Then [`convert`] and
//! [`status`].
// Whoever adds a variant is shown each place that judges by it.
#![warn(clippy::wildcard_enum_match_arm)]

mod changes;
pub mod convert;
mod decode;
mod etag;
mod fields;
mod generated;
mod json;
pub mod page;
pub mod resource_name;
mod server_of;
pub mod status;
mod time;
mod update_mask;

pub use changes::{MAX_VALUE, Resource, changes};
pub use etag::etag;
pub use generated::{FILE_DESCRIPTOR_SET, v1};
pub use json::audit_event_line;
pub use server_of::server_of;
pub use time::{duration, timestamp};
