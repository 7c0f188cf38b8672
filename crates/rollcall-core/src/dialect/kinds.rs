//! The kinds of directory servers. Made from the files in `kinds/`; see `rollcall-proto/tests/it/generated_kinds.rs`.

mod active_directory;
mod dirsrv_389;
mod generic;
mod open_ldap;

use super::row::Row;

/// A kind of directory server.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Dialect {
    /// Active Directory, AD LDS and Samba.
    ActiveDirectory,
    /// 389 Directory Server, Red Hat Directory Server and FreeIPA.
    Dirsrv389,
    /// Any other server: what others are known to do, tried together.
    Generic,
    /// OpenLDAP.
    OpenLdap,
}

impl Dialect {
    /// All kinds.
    #[rustfmt::skip]
    pub const ALL: &[Self] = &[
        Self::ActiveDirectory,
        Self::Dirsrv389,
        Self::Generic,
        Self::OpenLdap,
    ];

    /// What this kind is.
    pub fn row(self) -> &'static Row {
        match self {
            Self::ActiveDirectory => &active_directory::ROW,
            Self::Dirsrv389 => &dirsrv_389::ROW,
            Self::Generic => &generic::ROW,
            Self::OpenLdap => &open_ldap::ROW,
        }
    }
}
