//! Metrics by tenant, which only an operator with few tenants wants.

use std::sync::atomic::{AtomicBool, Ordering};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use rollcall_core::audit::LoginOutcome;
use rollcall_core::id::TenantId;

use crate::labels::outcome_label;
use crate::registry::{Catalogue, Labels};

/// Logins by tenant. Nothing is counted until the operator asks for it.
pub struct Tenants {
    wanted: AtomicBool,
    logins: Family<Labels, Counter>,
}

impl Tenants {
    pub(crate) fn new(catalogue: &mut Catalogue) -> Self {
        Self {
            wanted: AtomicBool::new(false),
            logins: catalogue.counter_family(
                "tenant_logins",
                "Logins by tenant and outcome; only with telemetry.metrics_by_tenant",
                &["tenant", "outcome"],
            ),
        }
    }

    /// Whether the operator asks for tenants.
    pub fn want(&self, wanted: bool) {
        self.wanted.store(wanted, Ordering::Relaxed);
    }

    /// A login of this tenant ended.
    pub fn login(&self, tenant: &TenantId, outcome: LoginOutcome) {
        if self.wanted.load(Ordering::Relaxed) {
            let labels = vec![
                ("tenant", tenant.to_string()),
                ("outcome", outcome_label(outcome).to_owned()),
            ];
            self.logins.get_or_create(&labels).inc();
        }
    }
}
