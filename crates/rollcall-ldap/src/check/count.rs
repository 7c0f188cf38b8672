//! How many entries a search found.

/// How many entries a search found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Count {
    /// At least so many.
    pub entries: u64,
    /// Whether there are no more.
    pub exact: bool,
}
