//! Logins that are under way at the same time: who waits for whom, and for how long.

pub mod disguise;
pub mod flight;
pub mod join;
pub mod turn;
