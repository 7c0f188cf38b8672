//! What a process counts and measures about itself, for its operators: every metric is named once, in
//! [`Metrics`], with its help text, and has its place before the first login. Nothing on the way of a login looks one up
//! by a name.
//!
//! It must never know what a label's values come from: they are closed sets, and no tenant, user or host is among
//! them unless the operator asks for tenants ([`Tenants`]).
//!
//! Read first: `catalogue.rs`, the list of all metrics; `docs/metrics.md` is written from it.

mod by;
mod catalogue;
mod labels;
mod registry;
mod rpc;
mod tenants;

use std::sync::LazyLock;

use parking_lot::Mutex;

pub use by::By;
pub use catalogue::Metrics;
pub use labels::{
    BindEnd, Breaker, Connections, Expiring, LdapEnd, LdapOperation, LoginStage, PendingPassword, Pool,
    Reload, RunEnd, RunPhase, SentMail, Statement, UserChange,
};
pub use registry::Described;
pub use rpc::{Methods, Rpc};
pub use tenants::Tenants;

/// How the text of [`text`] is called in HTTP.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

static ALL: LazyLock<Metrics> = LazyLock::new(Metrics::new);
static REFRESHERS: Mutex<Vec<Refresher>> = Mutex::new(Vec::new());

type Refresher = Box<dyn Fn(&Metrics) + Send + Sync>;

/// The metrics of this process.
pub fn metrics() -> &'static Metrics {
    &ALL
}

/// Calls `refresh` before the metrics are read, to set those that are only known by looking.
pub fn at_each_scrape(refresh: impl Fn(&Metrics) + Send + Sync + 'static) {
    REFRESHERS.lock().push(Box::new(refresh));
}

/// All metrics of this process, as Prometheus reads them.
pub fn text() -> String {
    for refresh in &*REFRESHERS.lock() {
        refresh(&ALL);
    }
    ALL.text()
}
