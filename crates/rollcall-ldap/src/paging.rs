//! A search in pages (RFC 2696), done by hand.
//!
//! ldap3's own adapter sends the control non-critically, overwrites the result code of each page with the
//! next one's, and follows a cookie that never changes for ever. Here every page's code counts.

use std::sync::Arc;
use std::time::Duration;

use ldap3::controls::RawControl;
use rollcall_core::digests::{DigestSet, Digests};
use rollcall_core::entry::Entry;
use rollcall_core::naming::{Naming, Renaming};
use rollcall_core::user_sync::SearchScope;
use tokio::time::Instant;

use crate::connection::{Query, QueryEnd};
use crate::entry;
use crate::error::LdapError;
use crate::outcome::{PartialReason, SearchOutcome, SearchStats};
use crate::pool::PooledConnection;
use crate::protocol_violation::ProtocolViolation;
use crate::result_code::ResultCode;
use crate::wire_guard::link::Budget;

pub(crate) mod control;
mod size;

use self::control::{paged_results, read_paged_results};

/// Asks Active Directory not to produce references to other domains (MS-ADTS 3.1.1.3.4.1.4).
const DOMAIN_SCOPE: &str = "1.2.840.113556.1.4.1339";
/// Pages in a row without entries after which the server counts as stuck, whether the cookie stays the same or changes.
/// Active Directory may send a few such pages while it looks through entries that do not match.
const MAX_IDLE_PAGES: u32 = 3;
const MAX_EMPTY_PAGES: u32 = 1_000;
/// Pages in a row without a new entry after which the pages count as endless. A few may be chance: entries that move
/// while the pages are read come twice.
const MAX_STALE_PAGES: u32 = 3;
/// Restarts after a paging cookie was lost.
const MAX_COOKIE_LOSSES: u32 = 2;
/// One page may keep us waiting this many times the operation timeout in all.
const PAGE_WAIT_FACTOR: u32 = 4;

/// A search for many entries.
#[derive(Clone, Debug)]
pub struct SearchRequest {
    /// Where it starts.
    pub base_dn: String,
    /// How deep it goes.
    pub scope: SearchScope,
    /// A filter that [`Filter`](rollcall_core::filter::Filter) accepts, as it prints it.
    pub filter: String,
    /// The attributes to read; `1.1` for none. Operational attributes must be named.
    pub attributes: Vec<String>,
    /// What the answer may cost.
    pub budget: SearchBudget,
}

/// What a search may cost. Going over it ends the search as partial.
#[derive(Clone, Copy, Debug)]
pub struct SearchBudget {
    /// Entries.
    pub entries: u32,
    /// Bytes on the wire, after TLS.
    pub bytes: u64,
    /// Waiting for the server, in all.
    pub time: Duration,
}

impl Default for SearchBudget {
    /// Two million entries, 64 GiB, two hours.
    fn default() -> Self {
        Self {
            entries: 2_000_000,
            bytes: 64 << 30,
            time: Duration::from_secs(7200),
        }
    }
}

/// What a search brings next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Pulled {
    /// An entry. One of more than 256 KiB comes with its large values cut.
    Entry(Entry),
    /// The search begins anew: forget every entry that it brought so far.
    Restarted,
}

/// A search under way. It holds a connection; dropping it closes that connection.
pub struct PagedSearch {
    pooled: PooledConnection,
    request: SearchRequest,
    naming: Naming,
    /// How entries are renamed, and whether the server's schema is used for that.
    renaming: (Renaming, bool),
    /// An entry that must wait until the schema was read.
    unnamed: Option<Entry>,
    page_size: u32,
    /// False once the server said that it has no paging.
    paged: bool,
    cookie: Vec<u8>,
    /// The first page's answer had the control, so all must.
    control_seen: bool,
    page_running: bool,
    /// Set when the whole search brought nothing and the base itself is asked for: whether the base has come.
    base: Option<bool>,
    page_entries: u64,
    idle_pages: u32,
    empty_pages: u32,
    /// The DNs of the entries that came, as long as pages are still to come.
    names: (Digests, DigestSet),
    /// The page has an entry that did not come before.
    page_is_new: bool,
    stale_pages: u32,
    cookie_losses: u32,
    reconnected: bool,
    page_waited: Duration,
    waited: Duration,
    stats: SearchStats,
    end: Option<End>,
}

