//! Why a login is denied: what the caller is told, and what only the audit log keeps.

use crate::text_enum::text_enum;

text_enum! {
    /// The reason of a denial that the caller may see, as the contract names it.
    pub enum PublicReason {
        /// Anything that was not proven with the right password.
        InvalidCredentials = "INVALID_CREDENTIALS",
        /// The password was right and has expired.
        PasswordExpired = "PASSWORD_EXPIRED",
        /// The password was right and must be changed first.
        PasswordMustChange = "PASSWORD_MUST_CHANGE",
        /// The password was right and the account is disabled.
        AccountDisabled = "ACCOUNT_DISABLED",
        /// The password was right and the account is past its time.
        AccountExpired = "ACCOUNT_EXPIRED",
        /// The password was right and the account may not log on now or from here.
        LogonRestricted = "LOGON_RESTRICTED",
    }
}

text_enum! {
    /// The reason of a denial that only the audit log keeps.
    pub enum InternalReason {
        /// Wrong password or unknown account; most directories do not tell which.
        InvalidCredentials = "INVALID_CREDENTIALS",
        /// The directory has no such account.
        NoSuchAccount = "NO_SUCH_ACCOUNT",
        /// The directory has no such entry (noSuchObject): it was moved or deleted.
        NoSuchEntry = "NO_SUCH_ENTRY",
        /// The DN is not valid (invalidDNSyntax).
        InvalidName = "INVALID_NAME",
        /// The name belongs to no account, or to several.
        AmbiguousName = "AMBIGUOUS_NAME",
        /// The entry has no password, or none of the kind that a bind needs.
        NoPassword = "NO_PASSWORD",
        /// The directory's rules forbid the bind (insufficientAccessRights).
        Forbidden = "FORBIDDEN",
        /// The directory refused for a reason of its own (unwillingToPerform).
        Refused = "REFUSED",
        /// The account is locked after wrong passwords.
        AccountLocked = "ACCOUNT_LOCKED",
        /// The account is disabled.
        AccountDisabled = "ACCOUNT_DISABLED",
        /// The account is past its time.
        AccountExpired = "ACCOUNT_EXPIRED",
        /// The account may not log on at this time.
        LogonHours = "LOGON_HOURS",
        /// The account may not log on from this machine.
        LogonWorkstation = "LOGON_WORKSTATION",
        /// The account may not log on in this way, or is otherwise restricted.
        LogonRestricted = "LOGON_RESTRICTED",
        /// The password has expired.
        PasswordExpired = "PASSWORD_EXPIRED",
        /// The password must be changed first.
        PasswordMustChange = "PASSWORD_MUST_CHANGE",
    }
}

impl InternalReason {
    /// What may be told once the password is proven right. A lock may not: it would confirm a guess.
    pub(super) fn public(self) -> PublicReason {
        match self {
            Self::AccountDisabled => PublicReason::AccountDisabled,
            Self::AccountExpired => PublicReason::AccountExpired,
            Self::LogonHours | Self::LogonWorkstation | Self::LogonRestricted => {
                PublicReason::LogonRestricted
            }
            Self::PasswordExpired => PublicReason::PasswordExpired,
            Self::PasswordMustChange => PublicReason::PasswordMustChange,
            Self::InvalidCredentials
            | Self::NoSuchAccount
            | Self::NoSuchEntry
            | Self::InvalidName
            | Self::AmbiguousName
            | Self::NoPassword
            | Self::Forbidden
            | Self::Refused
            | Self::AccountLocked => PublicReason::InvalidCredentials,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_public_reason_is_told_for_some_internal_one() {
        for public in PublicReason::ALL {
            let tells = |internal: &InternalReason| internal.public() == *public;
            assert!(InternalReason::ALL.iter().any(tells), "{public:?} is told of nothing");
        }
    }
}
