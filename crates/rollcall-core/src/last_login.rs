//! When users last logged in: kept beside them, since it is no change of a user, and not to the second, since it would cost
//! each login a write.

use chrono::{DateTime, TimeDelta, Utc};

/// A later login of a user is noted only so long after the one that is noted.
pub const PRECISION: TimeDelta = TimeDelta::hours(1);

/// True if a login at `now` is to be noted of a user whose last one is noted as of `noted`.
pub fn is_due(noted: Option<DateTime<Utc>>, now: DateTime<Utc>) -> bool {
    noted.is_none_or(|noted| now - noted >= PRECISION)
}
