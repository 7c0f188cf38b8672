//! Times and durations on the wire.

use std::time::Duration;

use chrono::{DateTime, Utc};
use rollcall_core::violation::Violations;

/// A moment as it goes on the wire.
pub fn timestamp(time: DateTime<Utc>) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: time.timestamp(),
        nanos: time.timestamp_subsec_nanos().min(999_999_999) as i32,
    }
}

/// A duration as it goes on the wire. Longer ones than the wire can hold (over 10,000 years) are cut.
pub fn duration(duration: Duration) -> prost_types::Duration {
    const MAX_SECONDS: u64 = 315_576_000_000;
    prost_types::Duration {
        seconds: duration.as_secs().min(MAX_SECONDS) as i64,
        nanos: duration.subsec_nanos() as i32,
    }
}

/// Decodes a duration, which must not be negative. Absent gives `default`.
pub(crate) fn decode_duration(
    found: &mut Violations,
    field: &str,
    wire: Option<prost_types::Duration>,
    default: Duration,
) -> Duration {
    let Some(wire) = wire else { return default };
    let seconds = u64::try_from(wire.seconds).ok();
    let nanos = u32::try_from(wire.nanos)
        .ok()
        .filter(|nanos| *nanos < 1_000_000_000);
    match seconds.zip(nanos) {
        Some((seconds, nanos)) => Duration::new(seconds, nanos),
        None => {
            found.add(field, "must be a duration that is not negative");
            default
        }
    }
}

/// Decodes a moment, if there is one.
pub(crate) fn decode_time(
    found: &mut Violations,
    field: &str,
    wire: Option<prost_types::Timestamp>,
) -> Option<DateTime<Utc>> {
    let wire = wire?;
    let nanos = u32::try_from(wire.nanos)
        .ok()
        .filter(|nanos| *nanos < 1_000_000_000);
    let time = nanos.and_then(|nanos| DateTime::from_timestamp(wire.seconds, nanos));
    if time.is_none() {
        found.add(field, "is not a moment between the years 1 and 9999");
    }
    time
}
