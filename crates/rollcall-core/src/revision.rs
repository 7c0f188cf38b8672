//! Which version of a resource one speaks of.

use std::fmt;

/// Counts the changes of a tenant, a directory, a user sync or a user. Revisions of different resources have nothing to
/// do with each other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Revision(i64);

impl Revision {
    /// Before the resource exists: what a creation expects.
    pub const NONE: Self = Self(0);
    /// The resource as it was created.
    pub const FIRST: Self = Self(1);

    /// The revision of this number, as it is stored or sent.
    pub const fn new(number: i64) -> Self {
        Self(number)
    }

    /// The number, to be stored or sent.
    pub const fn number(self) -> i64 {
        self.0
    }

    /// The revision after one more change.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
