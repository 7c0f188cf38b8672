//! The answer to a simple bind, as facts. What they mean is for rollcall-core to say.

use std::time::Duration;

use chrono::TimeDelta;
use ldap3::LdapResult;
use ldap3::controls::RawControl;
use rollcall_core::dialect::{AccountState, Dialect};
use rollcall_core::verdict::{self, NetscapeControls, PolicyError, PolicyResponse, Verdict};

use crate::ber;
use crate::result_code::ResultCode;

/// Password policy (draft-behera-ldap-password-policy section 6).
const PASSWORD_POLICY: &str = "1.3.6.1.4.1.42.2.27.8.5.1";
/// Netscape's "password expired", sent by 389-ds and its relatives.
const PASSWORD_EXPIRED: &str = "2.16.840.1.113730.3.4.4";
/// Netscape's "password expiring"; its value is the number of seconds left as text.
const PASSWORD_EXPIRING: &str = "2.16.840.1.113730.3.4.5";
/// Longest diagnostic message kept, in characters.
const MAX_DIAGNOSTIC_CHARS: usize = 512;

/// What the server answered to a simple bind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BindAnswer {
    /// The result code.
    pub code: ResultCode,
    /// The server's text, at most 512 characters, for the audit log. Untrusted.
    pub diagnostic: String,
    /// The password policy response control, if there was one that can be read.
    pub policy: Option<PolicyResponse>,
    /// Netscape's controls.
    pub netscape: NetscapeControls,
}

impl BindAnswer {
    /// What the answer means, together with what the entry says about the account.
    /// `expires_in` is the time until the password expires, where the entry tells.
    pub fn verdict(&self, dialect: Dialect, account: AccountState, expires_in: Option<TimeDelta>) -> Verdict {
        verdict::judge(&verdict::BindAnswer {
            dialect,
            result_code: self.code.0,
            diagnostic: &self.diagnostic,
            policy: self.policy,
            netscape: self.netscape,
            account,
            expires_in,
        })
    }
}

/// The request control, which asks for the answer's.
pub(crate) fn password_policy_request() -> RawControl {
    RawControl {
        ctype: PASSWORD_POLICY.into(),
        crit: false,
        val: None,
    }
}

/// Picks the facts out of ldap3's result.
pub(crate) fn answer(result: LdapResult) -> BindAnswer {
    let mut answer = BindAnswer {
        code: ResultCode(result.rc),
        diagnostic: diagnostic(&result.text),
        policy: None,
        netscape: NetscapeControls::default(),
    };
    for ldap3::controls::Control(_, control) in result.ctrls {
        let value = control.val.unwrap_or_default();
        match control.ctype.as_str() {
            PASSWORD_POLICY => answer.policy = password_policy(&value),
            PASSWORD_EXPIRED => answer.netscape.expired = true,
            PASSWORD_EXPIRING => answer.netscape.expires_in = seconds(&value),
            _ => {}
        }
    }
    answer
}

/// What is kept of the server's text.
pub(crate) fn diagnostic(text: &str) -> String {
    text.trim_end_matches('\0')
        .chars()
        .take(MAX_DIAGNOSTIC_CHARS)
        .collect()
}

#[cfg(any(fuzzing, test))]
pub(crate) fn read_control_values(value: &[u8]) {
    let _ = (password_policy(value), seconds(value));
}

/// `SEQUENCE { warning [0] CHOICE { [0] seconds, [1] grace } OPTIONAL, error [1] ENUMERATED OPTIONAL }`.
/// `None` if it is anything else.
fn password_policy(value: &[u8]) -> Option<PolicyResponse> {
    let mut policy = PolicyResponse::default();
    if value.is_empty() {
        return Some(policy);
    }
    let outer = ber::element(value, 0, value.len())
        .ok()
        .filter(|outer| outer.tag == 0x30)?;
    let mut at = outer.start;
    while at < outer.end {
        let part = ber::element(value, at, outer.end).ok()?;
        match part.tag {
            0xa0 => {
                let warning = ber::element(value, part.start, part.end).ok()?;
                let number = ber::unsigned(warning.content(value)).ok()?;
                match warning.tag {
                    0x80 => policy.expires_in = Some(Duration::from_secs(u64::from(number))),
                    0x81 => policy.grace_logins_left = Some(number),
                    _ => {}
                }
            }
            0x81 => {
                policy.error = PolicyError::from_code(ber::unsigned(part.content(value)).ok()?);
            }
            _ => {}
        }
        at = part.end;
    }
    Some(policy)
}

fn seconds(value: &[u8]) -> Option<Duration> {
    std::str::from_utf8(value)
        .ok()?
        .trim()
        .parse()
        .ok()
        .map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_policy_control_is_read_in_all_its_forms() {
        let read = |bytes: &[u8]| password_policy(bytes);
        assert_eq!(read(&[0x30, 0]), Some(PolicyResponse::default()));
        let locked = PolicyResponse {
            error: Some(PolicyError::AccountLocked),
            ..Default::default()
        };
        assert_eq!(read(&[0x30, 3, 0x81, 1, 1]), Some(locked));
        let expiring = PolicyResponse {
            expires_in: Some(Duration::from_secs(300)),
            ..Default::default()
        };
        assert_eq!(read(&[0x30, 6, 0xa0, 4, 0x80, 2, 1, 0x2c]), Some(expiring));
        let grace = PolicyResponse {
            grace_logins_left: Some(2),
            ..Default::default()
        };
        assert_eq!(read(&[0x30, 5, 0xa0, 3, 0x81, 1, 2]), Some(grace));
    }

    #[test]
    fn a_malformed_password_policy_control_is_none_at_all() {
        for bytes in [
            &[0x30, 3, 0x81, 1][..],
            &[4, 0],
            &[0x30, 2, 0x81, 0],
            &[0x30, 2, 0xa0, 0],
            &[0x30, 0x80],
        ] {
            assert_eq!(password_policy(bytes), None);
        }
    }
}
