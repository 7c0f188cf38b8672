//! Who is in the directory, and where.

pub(super) const BASE_DN: &str = "dc=example,dc=org";

/// The people of a [`Dirsrv`](super::Dirsrv), by what happens at a bind with the right password.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DirsrvPerson {
    /// Success.
    Normal,
    /// Switched off by `nsAccountLock`: 53, for a wrong password too.
    Disabled,
    /// Locked by wrong passwords: 19, for a wrong password too.
    Locked,
    /// The password is past its time: 49 and the control `passwordExpired`.
    Aged,
    /// The password has an hour left: success and the control `passwordExpiring`.
    Aging,
    /// The password must be changed first: success and the control `passwordExpired`, then 53 for the rest.
    MustChange,
}

impl DirsrvPerson {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Normal,
        Self::Disabled,
        Self::Locked,
        Self::Aged,
        Self::Aging,
        Self::MustChange,
    ];

    pub(super) fn login(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Disabled => "disabled",
            Self::Locked => "locked",
            Self::Aged => "aged",
            Self::Aging => "aging",
            Self::MustChange => "mustchange",
        }
    }
}
