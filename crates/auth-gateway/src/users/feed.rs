//! The event feed: read in pages, or followed as a stream.

use std::time::Duration;

use prost::Message;
use rollcall_core::error::{Error, Reason};
use rollcall_core::event::Event;
use rollcall_core::feed::Mark;
use rollcall_core::id::TenantId;
use rollcall_metrics::metrics;
use rollcall_proto::convert::user::event;
use rollcall_proto::convert::user_events::{Follow, ListUserEvents, MAX_EVENTS};
use rollcall_proto::resource_name::{self, TenantScope};
use rollcall_proto::v1::{ListUserEventsResponse, UserEvent, WatchUserEventsResponse};
use rollcall_runtime::clock::Clock;
use rollcall_store::{Store, StoreError};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use rollcall_service::call::failed;
use rollcall_service::message_size::{AROUND, PAGE_BYTES, Portion};
use rollcall_service::tokens::Tokens;

/// A message is sent at least this often, so that both sides notice when the other is gone.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// The feed of one tenant's users, or of all users.
#[derive(Clone)]
pub(crate) struct Feed {
    pub(crate) store: Store,
    pub(crate) tokens: Tokens,
    pub(crate) scope: TenantScope,
}

impl Feed {
    /// The cursor of a place in this feed.
    pub(crate) fn cursor(&self, mark: Mark) -> String {
        self.tokens.cursor(&self.name(), [mark])
    }

    /// The cursor behind its newest event.
    pub(crate) async fn end(&self) -> Result<String, Error> {
        Ok(self.cursor(self.store.feed_end(self.scope.tenant()).await?))
    }

    /// The place that the cursor of a request names, if there is one.
    ///
    /// # Errors
    /// `INVALID_CURSOR`.
    pub(crate) fn mark(&self, cursor: &str) -> Result<Option<Mark>, Error> {
        if cursor.is_empty() {
            return Ok(None);
        }
        let [mark] = self.tokens.marks(&self.name(), "after", cursor)?;
        Ok(Some(mark))
    }

    async fn read(&self, after: Mark, limit: u32) -> Result<Vec<Event>, Error> {
        let events = self.store.list_events(self.scope.tenant(), after, limit).await;
        events.map_err(|error| {
            if !matches!(error, StoreError::CursorExpired) {
                return error.into();
            }
            let parent = match &self.scope {
                TenantScope::One(tenant) => resource_name::tenant(tenant),
                TenantScope::All => "tenants/-".to_owned(),
            };
            Error::from(error).with("parent", parent)
        })
    }

    fn behind(&self, event: &Event) -> Mark {
        match &self.scope {
            TenantScope::One(_) => event.tenant_mark(),
            TenantScope::All => event.mark(),
        }
    }

    fn name(&self) -> String {
        let tenant = self.scope.tenant().map_or("-", TenantId::as_str);
        format!("users/{tenant}")
    }
}

/// One page of events.
///
/// # Errors
/// `INVALID_CURSOR`, `CURSOR_EXPIRED`, and what the store says.
pub(crate) async fn list(feed: &Feed, request: &ListUserEvents) -> Result<ListUserEventsResponse, Error> {
    let follow = &request.follow;
    let after = match feed.mark(&follow.after)? {
        Some(after) => after,
        None => feed.store.feed_start(feed.scope.tenant()).await?,
    };
    let (mut shown, mut bytes, mut read, mut last) = (Vec::new(), 0, 0, after);
    let (mut portion, mut more) = (Portion::default(), true);
    while more && read < request.size as usize {
        let limit = portion.of(request.size as usize - read);
        let events = feed.read(last, limit).await?;
        more = events.len() == limit as usize;
        let (items, bytes_before) = (events.len(), bytes);
        for item in events {
            if item.is_told() && follow.wants(item.event_type) {
                let told = event(&item, feed.cursor(feed.behind(&item)));
                let size = told.encoded_len() + AROUND;
                if bytes + size > PAGE_BYTES && !shown.is_empty() {
                    return Ok(answer(feed, shown, last, true));
                }
                bytes += size;
                shown.push(told);
            }
            last = feed.behind(&item);
            read += 1;
        }
        let left = PAGE_BYTES.saturating_sub(bytes);
        portion = portion.after(items, bytes - bytes_before, left);
    }
    Ok(answer(feed, shown, last, more))
}

fn answer(feed: &Feed, events: Vec<UserEvent>, last: Mark, more: bool) -> ListUserEventsResponse {
    ListUserEventsResponse {
        events,
        next_cursor: feed.cursor(last),
        more,
    }
}

/// Sends events until the receiver is gone, the store fails or the server stops.
pub(crate) async fn watch(
    feed: Feed,
    follow: Follow,
    after: Option<Mark>,
    poll_interval: Duration,
    clock: Clock,
    stop: CancellationToken,
    to: mpsc::Sender<Result<WatchUserEventsResponse, Status>>,
) {
    metrics().user_event_watchers.inc();
    let watching = async {
        match follow_feed(&feed, &follow, after, poll_interval, &clock, &to).await {
            Ok(()) => {}
            // The receiver is gone, or learns the reason.
            Err(error) => _ = to.send(Err(failed(&error))).await,
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
    metrics().user_event_watchers.dec();
}

/// Returns when the receiver is gone.
async fn follow_feed(
    feed: &Feed,
    follow: &Follow,
    after: Option<Mark>,
    poll_interval: Duration,
    clock: &Clock,
    to: &mpsc::Sender<Result<WatchUserEventsResponse, Status>>,
) -> Result<(), Error> {
    let mut after = match after {
        Some(after) => after,
        None => feed.store.feed_end(feed.scope.tenant()).await?,
    };
    let message = |event, cursor| WatchUserEventsResponse { event, cursor };
    // An expired cursor is reported before anything else.
    let mut portion = Portion::default();
    let mut events = feed.read(after, portion.of(MAX_EVENTS as usize)).await?;
    let mut gone = to.send(Ok(message(None, feed.cursor(after)))).await.is_err();
    let mut last_sent = Instant::now();
    while !gone {
        let (idle, items, mut bytes) = (events.is_empty(), events.len(), 0);
        for item in events {
            after = feed.behind(&item);
            if item.is_told() && follow.wants(item.event_type) {
                // If clocks differ, an event of the future counts as delivered at once.
                let delay = (clock.now() - item.time).to_std().unwrap_or_default();
                metrics().user_event_delay_seconds.observe(delay.as_secs_f64());
                let cursor = feed.cursor(after);
                let told = event(&item, cursor.clone());
                bytes += told.encoded_len();
                gone |= to.send(Ok(message(Some(told), cursor))).await.is_err();
                last_sent = Instant::now();
            }
        }
        if last_sent.elapsed() >= HEARTBEAT {
            gone |= to.send(Ok(message(None, feed.cursor(after)))).await.is_err();
            last_sent = Instant::now();
        }
        if idle {
            tokio::time::sleep(poll_interval).await;
        }
        portion = portion.after(items, bytes, PAGE_BYTES);
        events = feed.read(after, portion.of(MAX_EVENTS as usize)).await?;
    }
    Ok(())
}
