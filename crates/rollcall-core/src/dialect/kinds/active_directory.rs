//! Active Directory, AD LDS and Samba.

use crate::dialect::password_expiry::COMPUTED;
use crate::dialect::row::*;
use crate::dialect::state::{AccountState, AccountStatus, Reading};
use crate::external_id::IdKind;

pub(super) const ROW: Row = Row {
    word: "ACTIVE_DIRECTORY",
    contract_name: "ACTIVE_DIRECTORY",
    name: "Active Directory or Samba",
    // Active Directory, and AD LDS (MS-ADTS 3.1.1.3.4.3).
    tried_on: "Samba 4.17 (no Windows server)",
    turn: 1,
    signs: &[
        Sign::Capability("1.2.840.113556.1.4.800"),
        Sign::Capability("1.2.840.113556.1.4.1851"),
    ],

    external_ids: &[IdKind::ObjectGuid],
    guesses_external_ids: false,
    // The schema does not say that the server alone writes it.
    server_written_ids: &[IdKind::ObjectGuid],
    takes_guid_names: true,
    has_one_domain: true,
    has_compat_copies: false,

    readings: &[
        ("userAccountControl", Reading::UserAccountControl),
        (
            "msDS-User-Account-Control-Computed",
            Reading::ComputedAccountControl,
        ),
        ("accountExpires", Reading::ExpiresAtFiletime),
        ("pwdLastSet", Reading::MustChangeIfZero),
    ],
    // MS-ADTS 3.1.1.5.2.2.
    always_present: Some("userAccountControl"),
    // MS-SAMR 3.1.1.8.1. Samba's filters treat what may not be read as absent, so they tell nothing.
    hidden_state: HiddenState::AbsentFromAll,

    login_expiry: Some(COMPUTED),
    password_expiry: &[COMPUTED],
    takes_password_policy: false,
    refusals: Refusals::Coded,
    foretell,

    takes_domain_scope: true,
    has_in_chain: true,
    has_computed_groups: false,
    keeps_a_member: false,

    privilege: PrivilegeSource::AllowedAttributes,
    lockout: &[
        LockoutPolicy {
            base: LockoutBase::NamingContexts,
            filter: "(objectClass=*)",
            switch: None,
            threshold: "lockoutThreshold",
            window: "lockOutObservationWindow",
            window_in_ticks: true,
        },
        LockoutPolicy {
            base: LockoutBase::Container("CN=Password Settings Container,CN=System"),
            filter: "(objectClass=msDS-PasswordSettings)",
            switch: None,
            threshold: "msDS-LockoutThreshold",
            window: "msDS-LockoutObservationWindow",
            window_in_ticks: true,
        },
    ],
    lockout_hint: "Rollcall stops after 3 wrong passwords. To raise that, let the bind account read lockoutThreshold and \
                   lockOutObservationWindow of the domain.",
    lockout_note: "Stricter policies for single accounts count too where the bind account may read them: below \
                   CN=Password Settings Container,CN=System.",
};

/// It compares the password first and tells the state only then, by codes of MS-ERREF 2.2.
fn foretell(account: AccountState) -> Foretold {
    let diagnostic = match account.status {
        AccountStatus::Locked => "80090308: LdapErr: DSID-0, data 775, v0",
        AccountStatus::Disabled => "80090308: LdapErr: DSID-0, data 533, v0",
        AccountStatus::Expired => "80090308: LdapErr: DSID-0, data 701, v0",
        _ if account.must_change_password => "80090308: LdapErr: DSID-0, data 773, v0",
        _ if account.password_expired => "80090308: LdapErr: DSID-0, data 532, v0",
        AccountStatus::Enabled | AccountStatus::NotSet | AccountStatus::Unreadable => {
            return Foretold::default();
        }
    };
    Foretold {
        result_code: 49,
        diagnostic,
        ..Foretold::default()
    }
}
