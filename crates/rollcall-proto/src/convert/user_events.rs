//! UserService, as far as events are followed.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rollcall_core::error::Error;
use rollcall_core::event::EventType;
use rollcall_core::violation::Violations;

use crate::decode::{choices, finish};
use crate::resource_name::{self, TenantScope};
use crate::v1;

/// Events of a page when the request names no size.
pub const DEFAULT_EVENTS: u32 = 100;
/// Most events of a page; more is taken as this.
pub const MAX_EVENTS: u32 = 1000;
/// Longest cursor, in bytes.
const MAX_CURSOR_BYTES: usize = 256;
/// Begins a cursor. A later format gets another one.
const VERSION: &str = "e1";

/// Where a reader of events stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Follow {
    /// Whose events.
    pub scope: TenantScope,
    /// The position after which to go on, if the caller has one.
    pub after: Option<i64>,
    /// Only these types; empty for all.
    pub types: Vec<EventType>,
}

/// ListUserEvents.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListUserEvents {
    /// Which events.
    pub follow: Follow,
    /// At most how many, 1 to [`MAX_EVENTS`].
    pub size: u32,
}

impl Follow {
    /// True if the type is one that is wanted.
    pub fn wants(&self, event_type: EventType) -> bool {
        self.types.is_empty() || self.types.contains(&event_type)
    }

    fn decode(found: &mut Violations, parent: &str, after: &str, types: &[i32]) -> Option<Self> {
        let pattern = resource_name::TENANT_SCOPE;
        let scope = resource_name::decode(
            found,
            "parent",
            parent,
            pattern,
            resource_name::parse_tenant_scope,
        );
        let position = match (after, &scope) {
            ("", _) | (_, None) => None,
            (text, Some(scope)) => {
                let position = open(text, scope);
                found.require(
                    position.is_some(),
                    "after",
                    "is not a cursor of this parent's events",
                );
                position
            }
        };
        let types = choices::<v1::UserEventType, _>(found, "types", types);
        scope.map(|scope| Self {
            scope,
            after: position,
            types,
        })
    }
}

impl TryFrom<v1::ListUserEventsRequest> for ListUserEvents {
    type Error = Error;

    fn try_from(request: v1::ListUserEventsRequest) -> Result<Self, Error> {
        let mut found = Violations::new();
        let size = match u32::try_from(request.page_size) {
            Ok(0) => DEFAULT_EVENTS,
            Ok(size) => size.min(MAX_EVENTS),
            Err(_) => {
                found.add("page_size", "must not be negative");
                DEFAULT_EVENTS
            }
        };
        let follow = Follow::decode(&mut found, &request.parent, &request.after, &request.types);
        finish(found, follow.map(|follow| Self { follow, size }))
    }
}

impl TryFrom<v1::WatchUserEventsRequest> for Follow {
    type Error = Error;

    fn try_from(request: v1::WatchUserEventsRequest) -> Result<Self, Error> {
        let mut found = Violations::new();
        let follow = Follow::decode(&mut found, &request.parent, &request.after, &request.types);
        finish(found, follow)
    }
}

/// The cursor of a position in a feed. It grants nothing, since every request is checked anew.
pub fn event_cursor(scope: &TenantScope, position: i64) -> String {
    URL_SAFE_NO_PAD.encode(format!("{VERSION}/{}/{position}", feed(scope)))
}

fn open(cursor: &str, scope: &TenantScope) -> Option<i64> {
    if cursor.len() > MAX_CURSOR_BYTES {
        return None;
    }
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    let rest = text.strip_prefix(VERSION)?.strip_prefix('/')?;
    let (of, position) = rest.split_once('/')?;
    let position = position.parse::<i64>().ok().filter(|position| *position >= 0)?;
    (of == feed(scope)).then_some(position)
}

fn feed(scope: &TenantScope) -> &str {
    match scope {
        TenantScope::One(tenant) => tenant.as_str(),
        TenantScope::All => "-",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rollcall_core::id::TenantId;

    use super::*;

    #[test]
    fn a_cursor_belongs_to_one_feed() {
        let acme = TenantScope::One(TenantId::parse("acme").unwrap());
        let cursor = event_cursor(&acme, 42);
        let list = |parent: &str, after: &str| {
            ListUserEvents::try_from(v1::ListUserEventsRequest {
                parent: parent.into(),
                after: after.into(),
                ..v1::ListUserEventsRequest::default()
            })
        };
        assert_eq!(list("tenants/acme", &cursor).unwrap().follow.after, Some(42));
        assert_eq!(list("tenants/acme", "").unwrap().follow.after, None);
        for (parent, after) in [
            ("tenants/other", cursor.as_str()),
            ("tenants/-", &cursor),
            ("tenants/acme", "x"),
            ("tenants/acme", &event_cursor(&acme, -1)),
        ] {
            let refused = list(parent, after).unwrap_err();
            assert_eq!(
                refused.violations.iter().next().unwrap().field,
                "after",
                "{parent} {after}"
            );
        }
    }
}
