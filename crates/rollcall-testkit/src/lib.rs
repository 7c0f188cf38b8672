//! Real directory servers, databases and a scripted hostile server for tests.
//!
//! What this crate is: the surroundings a test needs, started for real on loopback and gone when the
//! test ends. A missing server program is an error that names the Debian package to install.
//!
//! What it must never know: any other crate of Rollcall. It offers peers, not expectations.
//!
//! Where to read first: [`Slapd`] (a private OpenLDAP), [`SambaDc`] and [`Dirsrv`] (the other
//! two kinds of directories), [`TestDatabase`] (a fresh PostgreSQL database),
//! [`ScriptedLdap`] (a server that does what the test says), [`TreeLdap`] (a server over a tree that the test edits), [`TestCa`] (certificates for all of them).

mod account;
mod ca;
mod dirsrv;
mod ldif;
mod people;
mod pgbouncer;
mod postgres;
mod process;
mod proxy;
mod recorder;
mod root;
mod samba;
mod scripted;
mod slapd;
mod small_disk;
mod smtp;
mod tls_client;
mod tree;
mod wait;

pub use account::Account;
pub use ca::{Certificate, TestCa};
pub use dirsrv::{Dirsrv, DirsrvPerson};
pub use ldif::Ldif;
pub use people::{HostilePerson, hostile_people, people_ldif};
pub use pgbouncer::PgBouncer;
pub use postgres::{IdleSession, Postgres, TestDatabase};
pub use process::freeze;
pub use proxy::Proxy;
pub use recorder::Recorder;
pub use root::is_root_for;
pub use samba::{SambaDc, SambaPerson};
pub use scripted::ber;
pub use scripted::filter::Filter;
pub use scripted::request::{Operation, Request};
pub use scripted::{Peer, ScriptedLdap};
pub use slapd::bind_log::Bind;
pub use slapd::{Slapd, SlapdBuilder};
pub use small_disk::SmallDisk;
pub use smtp::{ReceivedMail, SmtpSink};
pub use tree::{Cut, Flavour, LostBind, Outage, Tree, TreeEntry, TreeLdap};
pub use wait::{wait_for, wait_for_blocking};
