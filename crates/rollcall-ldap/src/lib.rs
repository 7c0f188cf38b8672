//! Rollcall's LDAP client: the only crate that names ldap3.
