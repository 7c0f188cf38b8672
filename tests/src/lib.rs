//! A whole Rollcall for system tests: both binaries as a deployment starts them, a store of its own, and
//! clients for what they serve.
//!
//! What is tested is the built programs, so `cargo build --bins` comes first; `tests/run` does it.
//!
//! Read first: [`System`], then the files of `it/`, one a behaviour.

pub mod bench;
pub mod chart;
mod contract;
pub mod load;
mod release;
mod service;
mod size;
mod system;

pub use contract::{Contract, Method, length_delimited};
pub use release::{Release, binary};
pub use service::Service;
pub use size::{number, variable};
pub use system::{Backend, System, directory_of, sync_of};
