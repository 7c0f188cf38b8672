//! Claims on user syncs that are due, and how they end.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use rollcall_store::{DueClaim, Store};

/// Ends claims. Clones share what they could not end.
#[derive(Clone)]
pub(crate) struct Claims {
    store: Store,
    lost: Arc<Mutex<Vec<Lost>>>,
}

/// A claim that could not be ended while the store was away.
struct Lost {
    claim: DueClaim,
    /// When its user sync is due next.
    next: Option<DateTime<Utc>>,
}

impl Claims {
    pub(crate) fn new(store: Store) -> Self {
        Self {
            store,
            lost: Arc::default(),
        }
    }

    /// Ends a claim: its user sync is due again at `next`. If the store cannot be asked, [`Self::settle_lost`] tries again.
    pub(crate) async fn settle(&self, claim: DueClaim, next: Option<DateTime<Utc>>) {
        if let Err(error) = self.store.settle_claim(&claim, next).await {
            tracing::warn!(%error, "a claim on a user sync that is due ends later");
            self.lose(claim, next);
        }
    }

    /// Leaves a claim to [`Self::settle_lost`].
    pub(crate) fn lose(&self, claim: DueClaim, next: Option<DateTime<Utc>>) {
        self.lost.lock().push(Lost { claim, next });
    }

    /// Ends the claims that could not be ended before: what they are on must not wait until they end by themselves.
    pub(crate) async fn settle_lost(&self) {
        let lost = std::mem::take(&mut *self.lost.lock());
        for Lost { claim, next } in lost {
            self.settle(claim, next).await;
        }
    }
}
