//! The event feed: read in pages, or followed as a stream.

use std::time::Duration;

use rollcall_core::error::{Error, Reason};
use rollcall_core::event::Event;
use rollcall_core::id::TenantId;
use rollcall_proto::convert::user::event;
use rollcall_proto::convert::user_events::{Follow, ListUserEvents, MAX_EVENTS, event_cursor};
use rollcall_proto::resource_name::{self, TenantScope};
use rollcall_proto::v1::{ListUserEventsResponse, WatchUserEventsResponse};
use rollcall_store::{Store, StoreError};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use rollcall_service::call::failed;
use rollcall_service::message_size::fitting_page;

/// A message is sent at least this often, so that both sides notice when the other is gone.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// One page of events.
///
/// # Errors
/// `CURSOR_EXPIRED`, and what the store says.
pub(crate) async fn list(store: &Store, request: &ListUserEvents) -> Result<ListUserEventsResponse, Error> {
    let follow = &request.follow;
    let tenant = tenant(&follow.scope);
    let after = match follow.after {
        Some(after) => after,
        None => store.feed_start(tenant).await?,
    };
    fitting_page(request.size, |size| page(store, follow, after, size)).await
}

/// At most `size` events, before those of types that are not wanted are left out, and how many they were.
async fn page(
    store: &Store,
    follow: &Follow,
    after: i64,
    size: u32,
) -> Result<(ListUserEventsResponse, usize), Error> {
    let events = read(store, follow, after, size).await?;
    let last = events
        .last()
        .map_or(after, |event| position(&follow.scope, event));
    let answer = ListUserEventsResponse {
        more: events.len() == size as usize,
        events: events
            .iter()
            .filter(|event| event.is_told() && follow.wants(event.event_type))
            .map(|item| event(item, event_cursor(&follow.scope, position(&follow.scope, item))))
            .collect(),
        next_cursor: event_cursor(&follow.scope, last),
    };
    Ok((answer, events.len()))
}

/// Sends events until the receiver is gone, the store fails or the server stops.
pub(crate) async fn watch(
    store: Store,
    follow: Follow,
    poll_interval: Duration,
    stop: CancellationToken,
    to: mpsc::Sender<Result<WatchUserEventsResponse, Status>>,
) {
    let watching = async {
        match follow_feed(&store, &follow, poll_interval, &to).await {
            Ok(()) => {}
            // The receiver is gone, or gets to know why.
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
}

/// Returns when the receiver is gone.
async fn follow_feed(
    store: &Store,
    follow: &Follow,
    poll_interval: Duration,
    to: &mpsc::Sender<Result<WatchUserEventsResponse, Status>>,
) -> Result<(), Error> {
    let mut after = match follow.after {
        Some(after) => after,
        None => store.feed_position(tenant(&follow.scope)).await?,
    };
    let message = |event, position| WatchUserEventsResponse {
        event,
        cursor: event_cursor(&follow.scope, position),
    };
    // A cursor that expired is told before anything else.
    let mut events = read(store, follow, after, MAX_EVENTS).await?;
    let mut gone = to.send(Ok(message(None, after))).await.is_err();
    let mut last_sent = Instant::now();
    while !gone {
        let idle = events.is_empty();
        for item in events {
            after = position(&follow.scope, &item);
            if item.is_told() && follow.wants(item.event_type) {
                let told = event(&item, event_cursor(&follow.scope, after));
                gone |= to.send(Ok(message(Some(told), after))).await.is_err();
                last_sent = Instant::now();
            }
        }
        if last_sent.elapsed() >= HEARTBEAT {
            gone |= to.send(Ok(message(None, after))).await.is_err();
            last_sent = Instant::now();
        }
        if idle {
            tokio::time::sleep(poll_interval).await;
        }
        events = read(store, follow, after, MAX_EVENTS).await?;
    }
    Ok(())
}

async fn read(store: &Store, follow: &Follow, after: i64, limit: u32) -> Result<Vec<Event>, Error> {
    store
        .list_events(tenant(&follow.scope), after, limit)
        .await
        .map_err(|error| match error {
            StoreError::CursorExpired => {
                let parent = match &follow.scope {
                    TenantScope::One(tenant) => resource_name::tenant(tenant),
                    TenantScope::All => "tenants/-".to_owned(),
                };
                Error::from(error).with("parent", parent)
            }
            other => other.into(),
        })
}

/// The one tenant of a scope; `None` for all.
pub(crate) fn tenant(scope: &TenantScope) -> Option<&TenantId> {
    match scope {
        TenantScope::One(tenant) => Some(tenant),
        TenantScope::All => None,
    }
}

fn position(scope: &TenantScope, event: &Event) -> i64 {
    match scope {
        TenantScope::One(_) => event.tenant_position,
        TenantScope::All => event.position,
    }
}
