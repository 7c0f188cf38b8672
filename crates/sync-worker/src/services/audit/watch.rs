//! WatchAuditEvents.

use std::time::Duration;

use prost::Message;
use rollcall_core::audit::AuditFilter;
use rollcall_core::error::{Error, Reason};
use rollcall_core::feed::Mark;
use rollcall_core::id::TenantId;
use rollcall_proto::resource_name::{self, TenantScope};
use rollcall_proto::v1::{AuditEvent, WatchAuditEventsResponse};
use rollcall_service::call::failed;
use rollcall_service::message_size::{PAGE_BYTES, Portion};
use rollcall_store::{AuditFeed, StoreError};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tonic::Status;

use crate::worker::Worker;

/// Events on their way to one reader: few, since one may be large, and a slow reader keeps them in memory.
pub(super) const BUFFER: usize = 4;
/// Most events that are read at a time; fewer if they are large.
const PART: usize = 200;
/// How often to look for new events. They are sealed about as often.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// A message is sent at least this often, so that both sides notice when the other is gone.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// One reader of the feed.
pub(super) struct Watching {
    worker: Worker,
    scope: TenantScope,
    after: Option<Mark>,
    filter: AuditFilter,
}

type To = mpsc::Sender<Result<WatchAuditEventsResponse, Status>>;

impl Watching {
    /// Begins behind the cursor `after`, or with the oldest event that is kept.
    pub(super) fn new(
        worker: Worker,
        scope: TenantScope,
        after: &str,
        filter: AuditFilter,
    ) -> Result<Self, Error> {
        let mut watching = Self {
            worker,
            scope,
            after: None,
            filter,
        };
        if !after.is_empty() {
            let [mark] = watching.worker.tokens.marks(&watching.feed(), "after", after)?;
            watching.after = Some(mark);
        }
        Ok(watching)
    }

    /// Sends events until the reader is gone, the store fails or the server stops.
    pub(super) async fn run(self, to: To) {
        let stop = self.worker.stop.clone();
        let watching = async {
            if let Err(error) = self.follow(&to).await {
                // The reader is gone, or learns the reason.
                let _ = to.send(Err(failed(&error))).await;
            }
        };
        tokio::select! {
            () = watching => {}
            () = to.closed() => {}
            () = stop.cancelled() => {
                let message = "this replica is shutting down; go on with the last cursor";
                _ = to.try_send(Err(failed(&Error::new(Reason::ShuttingDown, message))));
            }
        }
    }

    /// Returns when the reader is gone.
    async fn follow(&self, to: &To) -> Result<(), Error> {
        let mut after = match self.after {
            Some(after) => after,
            None => self.worker.store.audit_start().await?,
        };
        // An expired cursor is reported before anything else.
        let mut portion = Portion::default();
        let mut part = self.read(after, portion.of(PART)).await?;
        let mut gone = self.send(to, None, after).await;
        let mut last_sent = Instant::now();
        while !gone {
            let (items, mut bytes) = (part.events.len(), 0);
            for (event, mark) in part.events {
                let told = AuditEvent::from(&event);
                bytes += told.encoded_len();
                if !gone && self.filter.matches(&event) {
                    gone = self.send(to, Some(told), mark).await;
                    last_sent = Instant::now();
                }
            }
            portion = portion.after(items, bytes, PAGE_BYTES);
            // Events of others, and events that were not wanted, move it too, so that the cursor of a quiet tenant does
            // not expire.
            after = part.next;
            if !gone && last_sent.elapsed() >= HEARTBEAT {
                gone = self.send(to, None, after).await;
                last_sent = Instant::now();
            }
            if !part.more {
                tokio::time::sleep(POLL_INTERVAL).await;
            }
            part = self.read(after, portion.of(PART)).await?;
        }
        Ok(())
    }

    /// True if the reader is gone.
    async fn send(&self, to: &To, event: Option<AuditEvent>, mark: Mark) -> bool {
        let cursor = self.worker.tokens.cursor(&self.feed(), [mark]);
        to.send(Ok(WatchAuditEventsResponse { event, cursor }))
            .await
            .is_err()
    }

    async fn read(&self, after: Mark, limit: u32) -> Result<AuditFeed, Error> {
        let tenant = self.scope.tenant();
        let part = self.worker.store.audit_feed(tenant, after, limit).await;
        part.map_err(|error| {
            if !matches!(error, StoreError::CursorExpired) {
                return error.into();
            }
            let parent = match &self.scope {
                TenantScope::One(tenant) => resource_name::tenant(tenant),
                TenantScope::All => "tenants/-".to_owned(),
            };
            let message = "events after the cursor are not kept any more, or it is from before a restore; \
                start without a cursor, at the oldest event that is kept";
            Error::new(Reason::CursorExpired, message)
                .with("parent", parent)
                .caused_by(error)
        })
    }

    fn feed(&self) -> String {
        format!("audit/{}", self.scope.tenant().map_or("-", TenantId::as_str))
    }
}
