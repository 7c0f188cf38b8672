//! Role rules on real servers: a run and a login must say the same of everybody.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod agreement;
mod large;
mod limits;
mod missing;
mod open_directories;
mod real;
