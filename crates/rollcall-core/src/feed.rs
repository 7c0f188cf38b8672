//! Places in a feed.

/// Where a reader of a feed stands: behind the row at a position. Positions alone would not do: after a restore of the
/// database from a backup, other rows come to stand at the same positions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark {
    /// The row's position; 0 is before the first.
    pub position: i64,
    /// Tells this row from any other that might stand there. Nothing that can be erased of a row counts in it.
    pub digest: i64,
}

impl Mark {
    /// Before the first row.
    pub const START: Self = Self {
        position: 0,
        digest: 0,
    };
}
