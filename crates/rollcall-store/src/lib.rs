//! Rollcall's store on SQLite and PostgreSQL: the only crate that names sea-orm.
