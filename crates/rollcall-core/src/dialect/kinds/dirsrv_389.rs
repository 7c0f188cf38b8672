//! 389 Directory Server, Red Hat Directory Server and FreeIPA.

use crate::dialect::password_expiry::{SHADOW_CHANGED, SHADOW_MAX, TIMES};
use crate::dialect::row::*;
use crate::dialect::state::{AccountState, AccountStatus, Reading};
use crate::external_id::IdKind;

pub(super) const ROW: Row = Row {
    word: "DIRSRV_389",
    contract_name: "DIRECTORY_389",
    name: "389 Directory Server or FreeIPA",
    tried_on: "389-ds 2.3.1 (no FreeIPA)",
    turn: 3,
    signs: &[
        Sign::Vendor("389"),
        Sign::Vendor("red hat"),
        Sign::Vendor("freeipa"),
        Sign::Attribute("ipaDomainLevel"),
    ],

    // FreeIPA's ipaUniqueID is the only one that survives a migration of its server.
    external_ids: &[IdKind::IpaUniqueId, IdKind::NsUniqueId, IdKind::EntryUuid],
    guesses_external_ids: false,
    // A plug-in writes it.
    server_written_ids: &[IdKind::IpaUniqueId],
    takes_guid_names: false,
    has_one_domain: false,
    has_compat_copies: true,

    readings: &[
        ("nsAccountLock", Reading::DisabledIfTrue),
        ("accountUnlockTime", Reading::LockedUntil),
        ("krbPrincipalExpiration", Reading::ExpiresAt),
        ("passwordExpirationTime", Reading::PasswordExpiresAt),
        ("krbPasswordExpiration", Reading::PasswordExpiresAt),
    ],
    always_present: None,
    hidden_state: HiddenState::UndefinedInFilters,

    login_expiry: None,
    password_expiry: &[TIMES[0], TIMES[1], SHADOW_CHANGED, SHADOW_MAX],
    takes_password_policy: true,
    refusals: Refusals::AgesAfterCompare,
    foretell,

    takes_domain_scope: false,
    has_in_chain: false,
    has_computed_groups: true,
    keeps_a_member: false,

    privilege: PrivilegeSource::EffectiveRights,
    lockout: &[
        LockoutPolicy {
            base: LockoutBase::BelowNamingContexts,
            filter: "(objectClass=krbPwdPolicy)",
            switch: None,
            threshold: "krbPwdMaxFailure",
            window: "krbPwdFailureCountInterval",
            window_in_ticks: false,
        },
        OWN_POLICY,
        LockoutPolicy {
            base: LockoutBase::Entry("cn=config"),
            filter: "(objectClass=*)",
            ..OWN_POLICY
        },
    ],
    lockout_hint: "Rollcall stops after 3 wrong passwords. To raise that, allow the bind account by an ACI on cn=config \
                   to read and search passwordLockout, passwordMaxFailure, passwordResetFailureCount and objectClass \
                   there.",
    lockout_note: "",
};

const OWN_POLICY: LockoutPolicy = LockoutPolicy {
    base: LockoutBase::BelowNamingContexts,
    filter: "(objectClass=passwordPolicy)",
    switch: Some(("passwordLockout", false)),
    threshold: "passwordMaxFailure",
    window: "passwordResetFailureCount",
    window_in_ticks: false,
};

/// It looks at the account before the password.
fn foretell(account: AccountState) -> Foretold {
    let (result_code, netscape_expired) = match account.status {
        AccountStatus::Disabled => (53, false),
        AccountStatus::Locked => (19, false),
        AccountStatus::Enabled
        | AccountStatus::Expired
        | AccountStatus::NotSet
        | AccountStatus::Unreadable => match account.password_expired {
            true => (49, true),
            false => (0, account.must_change_password),
        },
    };
    Foretold {
        result_code,
        netscape_expired,
        ..Foretold::default()
    }
}
