//! OpenLDAP.

use crate::dialect::password_expiry::{CHANGED, POLICY, SHADOW_CHANGED, SHADOW_MAX};
use crate::dialect::row::*;
use crate::dialect::state::{AccountState, AccountStatus, Reading};
use crate::external_id::IdKind;

pub(super) const ROW: Row = Row {
    word: "OPEN_LDAP",
    contract_name: "OPENLDAP",
    name: "OpenLDAP",
    tried_on: "OpenLDAP 2.5.13",
    turn: 2,
    signs: &[Sign::ObjectClass("OpenLDAProotDSE"), Sign::Vendor("openldap")],

    external_ids: &[IdKind::EntryUuid],
    guesses_external_ids: false,
    server_written_ids: &[],
    takes_guid_names: false,
    has_one_domain: false,
    has_compat_copies: false,

    readings: &[
        ("pwdAccountLockedTime", Reading::LockedSince),
        ("pwdStartTime", Reading::StartsAt),
        ("pwdEndTime", Reading::ExpiresAt),
        ("pwdReset", Reading::MustChangeIfTrue),
    ],
    always_present: None,
    hidden_state: HiddenState::UndefinedInFilters,

    login_expiry: None,
    password_expiry: &[POLICY, CHANGED, SHADOW_CHANGED, SHADOW_MAX],
    takes_password_policy: true,
    refusals: Refusals::AgesAfterCompare,
    foretell,

    takes_domain_scope: false,
    has_in_chain: false,
    has_computed_groups: true,
    keeps_a_member: true,

    privilege: PrivilegeSource::Signs {
        has_configuration: true,
    },
    lockout: &[PPOLICY],
    lockout_hint: PPOLICY_HINT,
    lockout_note: "",
};

/// draft-behera-ldap-password-policy-10 5.2.
pub(super) const PPOLICY: LockoutPolicy = LockoutPolicy {
    base: LockoutBase::BelowNamingContexts,
    filter: "(pwdMaxFailure=*)",
    switch: Some(("pwdLockout", true)),
    threshold: "pwdMaxFailure",
    window: "pwdFailureCountInterval",
    window_in_ticks: false,
};

pub(super) const PPOLICY_HINT: &str = "Rollcall stops after 3 wrong passwords. To raise that, let the bind account read the \
                                       entry of the password policy, if there is one.";

fn foretell(account: AccountState) -> Foretold {
    // An account that an administrator locked for good is refused like any locked account, without a message.
    let is_refused = matches!(account.status, AccountStatus::Locked | AccountStatus::Disabled);
    Foretold {
        result_code: if is_refused { 49 } else { 0 },
        change_after_reset: account.must_change_password,
        ..Foretold::default()
    }
}
