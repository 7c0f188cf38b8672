//! Calls, by method.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;

use crate::registry::{Catalogue, Labels};

/// Seconds that calls and logins are sorted into.
pub(crate) const CALL_SECONDS: [f64; 15] = [
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0,
];
/// The name of calls that no service of this server has.
const OTHER: &str = "other";
/// How statuses are called, by their numbers in gRPC.
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// How many calls came, how they ended, and how long they took.
pub struct Rpc {
    calls: Family<Labels, Counter>,
    durations: Family<Labels, Histogram, fn() -> Histogram>,
}

/// The methods that one server has, each with its metrics.
pub struct Methods {
    known: HashMap<String, Method>,
    other: Method,
}

struct Method {
    labels: Labels,
    calls: Family<Labels, Counter>,
    codes: [OnceLock<Counter>; CODES.len()],
    duration: Histogram,
}

impl Rpc {
    pub(crate) fn new(catalogue: &mut Catalogue) -> Self {
        let seconds = || Histogram::new(CALL_SECONDS.iter().copied());
        Self {
            calls: catalogue.counter_family(
                "rpc_calls",
                "Calls that ended, by method and status; streams count when they begin to answer",
                &["method", "code"],
            ),
            durations: catalogue.histogram_family(
                "rpc_seconds",
                "How long calls took until they were answered, by method",
                &["method"],
                seconds,
            ),
        }
    }

    /// The metrics of these methods, by path (`/package.Service/Method`). All other paths count as one method, since
    /// callers can make up paths.
    pub fn of(&self, paths: impl IntoIterator<Item = String>) -> Methods {
        let known = paths.into_iter().map(|path| {
            let method = self.method(path.trim_start_matches('/'));
            (path, method)
        });
        Methods {
            known: known.collect(),
            other: self.method(OTHER),
        }
    }

    fn method(&self, name: &str) -> Method {
        let labels = vec![("method", name.to_owned())];
        let method = Method {
            duration: self.durations.get_or_create_owned(&labels),
            labels,
            calls: self.calls.clone(),
            codes: [const { OnceLock::new() }; CODES.len()],
        };
        // Made before the first call; otherwise the first rate would miss it.
        method.code(0);
        method
    }
}

impl Methods {
    /// A call was answered with the status of this number.
    pub fn answered(&self, path: &str, code: i32, took: Duration) {
        let method = self.known.get(path).unwrap_or(&self.other);
        if let Some(counter) = method.code(code) {
            counter.inc();
        }
        method.duration.observe(took.as_secs_f64());
    }
}

impl Method {
    fn code(&self, code: i32) -> Option<&Counter> {
        let index = usize::try_from(code).ok().filter(|index| *index < CODES.len())?;
        Some(self.codes[index].get_or_init(|| {
            let mut labels = self.labels.clone();
            labels.push(("code", CODES[index].to_owned()));
            self.calls.get_or_create_owned(&labels)
        }))
    }
}
