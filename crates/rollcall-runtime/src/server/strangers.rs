//! Connections that have not proven to be a caller's yet ("strangers"). Anybody can open one, so there may only be few
//! of them. If places get scarce they are closed first: those without any request before the others, the oldest first.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::introduction::Introduction;

/// At most one line is logged in this time.
const QUIET: Duration = Duration::from_secs(60);

pub(super) struct Strangers {
    limit: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The oldest first. Entries of connections that became callers or ended are removed when room is needed.
    list: VecDeque<Weak<Introduction>>,
    dismissed: u64,
    told: Option<Instant>,
}

impl Strangers {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            state: Mutex::default(),
        }
    }

    /// Takes a new connection in. If there are too many, another stranger is closed.
    pub(super) fn admit(&self, new: &Arc<Introduction>) {
        let mut state = self.state.lock();
        state.list.push_back(Arc::downgrade(new));
        if state.list.len() > self.limit {
            state.forget_others();
        }
        if state.list.len() > self.limit {
            state.dismiss_one();
        }
    }

    /// Closes a stranger, if there is one.
    pub(super) fn make_room(&self) {
        let mut state = self.state.lock();
        state.forget_others();
        state.dismiss_one();
    }
}

impl State {
    fn forget_others(&mut self) {
        self.list
            .retain(|stranger| stranger.upgrade().is_some_and(|stranger| !stranger.is_caller()));
    }

    fn dismiss_one(&mut self) {
        let silent = |stranger: &Weak<Introduction>| stranger.upgrade().is_some_and(|it| !it.has_asked());
        let index = self.list.iter().position(silent).unwrap_or(0);
        let Some(stranger) = self.list.remove(index).and_then(|stranger| stranger.upgrade()) else {
            return;
        };
        stranger.dismiss();
        self.dismissed += 1;
        if self.told.is_none_or(|told| told.elapsed() >= QUIET) {
            tracing::warn!(
                connections = self.dismissed,
                "connections that showed no caller were ended to make room for others"
            );
            self.told = Some(Instant::now());
            self.dismissed = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use futures::FutureExt;

    use super::*;

    fn is_dismissed(introduction: &Introduction) -> bool {
        introduction.dismissal().now_or_never().is_some()
    }

    #[test]
    fn the_oldest_that_asked_for_nothing_goes_first_and_a_caller_never() {
        let strangers = Strangers::new(3);
        let all: Vec<Arc<Introduction>> = (0..6).map(|_| Arc::default()).collect();
        all[0].prove();
        all[1].ask();
        for introduction in &all[..5] {
            strangers.admit(introduction);
        }
        let dismissed = |all: &[Arc<Introduction>]| all.iter().map(|it| is_dismissed(it)).collect::<Vec<_>>();
        assert_eq!(dismissed(&all), [false, false, true, false, false, false]);
        strangers.make_room();
        assert_eq!(dismissed(&all), [false, false, true, true, false, false]);
        strangers.make_room();
        strangers.make_room();
        assert_eq!(dismissed(&all), [false, true, true, true, true, false]);
        strangers.make_room();
    }

    #[test]
    fn connections_that_went_leave_room() {
        let strangers = Strangers::new(1);
        let first = Arc::<Introduction>::default();
        strangers.admit(&first);
        drop(first);
        let second = Arc::default();
        strangers.admit(&second);
        assert!(!is_dismissed(&second));
    }
}
