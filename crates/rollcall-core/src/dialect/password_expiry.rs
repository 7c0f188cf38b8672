//! When the password of one account expires. Asked at logins on Active Directory, which sends no control that tells, and
//! of the bind account everywhere. Runs do not ask: a server computes it for each entry.

use chrono::{DateTime, TimeDelta, Utc};

use super::time::{filetime, generalized_time};
use crate::entry::Entry;

/// What Active Directory computes from the policy that holds for the account (MS-ADTS 3.1.1.4.5.36).
pub(super) const COMPUTED: &str = "msDS-UserPasswordExpiryTimeComputed";
/// The policy of an account (draft-behera-ldap-password-policy-10 5.3), and how old a password may become by it.
pub(super) const POLICY: &str = "pwdPolicySubentry";
const MAX_AGE: &str = "pwdMaxAge";
pub(super) const CHANGED: &str = "pwdChangedTime";
/// Days since 1970, and days (RFC 2307 section 3).
pub(super) const SHADOW_CHANGED: &str = "shadowLastChange";
pub(super) const SHADOW_MAX: &str = "shadowMax";
/// The number of days that tools write for never (shadow(5)).
const SHADOW_NEVER: i64 = 99_999;
/// Times as 389 Directory Server and FreeIPA write them; the epoch there means that somebody else set the password.
pub(super) const TIMES: [&str; 2] = ["passwordExpirationTime", "krbPasswordExpiration"];

/// The entry of the policy that an account's password ages by, if it names one. It tells in [`POLICY_ATTRIBUTE`].
pub fn password_policy(entry: &Entry) -> Option<&str> {
    entry.texts(POLICY).next()
}

/// What tells in a policy how old passwords may become, in seconds.
pub const POLICY_ATTRIBUTE: &str = MAX_AGE;

/// When an account's password expires, the first time that any attribute tells; `None` if none does, or if it never
/// expires. `policy` is the entry that [`password_policy`] names, as far as it may be read.
pub fn password_expire_time(entry: &Entry, policy: Option<&Entry>) -> Option<DateTime<Utc>> {
    let text =
        |entry: &Entry, attribute: &str| entry.texts(attribute).next().map(|text| text.trim().to_owned());
    let number = |entry: &Entry, attribute: &str| text(entry, attribute)?.parse::<i64>().ok();
    // 0 means that the password must be changed at once, which the bind tells; the largest number is never.
    let computed = number(entry, COMPUTED)
        .filter(|ticks| *ticks != 0 && *ticks != i64::MAX)
        .map(filetime);
    let stated = TIMES
        .iter()
        .filter_map(|attribute| generalized_time(&text(entry, attribute)?))
        .filter(|time| *time != 0);
    let age = policy
        .and_then(|policy| number(policy, MAX_AGE))
        .filter(|age| *age > 0);
    let changed = text(entry, CHANGED).and_then(|time| generalized_time(&time));
    let by_policy = changed
        .zip(age)
        .and_then(|(changed, age)| changed.checked_add(age));
    let shadow_max = number(entry, SHADOW_MAX).filter(|days| (0..SHADOW_NEVER).contains(days));
    let by_shadow = number(entry, SHADOW_CHANGED)
        .filter(|day| *day > 0)
        .zip(shadow_max)
        .and_then(|(day, days)| day.checked_add(days)?.checked_mul(86_400));
    let first = stated.chain(computed).chain(by_policy).chain(by_shadow).min()?;
    DateTime::UNIX_EPOCH.checked_add_signed(TimeDelta::try_seconds(first)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn entry(attributes: &[(&str, &str)]) -> Entry {
        let attributes = attributes.iter();
        Entry {
            attributes: attributes
                .map(|(name, value)| (name.to_lowercase(), vec![value.as_bytes().to_vec()]))
                .collect(),
            ..Entry::default()
        }
    }

    fn time(attributes: &[(&str, &str)]) -> Option<String> {
        let time = password_expire_time(&entry(attributes), None);
        time.map(|time| time.to_rfc3339())
    }

    #[test]
    fn each_kind_of_server_tells_in_its_own_form() {
        let expected = Some("2026-06-01T12:00:00+00:00".to_owned());
        assert_eq!(time(&[(COMPUTED, "134247888000000000")]), expected);
        assert_eq!(time(&[("passwordExpirationTime", "20260601120000Z")]), expected);
        assert_eq!(time(&[("krbPasswordExpiration", "20260601120000Z")]), expected);
        let days = Some("2026-06-01T00:00:00+00:00".to_owned());
        assert_eq!(time(&[("shadowLastChange", "20515"), ("shadowMax", "90")]), days);
        let account = entry(&[("pwdChangedTime", "20260501120000Z")]);
        let policy = entry(&[("pwdMaxAge", "2678400")]);
        let told = password_expire_time(&account, Some(&policy)).unwrap();
        assert_eq!(Some(told.to_rfc3339()), expected);
        assert_eq!(password_expire_time(&account, None), None);
    }

    #[test]
    fn what_never_expires_or_is_no_time_tells_nothing() {
        for attributes in [
            &[][..],
            &[(COMPUTED, "9223372036854775807")],
            &[(COMPUTED, "0")],
            &[(COMPUTED, "soon")],
            &[("passwordExpirationTime", "19700101000000Z")],
            &[("passwordExpirationTime", "20260601")],
            &[("shadowLastChange", "20515")],
            &[("shadowLastChange", "20515"), ("shadowMax", "99999")],
            &[("shadowLastChange", "20515"), ("shadowMax", "-1")],
            &[("shadowLastChange", "9223372036854775807"), ("shadowMax", "90")],
            &[("shadowLastChange", "9223372036854770"), ("shadowMax", "90")],
        ] {
            assert_eq!(time(attributes), None, "{attributes:?}");
        }
        let account = entry(&[("pwdChangedTime", "20260501120000Z")]);
        let never = entry(&[("pwdMaxAge", "0")]);
        assert_eq!(password_expire_time(&account, Some(&never)), None);
    }

    #[test]
    fn the_first_of_several_times_counts() {
        let told = time(&[
            ("passwordExpirationTime", "20260601120000Z"),
            ("shadowLastChange", "20000"),
            ("shadowMax", "90"),
        ]);
        assert_eq!(told.as_deref(), Some("2025-01-02T00:00:00+00:00"));
    }
}