enum End {
    Complete,
    Partial(PartialReason),
    Failed(LdapError),
}

impl PagedSearch {
    pub(crate) fn new(pooled: PooledConnection, request: SearchRequest) -> Self {
        let naming = Naming::of(&request.attributes);
        Self {
            page_size: pooled.page_size(),
            pooled,
            renaming: (naming.under(Arc::default()), false),
            naming,
            unnamed: None,
            request,
            paged: true,
            cookie: Vec::new(),
            control_seen: false,
            page_running: false,
            base: None,
            page_entries: 0,
            idle_pages: 0,
            empty_pages: 0,
            names: Default::default(),
            page_is_new: false,
            stale_pages: 0,
            cookie_losses: 0,
            reconnected: false,
            page_waited: Duration::ZERO,
            waited: Duration::ZERO,
            stats: SearchStats::default(),
            end: None,
        }
    }

    /// The next entry or restart; `None` at the end, whatever the end is. A cancelled call ends the search.
    pub async fn next(&mut self) -> Option<Pulled> {
        while self.end.is_none() {
            let step = if self.unnamed.is_some() {
                self.name().await
            } else if self.page_running {
                self.read().await
            } else {
                self.ask().await
            };
            match step {
                Ok(Some(pulled)) => return Some(pulled),
                Ok(None) => {}
                Err(error) => {
                    self.pooled.judge(self.page_waited, Some(&error));
                    self.end = Some(self.broken_off(error));
                }
            }
        }
        None
    }

    /// How far the search came. It counts as abandoned if [`next`](Self::next) has not returned `None` yet.
    pub fn finish(self) -> SearchOutcome {
        let stats = self.stats;
        match self.end {
            Some(End::Failed(error)) => SearchOutcome::Failed { error },
            Some(End::Partial(reason)) => SearchOutcome::Partial { reason, stats },
            None => SearchOutcome::Partial {
                reason: PartialReason::Abandoned,
                stats,
            },
            Some(End::Complete) => SearchOutcome::Complete(stats),
        }
    }

    /// Entries that came since the last restart.
    pub fn entries(&self) -> u64 {
        self.stats.entries
    }

    async fn ask(&mut self) -> Result<Option<Pulled>, LdapError> {
        let Some(budget) = self.remaining() else {
            self.end = Some(End::Partial(PartialReason::BudgetSpent));
            return Ok(None);
        };
        let mut query = Query {
            base: self.request.base_dn.clone(),
            scope: self.request.scope,
            filter: self.request.filter.clone(),
            attributes: self.request.attributes.clone(),
            size_limit: 0,
        };
        if self.base.is_some() {
            query.scope = SearchScope::Base;
            query.filter = "(objectClass=*)".into();
            query.attributes = vec!["1.1".into()];
        }
        let mut controls = Vec::new();
        if self.paged && self.base.is_none() {
            controls.push(paged_results(self.page_size, &self.cookie));
        }
        if self
            .pooled
            .dialect()
            .is_some_and(|dialect| dialect.row().takes_domain_scope)
        {
            controls.push(RawControl {
                ctype: DOMAIN_SCOPE.into(),
                crit: false,
                val: None,
            });
        }
        let deadline = self.deadline();
        self.page_entries = 0;
        self.page_is_new = false;
        self.page_waited = Duration::ZERO;
        self.pooled
            .connection()?
            .start_search(&query, controls, budget, deadline)
            .await?;
        self.page_running = true;
        Ok(None)
    }

