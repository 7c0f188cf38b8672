//! Times as they are stored: microseconds since 1970 in a BIGINT, on both engines.
//!
//! SQLite has no time type, and the texts that drivers store instead do not sort like times. PostgreSQL's own
//! `timestamptz` has microseconds too, so nothing is lost. With one form, one SQL text serves both engines.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::error::{Result, StoreError};

pub(crate) fn to_micros(time: DateTime<Utc>) -> i64 {
    time.timestamp_micros()
}

pub(crate) fn from_micros(micros: i64) -> Result<DateTime<Utc>> {
    DateTime::from_timestamp_micros(micros).ok_or(StoreError::corrupt("a stored time is out of range"))
}

/// The time as it will be read back: cut to microseconds.
pub(crate) fn to_stored(time: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(time.timestamp_micros()).unwrap_or(time)
}

/// A length of time, to add to the database's [`now`](crate::db::engine::Engine::now).
pub(crate) fn in_micros(time: Duration) -> i64 {
    time.as_micros().try_into().unwrap_or(i64::MAX / 4)
}

/// For `#[serde(with = ...)]`.
pub(crate) mod micros {
    use chrono::{DateTime, Utc};
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(time: &DateTime<Utc>, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_i64(time.timestamp_micros())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<DateTime<Utc>, D::Error> {
        let micros = i64::deserialize(d)?;
        DateTime::from_timestamp_micros(micros).ok_or_else(|| serde::de::Error::custom("time out of range"))
    }
}

/// For `#[serde(with = ...)]`.
pub(crate) mod optional_micros {
    use chrono::{DateTime, Utc};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(time: &Option<DateTime<Utc>>, s: S) -> Result<S::Ok, S::Error> {
        time.map(|time| time.timestamp_micros()).serialize(s)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<DateTime<Utc>>, D::Error> {
        let micros = Option::<i64>::deserialize(d)?;
        Ok(micros.and_then(DateTime::from_timestamp_micros))
    }
}
