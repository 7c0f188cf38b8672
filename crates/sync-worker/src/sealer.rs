//! Seals the audit record, in one worker at a time. A gateway alone still records its logins; they are sealed once a
//! worker runs. Only workers show the record.

use std::time::Duration;

use rollcall_store::{LeaseName, LeaseToken, SealReach, Store, StoreError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Time between two looks at what was appended.
const INTERVAL: Duration = Duration::from_secs(1);
/// Events that are sealed in one transaction, which on SQLite keeps logins waiting.
const BATCH: u32 = 200;
/// A sealer that has not renewed its lease within this time is gone.
const LEASE: Duration = Duration::from_secs(15);
/// How often the lease is renewed, which is a write.
const BEAT: Duration = Duration::from_secs(5);
/// How often to look for rows of transactions that took very long.
const LOOK_AT_ALL: Duration = Duration::from_secs(60);

/// The sealer of one process.
pub(crate) struct Sealer {
    store: Store,
    lease: Option<(LeaseToken, Instant)>,
    looked_at_all: Option<Instant>,
}

impl Sealer {
    pub(crate) fn new(store: Store) -> Self {
        Self {
            store,
            lease: None,
            looked_at_all: None,
        }
    }

    /// Seals until `stop` is cancelled, and then what remains.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        loop {
            self.seal_or_warn().await;
            if stop
                .run_until_cancelled(tokio::time::sleep(INTERVAL))
                .await
                .is_none()
            {
                break;
            }
        }
        self.run_once().await;
    }

    /// Seals what is there.
    pub(crate) async fn run_once(mut self) {
        self.seal_or_warn().await;
        if let Some((lease, _)) = self.lease.take() {
            // A lease that is not given up ends soon by itself.
            let _ = self.store.release_lease(&lease).await;
        }
    }

    async fn seal_or_warn(&mut self) {
        match self.seal().await {
            Ok(()) | Err(StoreError::LeaseLost) => {}
            Err(error) => tracing::warn!(%error, "audit events are recorded but could not be sealed yet"),
        }
    }

    /// Seals everything that is there, if no other process does.
    async fn seal(&mut self) -> Result<(), StoreError> {
        let reach = match self.looked_at_all {
            Some(then) if then.elapsed() < LOOK_AT_ALL => SealReach::Newest,
            _ => SealReach::All,
        };
        while self.store.audit_waits(reach).await? && self.holds_lease().await? {
            let Some(sealed) = self.store.seal_audit(reach, BATCH).await? else {
                break;
            };
            // If the log is kept elsewhere, this line can prove later what the record was.
            tracing::info!(
                audit.position = sealed.head.position,
                audit.hash = %sealed.head.hex(),
                "the audit record is sealed up to here"
            );
            if sealed.count < u64::from(BATCH) {
                break;
            }
        }
        if reach == SealReach::All {
            self.looked_at_all = Some(Instant::now());
        }
        Ok(())
    }

    async fn holds_lease(&mut self) -> Result<bool, StoreError> {
        match self.lease.take() {
            Some((lease, beaten)) if beaten.elapsed() < BEAT => self.lease = Some((lease, beaten)),
            Some((lease, _)) => {
                self.store.heartbeat_lease(&lease, LEASE).await?;
                self.lease = Some((lease, Instant::now()));
            }
            None => {
                let name = LeaseName::job("audit-sealer");
                let taken = self.store.acquire_lease(&name, "sealer", LEASE).await?;
                self.lease = taken.map(|lease| (lease, Instant::now()));
            }
        }
        Ok(self.lease.is_some())
    }
}
