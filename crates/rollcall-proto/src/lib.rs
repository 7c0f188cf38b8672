//! Rollcall's gRPC contract in Rust: the generated code of `proto/rollcall/v1`, the conversions between the wire and
//! the domain, and the one mapping from errors to statuses.
//!
//! It must never know a database, a directory or a configuration file: it holds no state and does no I/O.
//!
//! Start with [`v1`], which is the contract itself; its comments are those of the `.proto` files.

mod generated;

pub use generated::{FILE_DESCRIPTOR_SET, v1};
