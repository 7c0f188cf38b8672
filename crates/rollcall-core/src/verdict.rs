//! What a directory's answer to a bind means for a login: one pure table.
//!
//! Three rules run through it. A directory outage is never a wrong password, nor the other way round. A
//! reason leaves Rollcall only if the directory proved that the password was right; everything else is the
//! one answer INVALID_CREDENTIALS. And an answer nobody knows is no denial but a failure of the directory.

mod diagnostic;
mod reason;

use std::time::Duration;

use chrono::TimeDelta;

use crate::dialect::{AccountState, AccountStatus, Dialect, Refusals};

pub use diagnostic::active_directory_code;
pub use reason::{InternalReason, PublicReason};

/// The directory's answer to one bind, and what the entry's read said at the same time.
#[derive(Clone, Copy, Debug)]
pub struct BindAnswer<'a> {
    /// The kind of server.
    pub dialect: Dialect,
    /// The result code of the bind response (RFC 4511 4.1.9).
    pub result_code: u32,
    /// The diagnostic message, repaired to UTF-8.
    pub diagnostic: &'a str,
    /// The password policy response control (draft-behera-ldap-password-policy-10 6.2), if there was one.
    pub policy: Option<PolicyResponse>,
    /// The Netscape password controls.
    pub netscape: NetscapeControls,
    /// The account's state as read from the entry.
    pub account: AccountState,
    /// Time until the password expires, as read from the entry; negative if it is past.
    pub expires_in: Option<TimeDelta>,
}

/// Users are warned this long before their password expires, on servers that say when it expires and not when to warn.
/// As long as Windows warned by default for many years, since a product may have users who log in once a week.
pub(crate) const EXPIRY_NOTICE: TimeDelta = TimeDelta::days(14);

/// What the password policy response control said.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PolicyResponse {
    /// Time until the password expires.
    pub expires_in: Option<Duration>,
    /// Logins left with the expired password.
    pub grace_logins_left: Option<u32>,
    /// What the policy forbids.
    pub error: Option<PolicyError>,
}

/// The errors of the password policy response control that concern a bind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PolicyError {
    /// passwordExpired (0).
    PasswordExpired,
    /// accountLocked (1).
    AccountLocked,
    /// changeAfterReset (2).
    ChangeAfterReset,
}

impl PolicyError {
    /// The error of this number. The others (3 to 9) answer a change of password, never a bind.
    pub fn from_code(code: u32) -> Option<Self> {
        match code {
            0 => Some(Self::PasswordExpired),
            1 => Some(Self::AccountLocked),
            2 => Some(Self::ChangeAfterReset),
            _ => None,
        }
    }
}

/// The two controls that 389 Directory Server and its relatives send instead.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NetscapeControls {
    /// 2.16.840.1.113730.3.4.4: expired, or with success: to be changed first.
    pub expired: bool,
    /// 2.16.840.1.113730.3.4.5: time until the password expires.
    pub expires_in: Option<Duration>,
}

/// What a login's answer says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The password is right and the directory lets the account in.
    Authenticated {
        /// What the user should know about the password.
        notice: Option<PasswordNotice>,
    },
    /// The directory said no.
    Denied {
        /// What the caller is told.
        public: PublicReason,
        /// What the audit log keeps.
        internal: InternalReason,
        /// True if the directory proved that the password was right. If not, `public` is
        /// [`PublicReason::InvalidCredentials`] and the attempt counts as a failure.
        password_proven: bool,
    },
    /// The directory said nothing about the password.
    DirectoryError(DirectoryErrorKind),
}

/// What the user should know about a password that was right.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PasswordNotice {
    /// Time until it expires.
    pub expires_in: Option<Duration>,
    /// Logins left; it has expired already.
    pub grace_logins_left: Option<u32>,
}

/// Why a directory gave no verdict.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum DirectoryErrorKind {
    /// It cannot answer now.
    Unavailable,
    /// It answered what no directory should: nobody knows whether it looked at the password.
    Unclear,
    /// It demands something that the configuration does not give, such as TLS.
    Misconfigured,
    /// It is overloaded.
    Busy,
}

/// Reads the directory's answer.
pub fn judge(answer: &BindAnswer<'_>) -> Verdict {
    use DirectoryErrorKind::*;
    use InternalReason::*;
    match answer.result_code {
        0 => success(answer),
        49 => invalid_credentials(answer),
        19 => unproven(AccountLocked),
        32 => unproven(NoSuchEntry),
        34 => unproven(InvalidName),
        48 => unproven(NoPassword),
        50 => unproven(Forbidden),
        53 => unproven(diagnostic::refusal(answer.diagnostic)),
        // authMethodNotSupported, strongerAuthRequired, unavailableCriticalExtension,
        // confidentialityRequired, saslBindInProgress.
        7 | 8 | 12 | 13 | 14 => Verdict::DirectoryError(Misconfigured),
        51 => Verdict::DirectoryError(Busy),
        52 => Verdict::DirectoryError(Unavailable),
        _ => Verdict::DirectoryError(Unclear),
    }
}

