//! One connection: socket, TLS, guard and ldap3 together. It carries one operation at a time.
//!
//! Whenever an operation does not run to its end (an error, a deadline, a caller that went away) the
//! connection stays marked as unusable, its tasks are aborted, and what was not written never will be.

use std::future::Future;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use ldap3::controls::RawControl;
use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, Scope, SearchOptions, SearchStream, StdStream};
use rollcall_core::entry::Entry;
use rollcall_core::secret::Password;
use rollcall_core::user_sync::SearchScope;
use rollcall_metrics::LdapOperation;
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tracing::Span;
use tracing::field::Empty;

use crate::bind::{self, BindAnswer};
use crate::connection_limit::ConnectionPermit;
use crate::dial::is_own_want;
use crate::endpoint::Stream;
use crate::entry;
use crate::error::{BindError, LdapError, Misconfiguration};
use crate::measure;
use crate::protocol_violation::ProtocolViolation;
use crate::result_code::{ResultClass, ResultCode};
use crate::wire_guard::large_message_permit::LargeMessagePermit;
use crate::wire_guard::link::{Budget, Link, Stop, Written};
use crate::wire_guard::{Limits, WireGuard};

/// Bytes that the answer to a bind may have.
const BIND_BUDGET: Budget = Budget {
    entries: 0,
    bytes: 64 << 10,
};

/// What a search asks for, in one request.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    pub(crate) base: String,
    pub(crate) scope: SearchScope,
    pub(crate) filter: String,
    pub(crate) attributes: Vec<String>,
    /// Entries after which the server shall stop; 0 is its own limit.
    pub(crate) size_limit: u32,
}

/// The end of one search request.
#[derive(Debug)]
pub(crate) struct QueryEnd {
    pub(crate) code: ResultCode,
    pub(crate) controls: Vec<RawControl>,
}

/// A connection that is ready for the next operation, unless `is_usable` says otherwise.
pub(crate) struct Connection {
    ldap: Ldap,
    link: Arc<Link>,
    driver: JoinHandle<()>,
    guard: JoinHandle<()>,
    search: Option<SearchStream<'static, String, Vec<String>>>,
    /// When the search under way began, and its span.
    search_began: Option<(Instant, Span)>,
    idle: bool,
    pub(crate) opened: Instant,
    pub(crate) last_used: Instant,
    _connection_permit: ConnectionPermit,
}

impl Connection {
    /// Puts guard and ldap3 on a stream that is ready for LDAP.
    pub(crate) async fn new(
        stream: Stream,
        limits: Limits,
        permit: LargeMessagePermit,
        connection_permit: ConnectionPermit,
    ) -> Result<Self, LdapError> {
        let lost = |error: std::io::Error| match is_own_want(&error) {
            true => LdapError::Exhausted,
            false => LdapError::ConnectionLost,
        };
        let (ours, library) = StdUnixStream::pair().map_err(lost)?;
        ours.set_nonblocking(true).map_err(lost)?;
        let ours = UnixStream::from_std(ours).map_err(lost)?;
        let link = Arc::new(Link::new());
        let guard = match stream {
            Stream::Plain(tcp) => tokio::spawn(WireGuard::new(tcp, ours, link.clone(), limits, permit).run()),
            Stream::Tls(tls) => tokio::spawn(WireGuard::new(*tls, ours, link.clone(), limits, permit).run()),
        };
        let settings = LdapConnSettings::new().set_std_stream(StdStream::Unix(library));
        // With a stream of its own ldap3 ignores the URL, but the scheme has to fit.
        let (driver, ldap) = LdapConnAsync::with_settings(settings, "ldapi:///")
            .await
            .map_err(|_| LdapError::ConnectionLost)?;
        let driver = tokio::spawn(async move {
            // How it ended is in the link.
            let _ = driver.drive().await;
        });
        let now = Instant::now();
        Ok(Self {
            ldap,
            link,
            driver,
            guard,
            search: None,
            search_began: None,
            idle: true,
            opened: now,
            last_used: now,
            _connection_permit: connection_permit,
        })
    }

    /// True if another operation may be started.
    pub(crate) fn is_usable(&self) -> bool {
        self.idle && !self.link.carried_large() && self.link.stop().is_none() && !self.driver.is_finished()
    }

    /// A simple bind. The connection then has that identity, or none.
    pub(crate) async fn simple_bind(
        &mut self,
        name: &str,
        password: &Password,
        with_password_policy: bool,
        deadline: Instant,
    ) -> Result<BindAnswer, BindError> {
        self.begin(BIND_BUDGET);
        let mut ldap = self.ldap.clone();
        if with_password_policy {
            ldap.with_controls(vec![bind::password_policy_request()]);
        }
        let outcome = self
            .within_deadline(ldap.simple_bind(name, password.expose()), deadline)
            .await;
        match outcome {
            Ok(result) => {
                self.end();
                Ok(bind::answer(result))
            }
            Err(error) => Err(BindError {
                error,
                unsent: self.link.revoke() == Written::No,
            }),
        }
    }

