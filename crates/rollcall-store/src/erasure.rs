//! Erasing people. The user, the identifiers and the soft lock go at once, with the event that tells it; then a sweep takes
//! the person out of all else that is kept. What is under way meanwhile, a run or a login, may still write something about
//! the person, so the sweep is repeated when that has ended: until then a row tells whom to look for, sealed by the keyring.

mod erase;
pub(crate) mod events;
mod plans;
mod sweep;
mod texts;

pub(crate) use erase::ERASURE;
pub use erase::{EraseUser, Left};