/// How the directory would answer the right password, as far as the entry tells: each kind of server answers an account
/// in this state in its own way, through the same table. Only a bind can tell about logon hours and the like.
pub fn foretell(dialect: Dialect, account: AccountState, expires_in: Option<TimeDelta>) -> Verdict {
    let foretold = (dialect.row().foretell)(account);
    judge(&BindAnswer {
        dialect,
        result_code: foretold.result_code,
        diagnostic: foretold.diagnostic,
        policy: foretold.change_after_reset.then_some(PolicyResponse {
            error: Some(PolicyError::ChangeAfterReset),
            ..PolicyResponse::default()
        }),
        netscape: NetscapeControls {
            expired: foretold.netscape_expired,
            expires_in: None,
        },
        account,
        expires_in,
    })
}

fn success(answer: &BindAnswer<'_>) -> Verdict {
    let policy = answer.policy.unwrap_or_default();
    match policy.error {
        Some(PolicyError::PasswordExpired) => return proven(InternalReason::PasswordExpired),
        Some(PolicyError::AccountLocked) => return proven(InternalReason::AccountLocked),
        Some(PolicyError::ChangeAfterReset) => return proven(InternalReason::PasswordMustChange),
        // 389 Directory Server sends this for a password that must be changed, and for a grace login as well.
        None if answer.netscape.expired && policy.grace_logins_left.is_none() => {
            return proven(InternalReason::PasswordMustChange);
        }
        None => {}
    }
    // The bind knows best about locks and passwords: their attributes outlive what they describe, and grace
    // logins are still logins. That an account is switched off or over is known to the entry alone where a
    // server does not enforce it.
    match answer.account.status {
        AccountStatus::Disabled => proven(InternalReason::AccountDisabled),
        AccountStatus::Expired => proven(InternalReason::AccountExpired),
        AccountStatus::Enabled
        | AccountStatus::Locked
        | AccountStatus::NotSet
        // Such a server judges the account itself when it judges the bind.
        | AccountStatus::Unreadable => {
            let soon = answer.expires_in.filter(|left| *left <= EXPIRY_NOTICE);
            let soon = soon.and_then(|left| left.to_std().ok());
            let expires_in = policy.expires_in.or(answer.netscape.expires_in).or(soon);
            let grace_logins_left = policy.grace_logins_left;
            let worth_telling = expires_in.is_some() || grace_logins_left.is_some();
            Verdict::Authenticated {
                notice: worth_telling.then_some(PasswordNotice {
                    expires_in,
                    grace_logins_left,
                }),
            }
        }
    }
}

fn invalid_credentials(answer: &BindAnswer<'_>) -> Verdict {
    use InternalReason::*;
    let expired = match answer.dialect.row().refusals {
        Refusals::Coded => return active_directory(answer.diagnostic),
        Refusals::AgesAfterCompare => proven,
        Refusals::Unordered => unproven,
    };
    match answer.policy.and_then(|policy| policy.error) {
        Some(PolicyError::PasswordExpired) => expired(PasswordExpired),
        Some(PolicyError::AccountLocked) => unproven(AccountLocked),
        Some(PolicyError::ChangeAfterReset) => unproven(PasswordMustChange),
        None if answer.netscape.expired => expired(PasswordExpired),
        None => unproven(diagnostic::edirectory(answer.diagnostic).unwrap_or(InvalidCredentials)),
    }
}

/// Active Directory's codes (system error codes in MS-ERREF 2.2). It compares the password first and tells
/// the state only then, except for the lock.
fn active_directory(diagnostic: &str) -> Verdict {
    use InternalReason::*;
    match diagnostic::active_directory_code(diagnostic) {
        Some(0x525) => unproven(NoSuchAccount),
        Some(0x57) => unproven(AmbiguousName),
        Some(0x52f | 0x534 | 0x569) => unproven(LogonRestricted),
        Some(0x530) => proven(LogonHours),
        Some(0x531) => proven(LogonWorkstation),
        Some(0x532) => proven(PasswordExpired),
        Some(0x533) => proven(AccountDisabled),
        Some(0x701) => proven(AccountExpired),
        Some(0x773) => proven(PasswordMustChange),
        Some(0x775) => unproven(AccountLocked),
        // SEC_E_BAD_BINDINGS: about the TLS channel, not the password.
        Some(0x8009_0346) => Verdict::DirectoryError(DirectoryErrorKind::Misconfigured),
        Some(_) | None => unproven(InvalidCredentials),
    }
}

/// True if a bind was refused because the password is wrong or has expired, so that another password may be right; false for
/// what is wrong with the account, or with the server.
pub fn is_password_refused(dialect: Option<Dialect>, result_code: u32, diagnostic: &str) -> bool {
    result_code == 49
        && match diagnostic::active_directory_code(diagnostic) {
            Some(code) => matches!(code, 0x52e | 0x532),
            None if dialect.is_some_and(|dialect| dialect.row().refusals == Refusals::Coded) => false,
            None => matches!(
                diagnostic::edirectory(diagnostic),
                None | Some(InternalReason::InvalidCredentials | InternalReason::PasswordExpired)
            ),
        }
}

fn proven(internal: InternalReason) -> Verdict {
    Verdict::Denied {
        public: internal.public(),
        internal,
        password_proven: true,
    }
}

fn unproven(internal: InternalReason) -> Verdict {
    Verdict::Denied {
        public: PublicReason::InvalidCredentials,
        internal,
        password_proven: false,
    }
}

#[cfg(test)]
mod tests;
