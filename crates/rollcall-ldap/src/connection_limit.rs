//! How many connections a process may hold over all directories. If a further one is needed, the connection that has
//! been idle longest closes, whichever directory it leads to: an unused directory must not keep others from getting
//! connections.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use crate::error::LdapError;

/// The connections of a process. Clones share the limit.
#[derive(Clone)]
pub struct ConnectionLimit(Arc<Shared>);

struct Shared {
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
    next_mark: AtomicU64,
    /// Idle connections, the longest idle first, and how to close each.
    idle: Mutex<BTreeMap<IdleMark, Close>>,
}

/// Tells an idle connection from others. A connection that becomes idle later has a greater one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct IdleMark(u64);

type Close = Box<dyn FnOnce(IdleMark) + Send>;

/// The right to hold one connection.
pub(crate) type ConnectionPermit = OwnedSemaphorePermit;

impl ConnectionLimit {
    /// A limit of this many connections, at least one.
    pub fn new(connections: usize) -> Self {
        Self(Arc::new(Shared {
            permits: Arc::new(Semaphore::new(connections.max(1))),
            waiting: AtomicUsize::new(0),
            next_mark: AtomicU64::new(0),
            idle: Mutex::default(),
        }))
    }

    /// A permit for one more connection. Closes an idle one if there is none, or waits until the deadline.
    pub(crate) async fn permit(&self, deadline: Instant) -> Result<ConnectionPermit, LdapError> {
        if let Some(permit) = self.free_permit() {
            return Ok(permit);
        }
        // While this waits, no connection becomes idle: it closes instead, and its permit is free.
        let _waiting = Waiting::count(&self.0);
        while self.close_longest_idle() {
            if let Some(permit) = self.free_permit() {
                return Ok(permit);
            }
        }
        let permit = timeout_at(deadline, self.0.permits.clone().acquire_owned()).await;
        permit.ok().and_then(Result::ok).ok_or_else(|| {
            tracing::warn!("no connection to a directory is left: all that this process may hold are in use");
            LdapError::Exhausted
        })
    }

    /// Whether somebody waits for a permit. Then a connection that is no longer used should close.
    pub(crate) fn is_wanted(&self) -> bool {
        self.0.waiting.load(Ordering::SeqCst) > 0
    }

    /// Notes a connection that is idle from now on. Call it while holding the lock of the connection's pool, so that
    /// the connection is in its pool when somebody looks for it there.
    pub(crate) fn idle(&self, close: impl FnOnce(IdleMark) + Send + 'static) -> IdleMark {
        let mark = IdleMark(self.0.next_mark.fetch_add(1, Ordering::Relaxed));
        self.0.idle.lock().insert(mark, Box::new(close));
        mark
    }

    /// Notes that a connection is not idle any more.
    pub(crate) fn not_idle(&self, mark: IdleMark) {
        self.0.idle.lock().remove(&mark);
    }

    fn free_permit(&self) -> Option<ConnectionPermit> {
        self.0.permits.clone().try_acquire_owned().ok()
    }

    /// False if no connection is idle.
    fn close_longest_idle(&self) -> bool {
        let longest = self.0.idle.lock().pop_first();
        let Some((mark, close)) = longest else {
            return false;
        };
        close(mark);
        true
    }
}

struct Waiting<'a>(&'a Shared);

impl<'a> Waiting<'a> {
    fn count(shared: &'a Shared) -> Self {
        shared.waiting.fetch_add(1, Ordering::SeqCst);
        Self(shared)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}
