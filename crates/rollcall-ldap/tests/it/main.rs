//! The LDAP layer against real servers and against a server that says what a test tells it to.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod binds;
mod case_table;
mod checks;
mod connection_limit;
mod cut_short;
mod dialects;
mod guid_binds;
mod hostile;
mod logs;
mod memory;
mod name_servers;
mod names;
mod pages;
mod pools;
mod real_dirsrv;
mod real_samba;
mod real_slapd;
mod searches;
mod seeds;
mod service_accounts;
mod setup;
mod transport;
mod trust;
mod verdicts;
