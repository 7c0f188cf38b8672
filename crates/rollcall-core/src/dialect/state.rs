//! How one attribute value tells something about an account.

use super::time::{filetime, generalized_time};

/// MS-ADTS 2.2.16.
const ACCOUNT_DISABLE: u32 = 0x2;
const LOCKOUT: u32 = 0x10;
const DONT_EXPIRE_PASSWORD: u32 = 0x1_0000;
const PASSWORD_EXPIRED: u32 = 0x80_0000;

/// `pwdAccountLockedTime` of an account that an administrator locked for good
/// (draft-behera-ldap-password-policy-10 5.3.3).
const LOCKED_FOR_GOOD: &str = "000001010000Z";

/// What the entry says about the account.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum AccountStatus {
    /// Switched on, and within its dates.
    Enabled,
    /// Switched off by an administrator.
    Disabled,
    /// Locked after wrong passwords. The attributes outlive the lock, so only a bind can tell for sure.
    Locked,
    /// Not yet or no longer valid.
    Expired,
    /// Nothing says that the account is not enabled.
    #[default]
    NotSet,
    /// An attribute that decides it is hidden, has several values, or is not of its form: nothing is known.
    Unreadable,
}

/// What an entry says about its account and password.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct AccountState {
    /// The account.
    pub status: AccountStatus,
    /// The password is past its time.
    pub password_expired: bool,
    /// The user must change the password first.
    pub must_change_password: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Reading {
    UserAccountControl,
    ComputedAccountControl,
    ExpiresAtFiletime,
    MustChangeIfZero,
    DisabledIfTrue,
    DisabledIfWord,
    LockedIfTrue,
    LockedSince,
    LockedUntil,
    StartsAt,
    ExpiresAt,
    PasswordExpiresAt,
    MustChangeIfTrue,
}

#[derive(Default)]
pub(super) struct Facts {
    disabled: Option<bool>,
    expired: bool,
    locked: bool,
    /// Something that decides whether the account is enabled could not be read.
    unreadable: bool,
    password_expired: bool,
    must_change: bool,
    password_never_expires: bool,
}

impl Facts {
    pub(super) fn into_state(self) -> AccountState {
        let status = match self {
            Self {
                disabled: Some(true), ..
            } => AccountStatus::Disabled,
            Self { expired: true, .. } => AccountStatus::Expired,
            Self { unreadable: true, .. } => AccountStatus::Unreadable,
            Self { locked: true, .. } => AccountStatus::Locked,
            Self {
                disabled: Some(false),
                ..
            } => AccountStatus::Enabled,
            Self { disabled: None, .. } => AccountStatus::NotSet,
        };
        AccountState {
            status,
            password_expired: self.password_expired,
            must_change_password: self.must_change && !self.password_never_expires,
        }
    }

    pub(super) fn is_unreadable(&self) -> bool {
        self.unreadable
    }

    fn set_disabled(&mut self, disabled: bool) {
        self.disabled = Some(disabled || self.disabled == Some(true));
    }
}

impl Reading {
    /// Notes that the attribute has no value that can be read.
    pub(super) fn unreadable(self, facts: &mut Facts) {
        facts.unreadable |= self.decides_status();
    }

    /// True if the attribute tells whether the account is enabled, and not only how its password or its lock is.
    pub(super) fn decides_status(self) -> bool {
        match self {
            Self::UserAccountControl
            | Self::ExpiresAtFiletime
            | Self::DisabledIfTrue
            | Self::DisabledIfWord
            | Self::LockedSince
            | Self::StartsAt
            | Self::ExpiresAt => true,
            Self::ComputedAccountControl
            | Self::MustChangeIfZero
            | Self::LockedIfTrue
            | Self::LockedUntil
            | Self::PasswordExpiresAt
            | Self::MustChangeIfTrue => false,
        }
    }

    /// Reads the one value of the attribute. `now` in seconds since 1970.
    pub(super) fn read(self, value: &str, now: i64, facts: &mut Facts) {
        let is_past = |time: Option<i64>| time.is_some_and(|time| time <= now);
        let is_true = value.eq_ignore_ascii_case("true");
        match self {
            Self::UserAccountControl => match bits(value) {
                Some(bits) => {
                    facts.set_disabled(bits & ACCOUNT_DISABLE != 0);
                    facts.password_never_expires = bits & DONT_EXPIRE_PASSWORD != 0;
                }
                None => self.unreadable(facts),
            },
            Self::ComputedAccountControl => {
                if let Some(bits) = bits(value) {
                    facts.locked |= bits & LOCKOUT != 0;
                    facts.password_expired |= bits & PASSWORD_EXPIRED != 0;
                }
            }
            Self::ExpiresAtFiletime => {
                match value.parse::<i64>() {
                    // 0 means never (MS-ADTS 2.3.1, accountExpires); so does the largest value, which never comes.
                    Ok(0) => {}
                    Ok(ticks) => facts.expired |= is_past(Some(filetime(ticks))),
                    Err(_) => self.unreadable(facts),
                }
            }
            Self::MustChangeIfZero => facts.must_change |= value == "0",
            Self::DisabledIfTrue => {
                if is_true || value.eq_ignore_ascii_case("false") {
                    facts.set_disabled(is_true);
                } else {
                    self.unreadable(facts);
                }
            }
            Self::DisabledIfWord => {
                let disabled =
                    value.eq_ignore_ascii_case("disabled") || value.eq_ignore_ascii_case("inactive");
                if disabled || value.eq_ignore_ascii_case("enabled") {
                    facts.set_disabled(disabled);
                } else {
                    self.unreadable(facts);
                }
            }
            Self::LockedIfTrue => facts.locked |= is_true,
            Self::LockedSince if value == LOCKED_FOR_GOOD => facts.set_disabled(true),
            Self::LockedSince => match generalized_time(value) {
                Some(_) => facts.locked = true,
                None => self.unreadable(facts),
            },
            // The epoch means until an administrator unlocks.
            Self::LockedUntil => {
                facts.locked |= generalized_time(value).is_some_and(|time| time == 0 || time > now);
            }
            Self::StartsAt => match generalized_time(value) {
                Some(time) => facts.expired |= time > now,
                None => self.unreadable(facts),
            },
            Self::ExpiresAt => match generalized_time(value) {
                Some(time) => facts.expired |= time <= now,
                None => self.unreadable(facts),
            },
            Self::PasswordExpiresAt => match generalized_time(value) {
                // The epoch marks a password that an administrator set.
                Some(0) => facts.must_change = true,
                time => facts.password_expired |= is_past(time),
            },
            Self::MustChangeIfTrue => facts.must_change |= is_true,
        }
    }
}

/// AD writes 32 bits as a signed number.
fn bits(value: &str) -> Option<u32> {
    value
        .parse::<i32>()
        .map(i32::cast_unsigned)
        .or_else(|_| value.parse())
        .ok()
}
