//! How many users a run may change before it waits for a person, as the tenant's admin set it.

/// Removals allowed in a rolling week if the limit says nothing. Each other kind of change but growth has the same limit,
/// for itself.
const DEFAULT_MAX_COUNT: u32 = 5;
/// The same in per cent of the sync's users.
const DEFAULT_MAX_PERCENT: u32 = 10;
/// New users allowed in a rolling week if the limit says nothing.
const DEFAULT_GROWTH_COUNT: u32 = 100;
/// The same in per cent of the users at the beginning of the week.
const DEFAULT_GROWTH_PERCENT: u32 = 50;

/// How many users may be removed within a week before a run is held. Unset is the default, 0 allows none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RemovalLimit {
    /// Removals in a rolling week; the default is 5.
    pub max_count: Option<u32>,
    /// Per cent of the sync's users, 0 to 100; the default is 10. The larger of the two counts.
    pub max_percent: Option<u32>,
}

/// How many users may come within a week before a run is held. Unset is the default, 0 allows none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct GrowthLimit {
    /// New users in a rolling week; the default is 100.
    pub max_count: Option<u32>,
    /// Per cent of the users at the beginning of the week; the default is 50. The larger of the two counts.
    pub max_percent: Option<u32>,
}

impl RemovalLimit {
    /// How many of `total` users may be removed. A zero in either part allows none; otherwise the larger of
    /// the two counts.
    pub fn allowed(&self, total: u64) -> u64 {
        let defaults = (DEFAULT_MAX_COUNT, DEFAULT_MAX_PERCENT);
        allowed((self.max_count, self.max_percent), defaults, total)
    }
}

impl GrowthLimit {
    /// How many new users may come to `total`. A zero in either part allows none; otherwise the larger of the two counts.
    pub fn allowed(&self, total: u64) -> u64 {
        let defaults = (DEFAULT_GROWTH_COUNT, DEFAULT_GROWTH_PERCENT);
        allowed((self.max_count, self.max_percent), defaults, total)
    }
}

fn allowed((count, percent): (Option<u32>, Option<u32>), defaults: (u32, u32), total: u64) -> u64 {
    if count == Some(0) || percent == Some(0) {
        return 0;
    }
    let count = u64::from(count.unwrap_or(defaults.0));
    let percent = u64::from(percent.unwrap_or(defaults.1));
    count.max(total.saturating_mul(percent) / 100)
}
