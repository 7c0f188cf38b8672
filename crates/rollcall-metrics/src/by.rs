//! A metric that exists once for each value of its labels.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

/// A gauge of seconds, days or shares.
pub(crate) type Float = Gauge<f64, AtomicU64>;

/// One metric for each of a closed set of values, all made at the start.
pub struct By<K, M>(HashMap<K, M>);

impl<K: Eq + Hash, M> By<K, M> {
    pub(crate) fn new(all: impl IntoIterator<Item = (K, M)>) -> Self {
        Self(all.into_iter().collect())
    }
}

impl<K: Eq + Hash> By<K, Counter> {
    /// Adds one.
    pub fn count(&self, key: K) {
        self.add(key, 1);
    }

    /// Adds this many.
    pub fn add(&self, key: K, more: u64) {
        if let Some(counter) = self.0.get(&key) {
            counter.inc_by(more);
        }
    }
}

impl<K: Eq + Hash> By<K, Gauge> {
    /// Sets the present value.
    pub fn set(&self, key: K, now: i64) {
        if let Some(gauge) = self.0.get(&key) {
            gauge.set(now);
        }
    }
}

impl<K: Eq + Hash> By<K, Float> {
    /// Sets the present value.
    pub fn set(&self, key: K, now: f64) {
        if let Some(gauge) = self.0.get(&key) {
            gauge.set(now);
        }
    }
}

impl<K: Eq + Hash> By<K, Histogram> {
    /// Records one duration.
    pub fn took(&self, key: K, duration: Duration) {
        if let Some(histogram) = self.0.get(&key) {
            histogram.observe(duration.as_secs_f64());
        }
    }
}
