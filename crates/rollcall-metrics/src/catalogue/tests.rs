#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use rollcall_core::id::TenantId;

use super::*;

/// What one process may have, whatever comes in. Prometheus counts each bucket as a series.
const MOST_SERIES: usize = 2_500;
const LABELS: [&str; 15] = [
    "breaker",
    "change",
    "code",
    "kind",
    "method",
    "mode",
    "operation",
    "outcome",
    "phase",
    "pool",
    "reason",
    "result",
    "stage",
    "state",
    "sub_code",
];

fn series(text: &str) -> BTreeSet<&str> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(series, _)| series)
        .collect()
}

/// The worker has the most methods.
fn methods() -> Vec<String> {
    (0..45)
        .map(|n| format!("/rollcall.v1.UserSyncService/Method{n}"))
        .collect()
}

#[test]
fn what_comes_in_makes_no_series() {
    let metrics = Metrics::new();
    let methods = metrics.rpc.of(methods());
    let before = metrics.text();
    for n in 0..10_000 {
        let path = format!("/rollcall.v1.UserSyncService/Guess{n}");
        methods.answered(&path, 12, Duration::from_millis(n));
        let tenant = TenantId::parse(&format!("tenant-{n}")).unwrap();
        metrics.tenant_logins.login(&tenant, LoginOutcome::Denied);
        metrics
            .logins
            .count((LoginOutcome::Denied, OwnReason::UnknownLogin.into()));
    }
    let text = metrics.text();
    let (now, then) = (series(&text), series(&before));
    let new: Vec<_> = now.difference(&then).collect();
    assert_eq!(
        new,
        [&"rollcall_rpc_calls_total{method=\"other\",code=\"UNIMPLEMENTED\"}"]
    );
    assert!(now.len() < MOST_SERIES, "{} series", now.len());
}

#[test]
fn no_label_is_a_tenant_s_a_user_s_or_a_host_s_unless_asked_for() {
    let metrics = Metrics::new();
    let known: BTreeSet<&str> = LABELS.into_iter().chain(["type", "version"]).collect();
    for metric in metrics.described() {
        let tenants = metric.name == "rollcall_tenant_logins_total";
        for label in &metric.labels {
            assert!(
                known.contains(label) || tenants && *label == "tenant",
                "{} has {label}",
                metric.name
            );
        }
    }
    let acme = TenantId::parse("acme").unwrap();
    metrics.tenant_logins.login(&acme, LoginOutcome::Authenticated);
    assert!(!metrics.text().contains("acme"));
    metrics.tenant_logins.want(true);
    metrics.tenant_logins.login(&acme, LoginOutcome::Authenticated);
    assert!(
        metrics
            .text()
            .contains("rollcall_tenant_logins_total{tenant=\"acme\",outcome=\"authenticated\"} 1")
    );
}

#[test]
fn every_end_of_a_login_and_a_bind_is_there_before_the_first() {
    let text = Metrics::new().text();
    for line in [
        "rollcall_logins_total{outcome=\"authenticated\",reason=\"AUTHENTICATED\"} 0",
        "rollcall_logins_total{outcome=\"denied\",reason=\"ENTRY_OUT_OF_SCOPE\"} 0",
        "rollcall_logins_total{outcome=\"error\",reason=\"DIRECTORY_UNAVAILABLE\"} 0",
        "rollcall_binds_total{result=\"invalid_credentials\",sub_code=\"775\"} 0",
        "rollcall_binds_total{result=\"success\",sub_code=\"none\"} 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}");
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "whoever runs the test asks for the page to be written"
)]
#[test]
fn the_documentation_is_the_catalogue_s() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
    let document = std::fs::read_to_string(&path).unwrap();
    let (begin, end) = ("<!-- catalogue -->\n", "<!-- end of catalogue -->");
    let (head, rest) = document.split_once(begin).unwrap();
    let (found, tail) = rest.split_once(end).unwrap();
    let mut table = "| metric | type | labels | meaning |\n|---|---|---|---|\n".to_owned();
    for metric in Metrics::new().described() {
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let labels = labels.join(", ");
        writeln!(
            table,
            "| `{}` | {} | {labels} | {} |",
            metric.name, metric.kind, metric.help
        )
        .unwrap();
    }
    if std::env::var_os("ROLLCALL_REGENERATE").is_some() {
        std::fs::write(&path, format!("{head}{begin}{table}{end}{tail}")).unwrap();
    } else {
        assert_eq!(found, table, "write it anew with ROLLCALL_REGENERATE=1");
    }
}
