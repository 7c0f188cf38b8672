//! Checks: what logins and runs do, done once and explained.
//!
//! A check shares its code with them, writes nothing, and ends within its time limit. It must not serve
//! as a network scanner: addresses that the policy refuses are never shown, and a name that resolves to
//! one fails like a name that does not exist.

mod advice;
mod connection;
mod count;
mod describe;
mod lint;
mod lockout;
mod privilege;
mod searches;
mod stages;

pub use connection::{ConnectionCheck, HostCheck, check_connection};
pub use count::Count;
pub use lockout::Lockout;
pub use privilege::Privilege;
pub use searches::{SearchesCheck, SearchesToCheck, check_searches};
