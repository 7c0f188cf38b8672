//! The store's conformance suite, in the folders of the store: every test runs on SQLite and on PostgreSQL.
#![allow(clippy::unwrap_used, clippy::panic)]

mod engine;
mod fixture;

mod audit {
    mod filters;
    mod grants;
    mod sealing;
    mod verifying;
}
mod configuration {
    mod due;
    mod isolation;
    mod pending_passwords;
    mod secrets;
    mod settings;
    mod user_sync_deletion;
}
mod create_requests;
mod cut;
mod db {
    mod added_columns;
    mod disk_full;
    mod durability;
    pub(crate) mod held_line;
    mod pooled;
    mod registry;
    mod schema;
    mod vanished;
}
mod erasure;
mod key_check;
mod key_rotation;
mod login {
    pub(crate) mod commit;
    mod held_rows;
    mod last_logins;
    mod refusals;
    mod request_ids;
    mod soft_lock;
}
mod newer;
mod purpose;
mod records;
mod reminders;
mod retention;
mod runs {
    mod apply;
    mod converge;
    mod guard_counts;
    mod in_force;
    mod leases;
    mod lifecycle;
    mod neighbours;
    mod plan;
}
mod users {
    mod by_role;
    mod event_changes;
    mod feed;
    mod id_kinds;
    mod local;
    mod lookups;
    mod restores;
}
