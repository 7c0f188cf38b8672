//! The answer to a simple bind, as facts. Whether it proves a password is for rollcall-core to say.

use std::time::Duration;

use ldap3::LdapResult;
use ldap3::controls::RawControl;

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
    /// Active Directory's reason, from `data 52e` in its text.
    pub ad_sub_code: Option<u32>,
    /// The password-policy control.
    pub password_policy: Option<PasswordPolicy>,
    /// The server said by Netscape's control that the password has expired.
    pub netscape_expired: bool,
    /// The server said by Netscape's control how long the password is still good.
    pub netscape_expires_in: Option<Duration>,
}

/// The response control of draft-behera-ldap-password-policy section 6.2.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PasswordPolicy {
    /// Time until the password expires.
    pub expires_in: Option<Duration>,
    /// Logins left with the expired password.
    pub grace_logins: Option<u32>,
    /// What stands in the way.
    pub error: Option<PasswordPolicyError>,
}

/// `error` of the password-policy control.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PasswordPolicyError {
    /// The password has expired.
    PasswordExpired,
    /// The account is locked.
    AccountLocked,
    /// The password must be changed before anything else.
    ChangeAfterReset,
    /// Another code, which concerns changes of passwords.
    Other(u32),
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
        ad_sub_code: ad_sub_code(&result.text),
        diagnostic: result
            .text
            .trim_end_matches('\0')
            .chars()
            .take(MAX_DIAGNOSTIC_CHARS)
            .collect(),
        password_policy: None,
        netscape_expired: false,
        netscape_expires_in: None,
    };
    for ldap3::controls::Control(_, control) in result.ctrls {
        let value = control.val.unwrap_or_default();
        match control.ctype.as_str() {
            PASSWORD_POLICY => answer.password_policy = password_policy(&value),
            PASSWORD_EXPIRED => answer.netscape_expired = true,
            PASSWORD_EXPIRING => answer.netscape_expires_in = seconds(&value),
            _ => {}
        }
    }
    answer
}

#[cfg(any(fuzzing, test))]
pub(crate) fn read_control_values(value: &[u8]) {
    let _ = (
        password_policy(value),
        seconds(value),
        ad_sub_code(&String::from_utf8_lossy(value)),
    );
}

/// The hexadecimal number behind `data ` in Active Directory's text, which is `80090308: LdapErr: DSID-...,
/// comment: AcceptSecurityContext error, data 52e, v4563`.
fn ad_sub_code(text: &str) -> Option<u32> {
    let lower = text.to_ascii_lowercase();
    let mut words = lower
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty());
    words.find(|word| *word == "data")?;
    u32::from_str_radix(words.next()?, 16).ok()
}

/// `SEQUENCE { warning [0] CHOICE { [0] seconds, [1] grace } OPTIONAL, error [1] ENUMERATED OPTIONAL }`.
/// `None` if it is anything else.
fn password_policy(value: &[u8]) -> Option<PasswordPolicy> {
    let mut policy = PasswordPolicy::default();
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
                    0x81 => policy.grace_logins = Some(number),
                    _ => {}
                }
            }
            0x81 => {
                policy.error = Some(match ber::unsigned(part.content(value)).ok()? {
                    0 => PasswordPolicyError::PasswordExpired,
                    1 => PasswordPolicyError::AccountLocked,
                    2 => PasswordPolicyError::ChangeAfterReset,
                    other => PasswordPolicyError::Other(other),
                });
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
    fn active_directory_s_reason_is_read_from_its_text() {
        let text = |data: &str| {
            format!(
                "80090308: LdapErr: DSID-0C09044E, comment: AcceptSecurityContext error, data {data}, v4563\0"
            )
        };
        for (data, code) in [
            ("52e", 0x52e),
            ("533", 0x533),
            ("775", 0x775),
            ("0", 0),
            ("80090346", 0x8009_0346),
        ] {
            assert_eq!(ad_sub_code(&text(data)), Some(code));
        }
        for other in ["", "data", "data xyz", "metadata 52e", "invalid credentials"] {
            assert_eq!(ad_sub_code(other), None, "{other}");
        }
    }

    #[test]
    fn the_password_policy_control_is_read_in_all_its_forms() {
        let read = |bytes: &[u8]| password_policy(bytes);
        assert_eq!(read(&[0x30, 0]), Some(PasswordPolicy::default()));
        let locked = PasswordPolicy {
            error: Some(PasswordPolicyError::AccountLocked),
            ..Default::default()
        };
        assert_eq!(read(&[0x30, 3, 0x81, 1, 1]), Some(locked));
        let expiring = PasswordPolicy {
            expires_in: Some(Duration::from_secs(300)),
            ..Default::default()
        };
        assert_eq!(read(&[0x30, 6, 0xa0, 4, 0x80, 2, 1, 0x2c]), Some(expiring));
        let grace = PasswordPolicy {
            grace_logins: Some(2),
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
