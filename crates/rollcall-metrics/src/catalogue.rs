//! Every metric of Rollcall, named once, with what it says.

use std::hash::Hash;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use rollcall_core::audit::{LoginOutcome, LoginReason, OwnReason};
use rollcall_core::error::Reason;
use rollcall_core::issue::IssueKind;
use rollcall_core::verdict::InternalReason;

use crate::by::{By, Float};
use crate::labels::{
    BindEnd, Breaker, Connections, Expiring, LdapEnd, LdapOperation, LoginStage, PendingPassword, Pool,
    Reload, RunEnd, RunPhase, SentMail, Statement, UserChange, outcome_label,
};
use crate::registry::{self, Catalogue, Described};
use crate::rpc::{CALL_SECONDS, Rpc};
use crate::tenants::Tenants;

const STATEMENT_SECONDS: [f64; 12] = [
    0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0,
];
const RUN_SECONDS: [f64; 12] = [
    0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 1_800.0, 3_600.0, 14_400.0,
];
const FEED_SECONDS: [f64; 10] = [0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 30.0, 300.0, 3_600.0];

macro_rules! metrics {
    ($($(#[$doc:meta])* $name:ident: $type:ty = $make:expr;)*) => {
        /// All metrics of a process. What each says is its help text.
        pub struct Metrics {
            registry: Registry,
            described: Vec<Described>,
            $(#[doc = concat!("See the help of `", stringify!($name), "`.")] pub $name: $type,)*
        }

        impl Metrics {
            pub(crate) fn new() -> Self {
                let mut catalogue = Catalogue::new();
                $(let $name: $type = {
                    let make: fn(&mut Catalogue, &'static str) -> $type = $make;
                    make(&mut catalogue, stringify!($name))
                };)*
                let (registry, described) = catalogue.into_parts();
                Self { registry, described, $($name,)* }
            }
        }
    };
}

// The field is the name, without `rollcall_` and a counter's `_total`.
metrics! {
    rpc: Rpc = |c, _| Rpc::new(c);

    logins: By<(LoginOutcome, LoginReason), Counter> = |c, name| c.counters_by(
        name,
        "Logins that ended, by outcome and the reason that the audit log keeps",
        ["outcome", "reason"],
        login_ends(),
    );
    login_seconds: By<LoginStage, Histogram> = |c, name| c.histograms(
        name,
        "How long the steps of logins took",
        "stage",
        all(LoginStage::ALL, LoginStage::as_str),
        || Histogram::new(CALL_SECONDS),
    );
    logins_in_progress: Gauge = |c, name| c.gauge(name, "Logins under way");
    soft_lock_refusals: By<bool, Counter> = |c, name| c.counters(
        name,
        "Logins that the soft lock refused, or would have in mode LOG",
        "mode",
        [(true, "enforce"), (false, "log")].into_iter(),
    );
    tenant_logins: Tenants = |c, _| Tenants::new(c);
    refreshes_failed: Counter = |c, name| c.counter(name, "Renewals of users that logins asked the worker for, and that failed");

    binds: By<BindEnd, Counter> = |c, name| c.counters_by(
        name,
        "Passwords that were tried by a bind, by result and Active Directory's sub-code",
        ["result", "sub_code"],
        BindEnd::ALL.iter().map(|end| (*end, result_and_sub_code(*end))),
    );
    ldap_operations: By<(LdapOperation, LdapEnd), Counter> = |c, name| c.counters_by(
        name,
        "Operations on directories, by how they ended",
        ["operation", "result"],
        pairs(all(LdapOperation::ALL, LdapOperation::as_str), || all(LdapEnd::ALL, LdapEnd::as_str)),
    );
    ldap_operation_seconds: By<LdapOperation, Histogram> = |c, name| c.histograms(
        name,
        "How long operations on directories took",
        "operation",
        all(LdapOperation::ALL, LdapOperation::as_str),
        || Histogram::new(CALL_SECONDS),
    );
    ldap_refused_at_bulkhead: By<Pool, Counter> = |c, name| c.counters(
        name,
        "Operations that were refused since a directory had as much work as it may have",
        "pool",
        all(Pool::ALL, Pool::as_str),
    );
    ldap_connections: By<(Pool, Connections), Gauge> = |c, name| c.gauges_by(
        name,
        "Connections to directories",
        ["pool", "state"],
        pairs(all(Pool::ALL, Pool::as_str), || all(Connections::ALL, Connections::as_str)),
    );
    ldap_waiting: By<Pool, Gauge> = |c, name| c.gauges_by(
        name,
        "Operations that wait for their turn at a directory",
        ["pool"],
        all(Pool::ALL, Pool::as_str).map(|(key, value)| (key, [value])),
    );
    ldap_hosts: By<Breaker, Gauge> = |c, name| c.gauges_by(
        name,
        "Hosts of the directories in use, by circuit breaker",
        ["breaker"],
        all(Breaker::ALL, Breaker::as_str).map(|(key, value)| (key, [value])),
    );
    directories_open: Gauge = |c, name| c.gauge(name, "Directories in use");
    directories_unreachable: Gauge = |c, name| c.gauge(
        name,
        "Directories in use of which no host may be tried at the moment",
    );

    runs: By<RunEnd, Counter> = |c, name| c.counters(
        name,
        "Runs that came to rest, by how",
        "outcome",
        all(RunEnd::ALL, RunEnd::as_str),
    );
    run_phase_seconds: By<RunPhase, Histogram> = |c, name| c.histograms(
        name,
        "How long the parts of runs took",
        "phase",
        all(RunPhase::ALL, RunPhase::as_str),
        || Histogram::new(RUN_SECONDS),
    );
    runs_in_progress: Gauge = |c, name| c.gauge(name, "Runs whose leases this worker holds");
    run_issues: By<IssueKind, Counter> = |c, name| c.counters(
        name,
        "Issues of runs, by type",
        "type",
        all(IssueKind::ALL, IssueKind::word),
    );
    run_user_changes: By<UserChange, Counter> = |c, name| c.counters(
        name,
        "Users whom runs created, changed, brought back or took access from",
        "change",
        all(UserChange::ALL, UserChange::as_str),
    );
    leases_lost: Counter = |c, name| c.counter(name, "Leases that another worker took over");

    runs_held: Gauge = |c, name| c.gauge(name, "Runs of the deployment that wait for a person; counted up to 1,000");
    user_syncs_enabled: Gauge = |c, name| c.gauge(
        name,
        "User syncs of the deployment that have a schedule, counted once an hour",
    );
    user_syncs_late: Gauge = |c, name| c.gauge(
        name,
        "User syncs of the deployment that should have begun a run an hour ago or longer; counted up to 1,000",
    );
    user_sync_oldest_success_seconds: Float = |c, name| c.float(
        name,
        "Age of the oldest last success among the user syncs that run by schedule; 0 if there are none",
    );
    user_syncs_never_successful: Gauge = |c, name| c.gauge(
        name,
        "User syncs that run by schedule and never had a success; counted up to 1,000",
    );
    mails_waiting: Gauge = |c, name| c.gauge(name, "Mails in the outbox; counted up to 1,000");
    mail_oldest_waiting_seconds: Float = |c, name| c.float(
        name,
        "How long the oldest mail has been waiting in the outbox; 0 if none waits",
    );
    pending_bind_passwords: By<PendingPassword, Counter> = |c, name| c.counters(
        name,
        "Pending bind passwords tried where a directory refused the present one, by what became of them",
        "result",
        all(PendingPassword::ALL, PendingPassword::as_str),
    );
    bind_passwords_old: Gauge = |c, name| c.gauge(
        name,
        "Bind passwords of directories in use that are older than review.bind_password_age; counted up to 1,000",
    );
    bind_password_oldest_seconds: Float = |c, name| c.float(
        name,
        "Age of the oldest bind password among directories in use; 0 if there are none",
    );
    mails_sent: By<SentMail, Counter> = |c, name| c.counters(
        name,
        "Attempts to send mails, by what became of them",
        "result",
        all(SentMail::ALL, SentMail::as_str),
    );
    user_event_delay_seconds: Histogram = |c, name| c.histogram(
        name,
        "Time from a user's change until its event was sent to a watching consumer",
        &FEED_SECONDS,
    );
    user_event_watchers: Gauge = |c, name| c.gauge(name, "Streams of WatchUserEvents that are open");
    deployment_figures_time_seconds: Float = |c, name| c.float(
        name,
        "When the figures of the deployment were read last, in Unix time",
    );

    database_statement_seconds: By<Statement, Histogram> = |c, name| c.histograms(
        name,
        "How long the database took, by kind of work",
        "kind",
        all(Statement::ALL, Statement::as_str),
        || Histogram::new(STATEMENT_SECONDS),
    );
    database_failures: By<Statement, Counter> = |c, name| c.counters(
        name,
        "Statements that failed, by kind of work",
        "kind",
        all(Statement::ALL, Statement::as_str),
    );
    database_connections: By<Connections, Gauge> = |c, name| c.gauges_by(
        name,
        "Connections of the pool to the database",
        ["state"],
        all(Connections::ALL, Connections::as_str).map(|(key, value)| (key, [value])),
    );
    logins_not_recorded: Counter = |c, name| c.counter(
        name,
        "Logins that were not answered, since their audit record could not be committed",
    );

    expires_in_days: By<Expiring, Float> = |c, name| c.floats(
        name,
        "Days until the first of a kind ends; +Inf if none of the kind is known to end",
        "kind",
        all(Expiring::ALL, Expiring::as_str),
    );
    reloads: By<Reload, Counter> = |c, name| c.counters(
        name,
        "Attempts to take changed files up anew",
        "result",
        all(Reload::ALL, Reload::as_str),
    );
    reload_refused: Gauge = |c, name| c.gauge(
        name,
        "1 if the files as they are now were refused, and the old ones are in use",
    );
    ready: Gauge = |c, name| c.gauge(name, "1 if the store answers and the process takes calls");
    connections: Gauge = |c, name| c.gauge(name, "Connections of callers");
    process_resident_bytes: Gauge = |c, name| c.gauge(name, "Resident memory of the process");
    process_open_descriptors: Gauge = |c, name| c.gauge(name, "Descriptors that the process has open");
    process_max_descriptors: Gauge = |c, name| c.gauge(name, "Descriptors that the process may have open");
    build: By<(), Gauge> = |c, name| {
        let build = c.gauges_by(
            name,
            "Always 1; the label tells the release",
            ["version"],
            [((), [env!("CARGO_PKG_VERSION")])].into_iter(),
        );
        build.set((), 1);
        build
    };
}

impl Metrics {
    /// What each metric is, in the order of the catalogue.
    pub fn described(&self) -> &[Described] {
        &self.described
    }

    pub(crate) fn text(&self) -> String {
        registry::text(&self.registry)
    }
}

fn all<K: Copy>(
    values: &'static [K],
    spelled: fn(K) -> &'static str,
) -> impl Iterator<Item = (K, &'static str)> {
    values.iter().map(move |value| (*value, spelled(*value)))
}

fn pairs<A: Copy + Eq + Hash, B: Copy + Eq + Hash, I: Iterator<Item = (B, &'static str)>>(
    first: impl Iterator<Item = (A, &'static str)>,
    second: impl Fn() -> I,
) -> impl Iterator<Item = ((A, B), [&'static str; 2])> {
    let pairs: Vec<_> = first
        .flat_map(|(a, of_a)| {
            second()
                .map(move |(b, of_b)| ((a, b), [of_a, of_b]))
                .collect::<Vec<_>>()
        })
        .collect();
    pairs.into_iter()
}

/// Every way in which a login can end.
fn login_ends() -> impl Iterator<Item = ((LoginOutcome, LoginReason), [&'static str; 2])> {
    let own = OwnReason::ALL.iter().copied().map(LoginReason::from);
    let directory = InternalReason::ALL.iter().copied().map(LoginReason::from);
    let errors = Reason::ALL.iter().copied().map(LoginReason::from);
    let reasons: Vec<LoginReason> = own.chain(directory).chain(errors).collect();
    [
        LoginOutcome::Authenticated,
        LoginOutcome::Denied,
        LoginOutcome::Error,
    ]
    .into_iter()
    .flat_map(move |outcome| {
        let fitting = reasons
            .clone()
            .into_iter()
            .filter(move |reason| fits(outcome, *reason));
        fitting.map(move |reason| ((outcome, reason), [outcome_label(outcome), reason.as_str()]))
    })
}

/// Errors are not denials, and only one reason lets a user in; other pairs never occur.
fn fits(outcome: LoginOutcome, reason: LoginReason) -> bool {
    match (outcome, reason) {
        (LoginOutcome::Authenticated, reason) => reason == OwnReason::Authenticated.into(),
        (LoginOutcome::Denied, LoginReason::Error(_)) => false,
        (LoginOutcome::Denied, reason) => reason != OwnReason::Authenticated.into(),
        (LoginOutcome::Error, LoginReason::Directory(_)) => false,
        (LoginOutcome::Error, reason) => reason != OwnReason::Authenticated.into(),
        // Only newer releases write such rows.
        (LoginOutcome::Newer(_), _) => false,
    }
}

fn result_and_sub_code(end: BindEnd) -> [&'static str; 2] {
    match end.as_str().split_once('-') {
        Some((result, sub_code)) => [result, sub_code],
        None => [end.as_str(), "none"],
    }
}

#[cfg(test)]
mod tests;
