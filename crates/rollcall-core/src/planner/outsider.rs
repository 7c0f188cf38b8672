//! Somebody whom a run does not change, and who has what one of its entries asks for.

use crate::claims::Outside;
use crate::id::{UserId, UserSyncId};

/// Who has the identifier, as far as an issue may name them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Outsider {
    pub(super) outside: Outside,
    /// The DN, if it is of the same directory.
    pub(super) dn: Option<String>,
    /// The user whose DN that is.
    pub(super) user: Option<UserId>,
    /// The user sync that has them, if it is another one of the same directory.
    pub(super) user_sync: Option<UserSyncId>,
}

impl Outsider {
    /// A holder of whom an issue tells only that there is one.
    pub(super) fn unnamed() -> Self {
        Self {
            outside: Outside::Keeps,
            dn: None,
            user: None,
            user_sync: None,
        }
    }
}
