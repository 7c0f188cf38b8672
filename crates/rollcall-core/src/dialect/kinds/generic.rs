//! Any other server: what others are known to do, tried together.

use super::open_ldap::{PPOLICY, PPOLICY_HINT};
use crate::dialect::password_expiry::{CHANGED, POLICY, SHADOW_CHANGED, SHADOW_MAX, TIMES};
use crate::dialect::row::*;
use crate::dialect::state::Reading;
use crate::external_id::IdKind;

pub(super) const ROW: Row = Row {
    word: "GENERIC",
    contract_name: "GENERIC",
    name: "A server of another kind",
    tried_on: "none",
    turn: 4,
    signs: &[],

    external_ids: &[
        IdKind::EntryUuid,
        IdKind::Guid,
        IdKind::NsUniqueId,
        IdKind::IpaUniqueId,
        IdKind::ObjectGuid,
    ],
    guesses_external_ids: true,
    server_written_ids: &[],
    takes_guid_names: false,
    has_one_domain: false,
    has_compat_copies: false,

    readings: &[
        ("nsAccountLock", Reading::DisabledIfTrue),
        ("ds-pwp-account-disabled", Reading::DisabledIfTrue),
        ("loginDisabled", Reading::DisabledIfTrue),
        ("orclIsEnabled", Reading::DisabledIfWord),
        ("lockedByIntruder", Reading::LockedIfTrue),
        ("pwdAccountLockedTime", Reading::LockedSince),
        ("loginExpirationTime", Reading::ExpiresAt),
        ("ds-pwp-account-expiration-time", Reading::ExpiresAt),
        ("pwdStartTime", Reading::StartsAt),
        ("pwdEndTime", Reading::ExpiresAt),
        ("passwordExpirationTime", Reading::PasswordExpiresAt),
        ("pwdReset", Reading::MustChangeIfTrue),
    ],
    always_present: None,
    hidden_state: HiddenState::Untold,

    login_expiry: None,
    password_expiry: &[TIMES[0], TIMES[1], POLICY, CHANGED, SHADOW_CHANGED, SHADOW_MAX],
    takes_password_policy: true,
    refusals: Refusals::Unordered,
    foretell: |_| Foretold::default(),

    takes_domain_scope: false,
    has_in_chain: false,
    has_computed_groups: true,
    keeps_a_member: false,

    privilege: PrivilegeSource::Signs {
        has_configuration: false,
    },
    lockout: &[PPOLICY],
    lockout_hint: PPOLICY_HINT,
    lockout_note: "",
};
