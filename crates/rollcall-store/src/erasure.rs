//! Erasing people. The user, the identifiers and the soft lock go at once, together with the event that says so. Then a
//! sweep takes the person out of everything else that is kept. A run or a login that is under way meanwhile may still
//! write something about the person, so the sweep is repeated after it has ended. Until then a row, sealed by the
//! keyring, says whom to look for.

mod erase;
pub(crate) mod events;
mod plans;
mod sweep;
mod texts;

pub(crate) use erase::ERASURE;
pub use erase::{EraseUser, Left};
