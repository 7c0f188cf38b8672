//! UserService, as far as events are followed.

use rollcall_core::error::Error;
use rollcall_core::event::EventType;
use rollcall_core::violation::Violations;

use crate::decode::{choices, finish};
use crate::resource_name::{self, TenantScope};
use crate::v1;

/// Events of a page when the request names no size.
pub(crate) const DEFAULT_EVENTS: u32 = 100;
/// Most events of a page; more is taken as this.
pub const MAX_EVENTS: u32 = 1000;

/// Where a reader of events stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Follow {
    /// Whose events.
    pub scope: TenantScope,
    /// The cursor after which to go on, as it came; empty for none.
    pub after: String,
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

    fn decode(found: &mut Violations, parent: &str, after: String, types: &[i32]) -> Option<Self> {
        let pattern = resource_name::TENANT_SCOPE;
        let scope = resource_name::decode(
            found,
            "parent",
            parent,
            pattern,
            resource_name::parse_tenant_scope,
        );
        let types = choices::<v1::UserEventType, _>(found, "types", types);
        scope.map(|scope| Self { scope, after, types })
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
        let follow = Follow::decode(&mut found, &request.parent, request.after, &request.types);
        finish(found, follow.map(|follow| Self { follow, size }))
    }
}

impl TryFrom<v1::WatchUserEventsRequest> for Follow {
    type Error = Error;

    fn try_from(request: v1::WatchUserEventsRequest) -> Result<Self, Error> {
        let mut found = Violations::new();
        let follow = Follow::decode(&mut found, &request.parent, request.after, &request.types);
        finish(found, follow)
    }
}
