//! What the guard and the code above ldap3 tell each other beside the byte stream.
//!
//! ldap3 loses the reason when a connection ends, has no flow control and cannot say whether a request was ever
//! written. All three are kept here, under one short lock.

use std::collections::VecDeque;
use std::task::Waker;

use parking_lot::Mutex;

use super::vet::Notice;
use crate::protocol_violation::ProtocolViolation;

/// Entries with up to this much decoding cost may wait for the consumer. Then the guard stops reading.
const CREDIT_WINDOW: usize = 1 << 20;

/// Why the guard ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Stop {
    /// The server broke the protocol.
    Violation(ProtocolViolation),
    /// The server announced that it closes the connection.
    Disconnected(Notice),
    /// The server closed the connection, or it broke.
    PeerClosed,
    /// This side closed it.
    LocalClosed,
}

/// What is noted about an entry that is forwarded.
#[derive(Debug)]
pub(super) struct Note {
    /// What its decoding costs, in bytes.
    pub(super) cost: usize,
    /// Its text had to be repaired.
    pub(super) tainted: bool,
    /// It stands for a passed-over entry, whose largest attribute this is.
    pub(super) oversized: Option<String>,
}

/// What is known about an entry that was received.
#[derive(Debug)]
pub(crate) struct Kind {
    /// Its text had to be repaired.
    pub(crate) tainted: bool,
    /// It was passed over. This was its largest attribute.
    pub(crate) oversized: Option<String>,
}

/// What one request may cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    /// Entries that the answer may hold.
    pub(crate) entries: u32,
    /// Bytes that the answer may have.
    pub(crate) bytes: u64,
}

/// Whether the bytes of a request went out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Written {
    /// No byte did, and none will.
    No,
    /// Some bytes may have gone out.
    Maybe,
}

#[derive(Debug)]
struct State {
    notes: VecDeque<Note>,
    outstanding: usize,
    waiting_guard: Option<Waker>,
    budget: Budget,
    spent: Spent,
    written: Written,
    revoked: bool,
    large: bool,
    stop: Option<Stop>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Spent {
    entries: u32,
    bytes: u64,
    search_result_references: u32,
}

/// The state that guard and consumer share.
#[derive(Debug)]
pub(crate) struct Link(Mutex<State>);

impl Link {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(State {
            notes: VecDeque::new(),
            outstanding: 0,
            waiting_guard: None,
            budget: Budget {
                entries: 0,
                bytes: 64 << 10,
            },
            spent: Spent::default(),
            written: Written::No,
            revoked: false,
            large: false,
            stop: None,
        }))
    }

    /// Prepares the next request. Entries of an earlier one must have been taken.
    pub(crate) fn begin(&self, budget: Budget) {
        let mut state = self.0.lock();
        state.budget = budget;
        state.spent = Spent::default();
        state.written = Written::No;
    }

    /// Prevents a request that was not written yet from being written, and tells whether it was still unwritten.
    pub(crate) fn revoke(&self) -> Written {
        let mut state = self.0.lock();
        state.revoked = true;
        state.written
    }

    /// Takes the note that goes with the entry just received. Returns its credit.
    pub(crate) fn take_note(&self) -> Kind {
        let mut state = self.0.lock();
        let Some(note) = state.notes.pop_front() else {
            return Kind {
                tainted: true,
                oversized: None,
            };
        };
        state.outstanding -= note.cost;
        if state.outstanding <= CREDIT_WINDOW / 2
            && let Some(waker) = state.waiting_guard.take()
        {
            drop(state);
            waker.wake();
        }
        Kind {
            tainted: note.tainted,
            oversized: note.oversized,
        }
    }

    #[cfg(any(fuzzing, test))]
    pub(crate) fn has_note(&self) -> bool {
        !self.0.lock().notes.is_empty()
    }

    /// Search result references in the answer to the present request.
    pub(crate) fn search_result_references(&self) -> u32 {
        self.0.lock().spent.search_result_references
    }

    /// Bytes that the answer to the present request had so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.lock().spent.bytes
    }

    /// True once a large message came: since then ldap3's buffer has that size.
    pub(crate) fn carried_large(&self) -> bool {
        self.0.lock().large
    }

    /// Why the guard ended, once it has.
    pub(crate) fn stop(&self) -> Option<Stop> {
        self.0.lock().stop.clone()
    }

    /// For the guard: the first reason stays.
    pub(super) fn set_stop(&self, stop: Stop) {
        self.0.lock().stop.get_or_insert(stop);
    }

    /// For the guard: a large message comes.
    pub(super) fn note_large(&self) {
        self.0.lock().large = true;
    }

    /// For the guard: asks whether a request may be written.
    pub(super) fn may_write(&self) -> bool {
        let mut state = self.0.lock();
        if !state.revoked {
            state.written = Written::Maybe;
        }
        !state.revoked
    }

    /// For the guard: true if there is credit for another entry; else `waker` is called when there is.
    pub(super) fn has_credit(&self, waker: &Waker) -> bool {
        let mut state = self.0.lock();
        let credit = state.outstanding < CREDIT_WINDOW;
        if !credit {
            state.waiting_guard = Some(waker.clone());
        }
        credit
    }

    /// For the guard: an entry goes on.
    pub(super) fn note_entry(&self, note: Note) -> Result<(), ProtocolViolation> {
        let mut state = self.0.lock();
        state.spent.entries += 1;
        if state.spent.entries > state.budget.entries {
            return Err(ProtocolViolation::TooManyEntries {
                limit: state.budget.entries,
            });
        }
        state.outstanding += note.cost;
        state.notes.push_back(note);
        Ok(())
    }

    /// For the guard: a search result reference was dropped.
    pub(super) fn note_search_result_reference(&self) {
        let mut state = self.0.lock();
        state.spent.search_result_references = state.spent.search_result_references.saturating_add(1);
    }

    /// For the guard: so many bytes of an answer arrived.
    pub(super) fn note_bytes(&self, bytes: usize) -> Result<(), ProtocolViolation> {
        let mut state = self.0.lock();
        state.spent.bytes += bytes as u64;
        match state.spent.bytes > state.budget.bytes {
            true => Err(ProtocolViolation::TooManyBytes {
                limit: state.budget.bytes,
            }),
            false => Ok(()),
        }
    }
}
