#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::sync::{Arc, Mutex};

use super::*;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn telemetry(filter: &str) -> Telemetry {
    Telemetry {
        format: LogFormat::Json,
        filter: filter.to_owned(),
        otlp_endpoint: String::new(),
        trace_percent: 100,
        metrics_by_tenant: false,
    }
}

fn logged(filter: &str, log: impl FnOnce()) -> String {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .with_env_filter(telemetry(filter).directives().unwrap())
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, log);
    let bytes = lines.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn no_filter_opens_the_libraries() {
    for filter in [
        "trace",
        "ldap3=trace",
        "ldap3::conn=trace",
        "debug,ldap3=debug,h2::codec=trace",
        "ldap3",
    ] {
        let text = logged(filter, || {
            tracing::trace!(target: "ldap3::conn", "canary");
            tracing::debug!(target: "ldap3", "canary");
            tracing::warn!(target: "ldap3", "canary");
            tracing::debug!(target: "h2::codec", "canary");
            tracing::info!(target: "sqlx::query", "canary");
        });
        assert!(!text.contains("canary"), "{filter}: {text}");
    }
}

#[test]
fn our_own_logs_open_as_asked() {
    let log = || {
        tracing::debug!(target: "rollcall_ldap::pool", "one");
        tracing::debug!(target: "rollcall_store", "two");
        tracing::info!(target: "rollcall_core", "three");
        tracing::error!(target: "ldap3", "four");
    };
    let text = logged("info,rollcall_ldap=debug", log);
    for (word, expected) in [("one", true), ("two", false), ("three", true), ("four", true)] {
        assert_eq!(text.contains(word), expected, "{word}: {text}");
    }
}

#[test]
fn bad_filters_are_refused() {
    for bad in ["rollcall=loud", "[call]=trace", "a=b=c"] {
        assert!(telemetry(bad).directives().is_err(), "{bad}");
    }
}

#[test]
fn steps_make_no_spans_while_nobody_collects_them() {
    let (subscriber, _handle) = subscriber(&telemetry("info"), None).unwrap();
    tracing::dispatcher::with_default(&subscriber, || {
        assert!(tracing::info_span!(target: "rollcall_trace", "login.step").is_disabled());
        assert!(!tracing::info_span!("call").is_disabled());
    });
}
