//! Repeats of a request. A caller that lost the answer sends the same request id again; the repeat gets the
//! first attempt's answer and never causes another bind, which the directory might count.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::login::memory::keyed_hash::Fingerprint;

/// Most attempts remembered; beyond it the oldest is forgotten early.
const CAPACITY: usize = 100_000;

/// The caller and its request id: ids of different callers are unrelated.
pub type RequestIdKey = (String, String);

/// Attempts of the last minutes by request id. `T` is what an attempt ends with.
pub struct RequestIds<T> {
    keep: Duration,
    inner: Mutex<Inner<T>>,
}

struct Inner<T> {
    attempts: HashMap<RequestIdKey, Attempt<T>>,
    order: VecDeque<(Instant, RequestIdKey, u64)>,
    next: u64,
}

struct Attempt<T> {
    number: u64,
    request: Fingerprint,
    answer: watch::Receiver<Option<Arc<T>>>,
}

/// What a request id turns out to be.
pub enum Repeated<T> {
    /// The first with this id: carry it out and [`Ticket::finish`] it.
    First(Ticket<T>),
    /// A repeat: wait for the first attempt's answer.
    Repeat(watch::Receiver<Option<Arc<T>>>),
    /// The id was used for another request.
    Reused,
}

/// The first attempt's duty to tell its answer. If dropped without, the id is free again.
pub struct Ticket<T> {
    request_ids: Arc<RequestIds<T>>,
    key: RequestIdKey,
    number: u64,
    sender: watch::Sender<Option<Arc<T>>>,
    keep: bool,
}

impl<T> RequestIds<T> {
    /// Remembers each attempt for `keep` from its start.
    pub fn new(keep: Duration) -> Arc<Self> {
        let inner = Inner {
            attempts: HashMap::new(),
            order: VecDeque::new(),
            next: 0,
        };
        Arc::new(Self {
            keep,
            inner: Mutex::new(inner),
        })
    }

    /// Joins the attempt with this id, or becomes the first.
    pub fn join(self: &Arc<Self>, key: RequestIdKey, request: Fingerprint, now: Instant) -> Repeated<T> {
        let mut inner = self.inner.lock();
        inner.forget(now, self.keep);
        if let Some(attempt) = inner.attempts.get(&key) {
            return if attempt.request == request {
                Repeated::Repeat(attempt.answer.clone())
            } else {
                Repeated::Reused
            };
        }
        let (sender, answer) = watch::channel(None);
        let number = inner.next;
        inner.next += 1;
        inner.order.push_back((now, key.clone(), number));
        inner.attempts.insert(
            key.clone(),
            Attempt {
                number,
                request,
                answer,
            },
        );
        Repeated::First(Ticket {
            request_ids: Arc::clone(self),
            key,
            number,
            sender,
            keep: false,
        })
    }
}

impl<T> Inner<T> {
    fn forget(&mut self, now: Instant, keep: Duration) {
        let is_old = |since: Instant| now.saturating_duration_since(since) >= keep;
        while let Some((since, _, _)) = self.order.front() {
            if !is_old(*since) && self.order.len() < CAPACITY {
                break;
            }
            if let Some((_, key, number)) = self.order.pop_front() {
                self.remove(&key, number);
            }
        }
    }

    fn remove(&mut self, key: &RequestIdKey, number: u64) {
        if self
            .attempts
            .get(key)
            .is_some_and(|attempt| attempt.number == number)
        {
            self.attempts.remove(key);
        }
    }
}

impl<T> Ticket<T> {
    /// Tells the answer to the attempts that joined. If `keep` is set, later repeats get it too. If not, the next
    /// repeat is a new attempt: that is right if nothing was sent and the caller should try again.
    pub fn finish(mut self, answer: Arc<T>, keep: bool) {
        self.keep = keep;
        self.sender.send_replace(Some(answer));
    }
}

impl<T> Drop for Ticket<T> {
    fn drop(&mut self) {
        if !self.keep {
            let mut inner = self.request_ids.inner.lock();
            inner.remove(&self.key, self.number);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn key(id: &str) -> RequestIdKey {
        ("caller".to_owned(), id.to_owned())
    }

    fn first(request_ids: &Arc<RequestIds<i32>>, id: &str, now: Instant) -> Ticket<i32> {
        let Repeated::First(ticket) = request_ids.join(key(id), [1; 32], now) else {
            panic!("{id} is known");
        };
        ticket
    }

    #[tokio::test]
    async fn a_repeat_gets_the_first_answer_while_it_is_worked_on_and_afterwards() {
        let request_ids = RequestIds::new(Duration::from_secs(300));
        let now = Instant::now();
        let ticket = first(&request_ids, "a", now);
        let Repeated::Repeat(mut early) = request_ids.join(key("a"), [1; 32], now) else {
            panic!("not joined");
        };
        ticket.finish(Arc::new(7), true);
        early.wait_for(Option::is_some).await.unwrap();
        assert_eq!(early.borrow().as_deref(), Some(&7));
        let Repeated::Repeat(late) = request_ids.join(key("a"), [1; 32], now) else {
            panic!("not joined");
        };
        assert_eq!(late.borrow().as_deref(), Some(&7));
    }

    #[test]
    fn an_id_stands_for_one_request_of_one_caller() {
        let request_ids = RequestIds::new(Duration::from_secs(300));
        let now = Instant::now();
        let _ticket = first(&request_ids, "a", now);
        assert!(matches!(
            request_ids.join(key("a"), [2; 32], now),
            Repeated::Reused
        ));
        let stranger = ("stranger".to_owned(), "a".to_owned());
        assert!(matches!(
            request_ids.join(stranger, [2; 32], now),
            Repeated::First(_)
        ));
    }

    #[tokio::test]
    async fn an_attempt_that_may_be_repeated_or_that_broke_frees_its_id() {
        let request_ids = RequestIds::new(Duration::from_secs(300));
        let now = Instant::now();
        first(&request_ids, "a", now).finish(Arc::new(1), false);
        let ticket = first(&request_ids, "a", now);
        let Repeated::Repeat(mut waiting) = request_ids.join(key("a"), [1; 32], now) else {
            panic!("not joined");
        };
        drop(ticket);
        assert!(waiting.wait_for(Option::is_some).await.is_err());
        first(&request_ids, "a", now).finish(Arc::new(2), true);
    }

    #[test]
    fn ids_are_forgotten_in_time() {
        let request_ids = RequestIds::new(Duration::from_secs(300));
        let now = Instant::now();
        first(&request_ids, "a", now).finish(Arc::new(1), true);
        let later = now + Duration::from_secs(300);
        first(&request_ids, "a", later).finish(Arc::new(1), true);
        let inner = request_ids.inner.lock();
        assert_eq!((inner.attempts.len(), inner.order.len()), (1, 1));
    }
}
