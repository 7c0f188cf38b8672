//! Rollcall's LDAP client, for talking to directories that are hostile until proven otherwise.
//!
//! The only crate that names ldap3. It dials, does TLS and StartTLS itself, and lets ldap3 see nothing that
//! the guard has not vetted. It returns facts: entries, result codes, how far a search came. What they mean
//! for a user or a login is decided in rollcall-core.
//!
//! It must never know the store, gRPC, or which tenant it works for; one [`LdapDirectory`] is one
//! directory at one revision of its settings, and shares nothing with another.
//!
//! Read first: [`LdapDirectory`] (what callers use), `connection` (one connection), `wire_guard` (why nothing
//! that a server sends can do harm).

// Whoever adds a variant is shown each place that judges by it.
#![warn(clippy::wildcard_enum_match_arm)]
#![allow(unexpected_cfgs, reason = "cargo-fuzz sets cfg(fuzzing)")]

mod ber;
mod bind;
mod bulkhead;
mod check;
mod circuit_breaker;
mod config;
mod connection;
mod connection_limit;
mod dial;
mod directory;
mod egress;
mod endpoint;
mod entry;
mod error;
mod exchange;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
mod guid_bind;
mod hidden_state;
mod idn;
mod lookup;
mod measure;
mod membership;
mod outcome;
mod own_account;
mod paging;
mod password_keeper;
mod pool;
mod probe;
mod protocol_violation;
mod ranges;
mod refusal_memory;
mod resolver;
mod result_code;
mod root_dse;
mod schema;
mod service_account;
mod start_tls;
mod tls;
mod tls_failure;
mod values;
mod wire_guard;

pub use bind::BindAnswer;
pub use check::{
    ConnectionCheck, Count, HostCheck, Lockout, Privilege, SearchesCheck, SearchesToCheck, check_connection,
    check_searches,
};
pub use circuit_breaker::HostStatus;
pub use config::{DirectoryConfig, PoolLimits};
pub use connection_limit::ConnectionLimit;
pub use directory::{LdapDirectory, ReadRequest, Verification};
pub use egress::EgressPolicy;
pub use endpoint::check_trust;
pub use error::{BindError, DialFailure, LdapError, Misconfiguration};
pub use guid_bind::BindAs;
pub use lookup::Found;
pub use measure::{Load, PoolLoad};
pub use membership::{Above, Sid, group_classes, in_chain, is_group_class};
pub use outcome::{PartialReason, SearchOutcome, SearchStats};
pub use paging::{PagedSearch, Pulled, SearchBudget, SearchRequest};
pub use password_keeper::{AnotherPassword, Later, PasswordKeeper, TriedPassword};
pub use protocol_violation::{ProtocolViolation, Spoken};
pub use resolver::Resolver;
pub use result_code::{ResultClass, ResultCode};
pub use root_dse::RootDse;
pub use tls::{CertificateFacts, TlsFacts, TlsFailure, ca_certificate_end, client_certificate_end};
pub use values::ValueReader;
pub use wire_guard::vet::Notice;
