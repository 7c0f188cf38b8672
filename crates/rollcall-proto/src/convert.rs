//! Conversions between the wire and the domain, one file a service.
//!
//! Requests become types of the domain, or of these modules, by `TryFrom`; the error is an [`Error`] that names every
//! bad field. Resources become messages by `From`.
//!
//! [`Error`]: rollcall_core::error::Error

pub use crate::decode::Repeatable;

pub mod audit;
pub mod auth;
pub mod check;
pub mod directory;
pub mod explain;
pub mod sync_run;
pub mod tenant;
mod text_fields;
pub mod user;
pub mod user_events;
pub mod user_sync;
pub mod user_write;

/// Makes the request that only names a resource into that name.
macro_rules! named_request {
    ($request:ident => $name:ty, $parse:ident, $pattern:ident) => {
        impl TryFrom<v1::$request> for $name {
            type Error = rollcall_core::error::Error;

            fn try_from(request: v1::$request) -> Result<Self, Self::Error> {
                let mut found = rollcall_core::violation::Violations::new();
                let name = crate::resource_name::decode(
                    &mut found,
                    "name",
                    &request.name,
                    crate::resource_name::$pattern,
                    crate::resource_name::$parse,
                );
                crate::decode::finish(found, name)
            }
        }
    };
}

use named_request;
