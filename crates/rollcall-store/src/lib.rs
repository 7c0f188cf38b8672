//! Rollcall's store, on SQLite and on PostgreSQL.
//!
//! What this crate is: the only one that names sea-orm. It keeps what the domain's types say, in transactions
//! that leave it whole: a user's change, its identifiers, its event and the run's pointer are written together
//! or not at all.
//!
//! What it must never know: tonic, ldap3, configuration, the current time (it is a parameter; only leases ask
//! the database's clock), and any rule about users that is not about storing them.
//!
//! Read first: [`Store`], then `schema/first.rs` (the tables), `user_write.rs` (the one way in which users
//! change), `feed.rs` (why events have no gaps) and `login_writer.rs` (how logins share a commit).

mod apply;
mod audit;
mod batches;
mod bulk;
mod checks;
mod claims;
mod clock;
mod database;
mod directories;
mod entity;
mod error;
mod feed;
mod few_trips;
mod guard_counts;
mod id_kinds;
mod identifiers;
mod in_force;
mod issues;
mod keyring;
mod known_users;
mod leases;
mod local_users;
mod login_cache;
mod login_requests;
mod login_target;
mod login_writer;
mod outbox;
mod own_connection;
mod page;
mod plans;
mod refusals;
mod retention;
mod reviews;
mod run_changes;
mod runs;
mod saved;
mod schema;
mod secrets;
mod store;
mod tenants;
mod throttles;
mod two_trips;
mod user_sync_deletion;
mod user_syncs;
mod user_write;
mod users;
mod words;

pub use apply::{ChunkOutcome, SingleOutcome};
pub use audit::{AuditFilter, NewAuditEvent};
pub use checks::CheckSubject;
pub use directories::NewSecrets;
pub use error::{Kind, Result, StoreError};
pub use in_force::JudgedBy;
pub use keyring::{Keyring, KeyringProblem};
pub use known_users::KnownUser;
pub use leases::{LeaseName, LeaseToken};
pub use local_users::NewUser;
pub use login_cache::LoginConfig;
pub use login_target::{LoginSync, LoginTarget};
pub use login_writer::{FinishLogin, LastLook};
pub use outbox::{ClaimedMail, NewMail};
pub use page::{Cursor, MAX_PAGE, Page, PageRequest};
pub use plans::{LeaversFirst, PlanExtent, PlanOutcome, PlanResult};
pub use reviews::SecurityReview;
pub use run_changes::RunEnd;
pub use runs::NewRun;
pub use store::{IdentifierUniqueness, Store, StoreOptions};
pub use throttles::{HeldSlot, OwnCount, Reservation, Reserved};
pub use users::{UserFilter, UserSource};