    /// Starts a search. Its entries come from [`next_entry`](Self::next_entry).
    pub(crate) async fn start_search(
        &mut self,
        query: &Query,
        controls: Vec<RawControl>,
        budget: Budget,
        deadline: Instant,
    ) -> Result<(), LdapError> {
        self.begin(budget);
        let scope = match query.scope {
            SearchScope::Base => Scope::Base,
            SearchScope::OneLevel => Scope::OneLevel,
            SearchScope::Subtree => Scope::Subtree,
        };
        let mut ldap = self.ldap.clone();
        let limit = i32::try_from(query.size_limit).unwrap_or(i32::MAX);
        ldap.with_search_options(SearchOptions::new().sizelimit(limit));
        if !controls.is_empty() {
            ldap.with_controls(controls);
        }
        let span = tracing::info_span!(target: "rollcall_trace", "ldap.search", ?scope, ldap.result = Empty);
        self.search_began = Some((Instant::now(), span));
        let start = ldap.streaming_search(&query.base, scope, &query.filter, query.attributes.clone());
        let started = self.within_deadline(start, deadline).await;
        self.search = Some(started.inspect_err(|error| self.search_ended(Err(error)))?);
        Ok(())
    }

    /// Counts the search under way, and ends its span.
    fn search_ended(&mut self, end: Result<ResultCode, &LdapError>) {
        let Some((began, span)) = self.search_began.take() else {
            return;
        };
        if let Ok(code) = end {
            span.record("ldap.result", code.0);
        }
        let took = began.elapsed();
        // Neither base nor filter: they name people.
        match end {
            Ok(code) => tracing::debug!(?took, result = code.0, bytes = self.bytes(), "a search ended"),
            Err(error) => tracing::debug!(?took, %error, bytes = self.bytes(), "a search broke off"),
        }
        let refused = match end {
            Ok(code) => match code.class() {
                ResultClass::Success
                | ResultClass::Truncated
                | ResultClass::Referral
                | ResultClass::NotFound => None,
                ResultClass::Infrastructure
                | ResultClass::Configuration
                | ResultClass::Credentials
                | ResultClass::Access
                | ResultClass::Other => Some(LdapError::SearchRefused(code)),
            },
            Err(error) => Some(error.clone()),
        };
        measure::count(LdapOperation::Search, began, refused.as_ref());
    }

    /// The next entry of the search under way, or its end.
    pub(crate) async fn next_entry(
        &mut self,
        deadline: Instant,
    ) -> Result<Result<Entry, QueryEnd>, LdapError> {
        let next = self.next(deadline).await;
        match &next {
            Ok(Ok(_)) => {}
            Ok(Err(end)) => self.search_ended(Ok(end.code)),
            Err(error) => self.search_ended(Err(error)),
        }
        next
    }

    async fn next(&mut self, deadline: Instant) -> Result<Result<Entry, QueryEnd>, LdapError> {
        let Some(search) = self.search.as_mut() else {
            return Err(LdapError::ConnectionLost);
        };
        match timeout_at(deadline, search.next()).await {
            Ok(Ok(Some(item))) => {
                let kind = self.link.take_note();
                entry::from_tree(item.0, kind.tainted)
                    .map(|entry| {
                        Ok(Entry {
                            oversized: kind.oversized,
                            ..entry
                        })
                    })
                    .map_err(LdapError::Protocol)
            }
            Ok(Ok(None)) => {
                let result = search.finish().await;
                self.search = None;
                self.end();
                let controls = result.ctrls.into_iter().map(|control| control.1).collect();
                Ok(Err(QueryEnd {
                    code: ResultCode(result.rc),
                    controls,
                }))
            }
            Ok(Err(error)) => Err(self.cause(&error)),
            Err(_) => Err(LdapError::Timeout),
        }
    }

    /// Search result references in the present or last answer.
    pub(crate) fn search_result_references(&self) -> u32 {
        self.link.search_result_references()
    }

    /// Bytes of the present or last answer.
    pub(crate) fn bytes(&self) -> u64 {
        self.link.bytes()
    }

    fn begin(&mut self, budget: Budget) {
        self.idle = false;
        self.search = None;
        self.link.begin(budget);
    }

    fn end(&mut self) {
        self.idle = true;
        self.last_used = Instant::now();
    }

    /// Runs a call into ldap3 with a deadline. A panic in there ends this connection and nothing else.
    async fn within_deadline<T>(
        &self,
        call: impl Future<Output = Result<T, ldap3::LdapError>>,
        deadline: Instant,
    ) -> Result<T, LdapError> {
        match timeout_at(deadline, AssertUnwindSafe(call).catch_unwind()).await {
            Ok(Ok(Ok(value))) => Ok(value),
            Ok(Ok(Err(error))) => Err(self.cause(&error)),
            Ok(Err(_panic)) => Err(LdapError::Protocol(ProtocolViolation::Undecodable)),
            Err(_) => Err(LdapError::Timeout),
        }
    }

    /// What is behind an error of ldap3, which knows only that the connection ended.
    fn cause(&self, error: &ldap3::LdapError) -> LdapError {
        match (self.link.stop(), error) {
            (_, ldap3::LdapError::FilterParsing) => LdapError::Misconfigured(Misconfiguration::Filter),
            (Some(Stop::Violation(violation)), _) => LdapError::Protocol(violation),
            (Some(Stop::Disconnected(notice)), _) => LdapError::Disconnected(notice),
            (Some(Stop::PeerClosed | Stop::LocalClosed), _) => LdapError::ConnectionLost,
            (None, _) => LdapError::Protocol(ProtocolViolation::Undecodable),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.link.revoke();
        self.driver.abort();
        self.guard.abort();
    }
}
