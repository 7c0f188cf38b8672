//! Small searches: a few entries in one request.

use ldap3::controls::RawControl;
use rollcall_core::entry::Entry;
use rollcall_core::user_sync::SearchScope;
use tokio::time::Instant;

use crate::connection::{Connection, Query};
use crate::error::LdapError;
use crate::paging::control::{paged_results, read_paged_results};
use crate::protocol_violation::ProtocolViolation;
use crate::result_code::ResultCode;
use crate::wire_guard::Limits;
use crate::wire_guard::link::Budget;

/// What a search for single entries may cost.
const SMALL_BYTES: u64 = 32 << 20;

/// Entries found by a small search.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Found {
    /// At most as many as were asked for.
    pub entries: Vec<Entry>,
    /// There are more.
    pub more: bool,
}

/// A small search in one request.
pub(crate) async fn find(
    connection: &mut Connection,
    query: &Query,
    deadline: Instant,
) -> Result<Found, LdapError> {
    find_with_controls(connection, query, Vec::new(), deadline).await
}

/// A small search with controls of its own. If a server refuses the paging control, which it may not know, the search
/// is repeated without it.
pub(crate) async fn find_with_controls(
    connection: &mut Connection,
    query: &Query,
    controls: Vec<RawControl>,
    deadline: Instant,
) -> Result<Found, LdapError> {
    let refused = LdapError::SearchRefused(ResultCode::UNAVAILABLE_CRITICAL_EXTENSION);
    let paged = query.scope != SearchScope::Base;
    match find_once(connection, query, controls.clone(), paged, deadline).await {
        Err(error) if paged && error == refused => {
            find_once(connection, query, controls, false, deadline).await
        }
        found => found,
    }
}

/// Samba ignores the size limit but respects a page's size. One entry more than the limit is asked for, so that a full
/// page does not look like the whole answer.
async fn find_once(
    connection: &mut Connection,
    query: &Query,
    mut controls: Vec<RawControl>,
    paged: bool,
    deadline: Instant,
) -> Result<Found, LdapError> {
    let one_more = query.size_limit.max(1).saturating_add(1);
    if paged {
        controls.push(RawControl {
            crit: false,
            ..paged_results(one_more, b"")
        });
    }
    let budget = Budget {
        entries: one_more,
        bytes: SMALL_BYTES,
    };
    connection.start_search(query, controls, budget, deadline).await?;
    let mut found = Found::default();
    let limit = query.size_limit.max(1) as usize;
    loop {
        match connection.next_entry(deadline).await {
            // An entry that was passed over proves nothing about a person.
            Ok(Ok(entry)) if entry.oversized.is_some() => {
                let limit = Limits::SEARCH.message;
                return Err(LdapError::Protocol(ProtocolViolation::MessageTooLarge { limit }));
            }
            Ok(Ok(entry)) if found.entries.len() < limit => found.entries.push(entry),
            Ok(Ok(_)) => found.more = true,
            // The server respects neither limit. Its connection is closed, but the entries that came are true.
            Err(LdapError::Protocol(ProtocolViolation::TooManyEntries { .. })) if found.more => {
                return Ok(found);
            }
            Err(error) => return Err(error),
            Ok(Err(end)) => {
                // A server may end a page before it is full, even before its first entry.
                let cookie = read_paged_results(&end.controls)?.unwrap_or_default();
                found.more |= !cookie.is_empty();
                return match end.code {
                    ResultCode::SUCCESS => Ok(found),
                    ResultCode::SIZE_LIMIT_EXCEEDED => Ok(Found { more: true, ..found }),
                    code => Err(LdapError::SearchRefused(code)),
                };
            }
        }
    }
}
