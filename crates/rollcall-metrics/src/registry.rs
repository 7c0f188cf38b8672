//! Where metrics are made and described.

use std::hash::Hash;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};

use crate::by::{By, Float};

/// What one series of a metric is called: names and values of its labels.
pub(crate) type Labels = Vec<(&'static str, String)>;

/// What a metric is, for the documentation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Described {
    /// Its full name, as it is queried.
    pub name: String,
    /// Counter, gauge or histogram.
    pub kind: &'static str,
    /// The names of its labels.
    pub labels: Vec<&'static str>,
    /// What it says.
    pub help: &'static str,
}

/// Makes metrics and remembers what they are.
pub(crate) struct Catalogue {
    registry: Registry,
    described: Vec<Described>,
}

impl Catalogue {
    pub(crate) fn new() -> Self {
        Self {
            registry: Registry::with_prefix("rollcall"),
            described: Vec::new(),
        }
    }

    pub(crate) fn into_parts(self) -> (Registry, Vec<Described>) {
        (self.registry, self.described)
    }

    pub(crate) fn counter(&mut self, name: &str, help: &'static str) -> Counter {
        self.add("counter", name, &[], help, Counter::default())
    }

    pub(crate) fn gauge(&mut self, name: &str, help: &'static str) -> Gauge {
        self.add("gauge", name, &[], help, Gauge::default())
    }

    pub(crate) fn float(&mut self, name: &str, help: &'static str) -> Float {
        self.add("gauge", name, &[], help, Float::default())
    }

    pub(crate) fn histogram(&mut self, name: &str, help: &'static str, buckets: &[f64]) -> Histogram {
        let histogram = Histogram::new(buckets.iter().copied());
        self.add("histogram", name, &[], help, histogram)
    }

    /// A counter for each of these values of one label.
    pub(crate) fn counters<K: Eq + Hash>(
        &mut self,
        name: &str,
        help: &'static str,
        label: &'static str,
        values: impl Iterator<Item = (K, &'static str)>,
    ) -> By<K, Counter> {
        let one = values.map(|(key, value)| (key, [value]));
        self.counters_by(name, help, [label], one)
    }

    /// A counter for each of these values of several labels.
    pub(crate) fn counters_by<K: Eq + Hash, const N: usize>(
        &mut self,
        name: &str,
        help: &'static str,
        labels: [&'static str; N],
        values: impl Iterator<Item = (K, [&'static str; N])>,
    ) -> By<K, Counter> {
        let family = self.counter_family(name, help, &labels);
        By::new(values.map(|(key, values)| (key, family.get_or_create_owned(&series(labels, values)))))
    }

    /// A gauge for each of these values of several labels.
    pub(crate) fn gauges_by<K: Eq + Hash, const N: usize>(
        &mut self,
        name: &str,
        help: &'static str,
        labels: [&'static str; N],
        values: impl Iterator<Item = (K, [&'static str; N])>,
    ) -> By<K, Gauge> {
        let family = self.add("gauge", name, &labels, help, Family::<Labels, Gauge>::default());
        By::new(values.map(|(key, values)| (key, family.get_or_create_owned(&series(labels, values)))))
    }

    /// A gauge of a number with a fraction for each of these values of one label.
    pub(crate) fn floats<K: Eq + Hash>(
        &mut self,
        name: &str,
        help: &'static str,
        label: &'static str,
        values: impl Iterator<Item = (K, &'static str)>,
    ) -> By<K, Float> {
        let family = self.add("gauge", name, &[label], help, Family::<Labels, Float>::default());
        By::new(values.map(|(key, value)| (key, family.get_or_create_owned(&series([label], [value])))))
    }

    /// A histogram of seconds for each of these values of one label.
    pub(crate) fn histograms<K: Eq + Hash>(
        &mut self,
        name: &str,
        help: &'static str,
        label: &'static str,
        values: impl Iterator<Item = (K, &'static str)>,
        make: fn() -> Histogram,
    ) -> By<K, Histogram> {
        let family = self.histogram_family(name, help, &[label], make);
        By::new(values.map(|(key, value)| (key, family.get_or_create_owned(&series([label], [value])))))
    }

    pub(crate) fn counter_family(
        &mut self,
        name: &str,
        help: &'static str,
        labels: &[&'static str],
    ) -> Family<Labels, Counter> {
        self.add("counter", name, labels, help, Family::default())
    }

    pub(crate) fn histogram_family(
        &mut self,
        name: &str,
        help: &'static str,
        labels: &[&'static str],
        make: fn() -> Histogram,
    ) -> Family<Labels, Histogram, fn() -> Histogram> {
        let family = Family::new_with_constructor(make);
        self.add("histogram", name, labels, help, family)
    }

    fn add<M: Metric + Clone>(
        &mut self,
        kind: &'static str,
        name: &str,
        labels: &[&'static str],
        help: &'static str,
        metric: M,
    ) -> M {
        let ending = if kind == "counter" { "_total" } else { "" };
        self.described.push(Described {
            name: format!("rollcall_{name}{ending}"),
            kind,
            labels: labels.to_vec(),
            help,
        });
        self.registry.register(name, help, metric.clone());
        metric
    }
}

pub(crate) fn text(registry: &Registry) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = encode(&mut text, registry);
    text
}

fn series<const N: usize>(labels: [&'static str; N], values: [&'static str; N]) -> Labels {
    labels.into_iter().zip(values.map(str::to_owned)).collect()
}
