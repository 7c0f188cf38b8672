//! Rollcall's store, on SQLite and on PostgreSQL.
//!
//! What this crate is: the only one that names sea-orm and rusqlite. It keeps what the domain's types say, in transactions
//! that leave it whole: a user's change, its identifiers, its event and the run's pointer are written together
//! or not at all.
//!
//! What it must never know: tonic, ldap3, configuration, the current time (it is a parameter; only leases ask
//! the database's clock), and any rule about users that is not about storing them.
//!
//! Read first: [`Store`], then `schema/first.rs` (the tables), `users/write.rs` (the one way in which users
//! change), `users/feed.rs` (why events have no gaps) and `login/group_commit.rs` (how logins share a commit).
// Whoever adds a variant is shown each place that judges by it.
#![warn(clippy::wildcard_enum_match_arm)]

mod audit;
mod checks;
mod configuration;
mod create_requests;
mod db;
mod digest;
mod erasure;
mod error;
mod exclusions;
mod figures;
mod key_check;
mod key_rotation;
mod keyring;
#[cfg(test)]
mod lists_by_index;
mod login;
mod outbox;
mod page;
mod purpose;
mod reminders;
mod retention;
mod reviews;
mod runs;
mod schema;
mod store;
mod tables;
mod users;

pub use audit::{
    AuditFeed, AuditHead, Deed, Fault, NewAuditEvent, Recorded, SealReach, Sealed, Verification,
};
pub use checks::CheckSubject;
pub use configuration::directories::{DirectoryUpdate, NewSecrets, Sighting};
pub use configuration::pending_passwords::{BindPassword, PendingOutcome};
pub use configuration::starting::{DueRun, DueStart};
pub use configuration::turns::{Due, DueCursor};
pub use configuration::user_syncs::UserSyncFilter;
pub use create_requests::{CreateRequest, Created, REPEATABLE_FOR};
pub use erasure::{EraseUser, Left};
pub use error::{KeyMismatch, Kind, Result, StoreError};
pub use figures::{Figures, FiguresAsked};
pub use key_rotation::Rotation;
pub use keyring::{Keyring, KeyringProblem};
pub use login::cache::LoginConfig;
pub use login::finish::{FinishLogin, FinishOutcome};
pub use login::soft_lock::{HeldSlot, OwnCount, Reservation, Reserved};
pub use login::store::LoginStore;
pub use login::target::{LoginSync, LoginTarget};
pub use outbox::{ClaimedMail, MailPurpose, Mailing, NewMail, Told};
pub use page::{Cursor, MAX_PAGE, Page, PageRequest};
pub use purpose::{Purpose, PurposeKeys};
pub use reminders::Reminders;
pub use retention::Kept;
pub use reviews::SecurityReview;
pub use runs::apply::{ChunkOutcome, SingleOutcome};
pub use runs::execution::{PullBegun, RunEnd};
pub use runs::handle::RunHandle;
pub use runs::in_force::JudgedBy;
pub use runs::leases::{LeaseName, LeaseToken};
pub use runs::lifecycle::NewRun;
pub use runs::plan::{LeaversFirst, PlanExtent};
pub use runs::started_chunk::StartedChunk;
pub use store::{IdentifierUniqueness, Store, StoreOptions};
pub use tables::registry::{Goes, Sweep, TABLES, Table};
pub use users::local::NewUser;
pub use users::read::{UserFilter, UserSource};
