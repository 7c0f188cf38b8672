//! A bind's answer, handed from the LDAP layer to the verdict table.

use rollcall_core::dialect::{AccountState, Dialect};
use rollcall_core::verdict::{self, NetscapeControls, PolicyError, PolicyResponse, Verdict};
use rollcall_ldap::{BindAnswer, PasswordPolicy, PasswordPolicyError};

/// What the answer means, together with what the entry says about the account.
pub fn judge(dialect: Dialect, answer: &BindAnswer, account: AccountState) -> Verdict {
    verdict::judge(&verdict::BindAnswer {
        dialect,
        result_code: answer.code.0,
        diagnostic: &answer.diagnostic,
        policy: answer.password_policy.map(policy),
        netscape: NetscapeControls {
            expired: answer.netscape_expired,
            expires_in: answer.netscape_expires_in,
        },
        account,
    })
}

fn policy(control: PasswordPolicy) -> PolicyResponse {
    PolicyResponse {
        expires_in: control.expires_in,
        grace_logins_left: control.grace_logins,
        error: control.error.and_then(|error| match error {
            PasswordPolicyError::PasswordExpired => Some(PolicyError::PasswordExpired),
            PasswordPolicyError::AccountLocked => Some(PolicyError::AccountLocked),
            PasswordPolicyError::ChangeAfterReset => Some(PolicyError::ChangeAfterReset),
            PasswordPolicyError::Other(code) => PolicyError::from_code(code),
        }),
    }
}