    async fn read(&mut self) -> Result<Option<Pulled>, LdapError> {
        let deadline = self.deadline();
        let before = Instant::now();
        let connection = self.pooled.connection()?;
        let read = connection.next_entry(deadline).await;
        let waited = before.elapsed();
        self.page_waited += waited;
        self.waited += waited;
        match read {
            Ok(Ok(_)) if self.base.is_some() => {
                self.base = Some(true);
                Ok(None)
            }
            Ok(Ok(mut entry)) => {
                size::limit(&mut entry);
                self.count(&entry);
                if !self.renaming.1 && self.naming.needs_schema(&entry) {
                    self.unnamed = Some(entry);
                    return Ok(None);
                }
                self.renaming.0.apply(&mut entry);
                Ok(Some(Pulled::Entry(entry)))
            }
            Ok(Err(end)) => {
                self.page_running = false;
                self.stats.bytes += connection.bytes();
                self.stats.search_result_references += u64::from(connection.search_result_references());
                match self.base {
                    Some(seen) => self.base_answered(end.code, seen),
                    None => self.page_ended(end),
                }
            }
            Err(LdapError::ConnectionLost) if self.may_reconnect() => {
                self.reconnected = true;
                self.page_running = false;
                self.pooled
                    .reopen(Instant::now() + self.pooled.operation_timeout())
                    .await?;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Reads the schema, and returns the entry that waits for it.
    async fn name(&mut self) -> Result<Option<Pulled>, LdapError> {
        let schema = self.pooled.schema(self.deadline()).await?;
        self.renaming = (self.naming.under(schema), true);
        Ok(self.unnamed.take().map(|mut entry| {
            self.renaming.0.apply(&mut entry);
            Pulled::Entry(entry)
        }))
    }

    /// The server may have closed a pooled connection at the very moment when it was taken.
    fn may_reconnect(&self) -> bool {
        !self.reconnected && self.stats.entries == 0 && self.cookie.is_empty()
    }

    fn count(&mut self, entry: &Entry) {
        self.stats.entries += 1;
        self.page_entries += 1;
        self.stats.tainted += u64::from(entry.tainted);
        if self.paged {
            let (digests, names) = &mut self.names;
            self.page_is_new |= names.insert(digests.of(&entry.dn));
        }
        for name in entry.attributes.keys().filter(|name| name.contains(';')) {
            if let Some((attribute, Some(_))) = entry::range(name) {
                self.stats.ranged_attributes.insert(attribute.to_owned());
            }
        }
    }

    fn page_ended(&mut self, end: QueryEnd) -> Result<Option<Pulled>, LdapError> {
        let first = self.cookie.is_empty();
        let nothing_yet = first && self.page_entries == 0;
        match end.code {
            ResultCode::SUCCESS => {
                self.pooled.judge(self.page_waited, None);
                self.stats.pages += 1;
                let control = match self.paged {
                    true => read_paged_results(&end.controls)?,
                    false => None,
                };
                self.turn_page(control)
            }
            ResultCode::ADMIN_LIMIT_EXCEEDED if self.paged && nothing_yet && self.page_size > 1 => {
                self.page_size /= 2;
                self.stats.restarts += 1;
                Ok(None)
            }
            ResultCode::UNAVAILABLE_CRITICAL_EXTENSION if self.paged && nothing_yet => {
                self.paged = false;
                Ok(None)
            }
            ResultCode::UNAVAILABLE_CRITICAL_EXTENSION | ResultCode::UNWILLING_TO_PERFORM
                if !first && self.cookie_losses < MAX_COOKIE_LOSSES =>
            {
                self.cookie_losses += 1;
                Ok(Some(self.restart()))
            }
            ResultCode::TIME_LIMIT_EXCEEDED
            | ResultCode::SIZE_LIMIT_EXCEEDED
            | ResultCode::ADMIN_LIMIT_EXCEEDED => {
                self.end = Some(End::Partial(PartialReason::ServerLimit(end.code)));
                Ok(None)
            }
            code => Err(LdapError::SearchRefused(code)),
        }
    }

    /// What follows a page that ended with success.
    fn turn_page(&mut self, cookie: Option<Vec<u8>>) -> Result<Option<Pulled>, LdapError> {
        if cookie.is_none() && self.control_seen {
            return Err(LdapError::Protocol(ProtocolViolation::PagedResultsControl));
        }
        // Without the control in the answer, either the server knows no pages and sends everything, or the control got
        // lost on the way back and this is one page of many. A search without pages will tell. An answer larger than a
        // page is not a page.
        let may_be_a_page = (1..=u64::from(self.page_size)).contains(&self.page_entries);
        if cookie.is_none() && self.paged && may_be_a_page {
            self.paged = false;
            return Ok(Some(self.restart()));
        }
        self.control_seen |= cookie.is_some();
        let cookie = cookie.unwrap_or_default();
        if cookie.is_empty() {
            match self.stats.entries {
                0 => self.base = Some(false),
                _ => self.end = Some(End::Complete),
            }
            return Ok(None);
        }
        let empty = self.page_entries == 0;
        let stuck = empty && cookie == self.cookie;
        self.idle_pages = if stuck { self.idle_pages + 1 } else { 0 };
        self.empty_pages = if empty { self.empty_pages + 1 } else { 0 };
        let stale = !empty && !self.page_is_new;
        self.stale_pages = if stale { self.stale_pages + 1 } else { 0 };
        if self.stale_pages >= MAX_STALE_PAGES {
            return Err(LdapError::Protocol(ProtocolViolation::EndlessPages));
        }
        if self.idle_pages >= MAX_IDLE_PAGES || self.empty_pages >= MAX_EMPTY_PAGES {
            return Err(LdapError::Protocol(ProtocolViolation::CookieLoop));
        }
        self.cookie = cookie;
        Ok(None)
    }

    /// An empty result means something only if the base exists: 389-ds answers a paged search with success even if the
    /// base does not exist, and any server does so if the service account may not see it.
    fn base_answered(&mut self, code: ResultCode, seen: bool) -> Result<Option<Pulled>, LdapError> {
        match code {
            ResultCode::SUCCESS if seen => {
                self.end = Some(End::Complete);
                Ok(None)
            }
            ResultCode::SUCCESS => Err(LdapError::SearchRefused(ResultCode::NO_SUCH_OBJECT)),
            code => Err(LdapError::SearchRefused(code)),
        }
    }

    fn restart(&mut self) -> Pulled {
        self.cookie.clear();
        self.control_seen = false;
        self.names = Default::default();
        self.stale_pages = 0;
        self.stats = SearchStats {
            bytes: self.stats.bytes,
            restarts: self.stats.restarts + 1,
            ..SearchStats::default()
        };
        Pulled::Restarted
    }

    fn broken_off(&self, error: LdapError) -> End {
        let is_spent = matches!(
            error,
            LdapError::Protocol(
                ProtocolViolation::TooManyEntries { .. } | ProtocolViolation::TooManyBytes { .. },
            )
        );
        match (is_spent, self.stats.entries) {
            (true, _) => End::Partial(PartialReason::BudgetSpent),
            (false, 0) => End::Failed(error),
            (false, _) => End::Partial(PartialReason::Interrupted(error)),
        }
    }

    /// What is left for the next page; `None` if nothing is.
    fn remaining(&self) -> Option<Budget> {
        let budget = &self.request.budget;
        let entries = u64::from(budget.entries).checked_sub(self.stats.entries)?;
        let bytes = budget.bytes.checked_sub(self.stats.bytes)?;
        let time_left = self.waited < budget.time;
        (bytes > 0 && time_left).then_some(Budget {
            entries: u32::try_from(entries).unwrap_or(u32::MAX),
            bytes,
        })
    }

    /// The end of the next wait: the operation timeout without any message, a multiple of it for a page in
    /// all, and the budget for all pages. Time that the caller takes between entries does not count.
    fn deadline(&self) -> Instant {
        let operation = self.pooled.operation_timeout();
        let page = (operation * PAGE_WAIT_FACTOR).saturating_sub(self.page_waited);
        let whole = self.request.budget.time.saturating_sub(self.waited);
        Instant::now() + operation.min(page).min(whole)
    }
}
