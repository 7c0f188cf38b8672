//! After how many wrong passwords the directory itself locks an account, as far as it can be read.

use std::time::Duration;

use rollcall_core::dialect::Dialect;
use rollcall_core::entry::Entry;
use rollcall_core::user_sync::SearchScope;
use tokio::time::Instant;

use crate::connection::{Connection, Query};
use crate::lookup::find;
use crate::root_dse::RootDse;

/// Most policies that are looked at; the strictest counts.
const MAX_POLICIES: u32 = 100;

/// A directory's own lockout.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lockout {
    /// Wrong passwords after which an account is locked; 0 if accounts are never locked.
    pub threshold: u32,
    /// Time after which wrong passwords are forgotten; `None` if they are not, or it cannot be read.
    pub window: Option<Duration>,
}

/// The strictest policy that the service account may read; `None` if it may read none.
pub(super) async fn read(connection: &mut Connection, root: &RootDse, deadline: Instant) -> Option<Lockout> {
    let mut policies = Vec::new();
    for source in sources(root) {
        // A refused search is a policy that may not be read.
        if let Ok(found) = find(connection, &source.query, deadline).await {
            policies.extend(found.entries.iter().filter_map(source.read));
        }
        if !connection.is_usable() {
            break;
        }
    }
    strictest(policies)
}

/// Where a policy may stand and how it is read.
struct Source {
    query: Query,
    read: fn(&Entry) -> Option<Lockout>,
}

fn sources(root: &RootDse) -> Vec<Source> {
    let source = |base: String, scope, filter: &str, attributes: &[&str], read| Source {
        query: Query {
            base,
            scope,
            filter: filter.to_owned(),
            attributes: attributes.iter().map(|name| (*name).to_owned()).collect(),
            size_limit: MAX_POLICIES,
        },
        read,
    };
    let any = "(objectClass=*)";
    let mut sources = Vec::new();
    for naming_context in root.data_naming_contexts() {
        match root.dialect {
            Dialect::ActiveDirectory => {
                let head = ["lockoutThreshold", "lockOutObservationWindow"];
                sources.push(source(
                    naming_context.clone(),
                    SearchScope::Base,
                    any,
                    &head,
                    read_domain,
                ));
                let fine = ["msDS-LockoutThreshold", "msDS-LockoutObservationWindow"];
                let container = format!("CN=Password Settings Container,CN=System,{naming_context}");
                let filter = "(objectClass=msDS-PasswordSettings)";
                sources.push(source(
                    container,
                    SearchScope::OneLevel,
                    filter,
                    &fine,
                    read_fine_grained,
                ));
            }
            Dialect::OpenLdap | Dialect::Generic => {
                let policy = ["pwdLockout", "pwdMaxFailure", "pwdFailureCountInterval"];
                sources.push(source(
                    naming_context,
                    SearchScope::Subtree,
                    "(pwdMaxFailure=*)",
                    &policy,
                    read_ppolicy,
                ));
            }
            Dialect::Dirsrv389 => {
                let kerberos = ["krbPwdMaxFailure", "krbPwdFailureCountInterval"];
                let filter = "(objectClass=krbPwdPolicy)";
                sources.push(source(
                    naming_context.clone(),
                    SearchScope::Subtree,
                    filter,
                    &kerberos,
                    read_kerberos,
                ));
                let local = [
                    "passwordLockout",
                    "passwordMaxFailure",
                    "passwordResetFailureCount",
                ];
                let filter = "(objectClass=passwordPolicy)";
                sources.push(source(
                    naming_context,
                    SearchScope::Subtree,
                    filter,
                    &local,
                    read_389,
                ));
            }
        }
    }
    if root.dialect == Dialect::Dirsrv389 {
        let global = [
            "passwordLockout",
            "passwordMaxFailure",
            "passwordResetFailureCount",
        ];
        sources.push(source(
            "cn=config".into(),
            SearchScope::Base,
            any,
            &global,
            read_389,
        ));
    }
    sources
}

fn number(entry: &Entry, name: &str) -> Option<i64> {
    entry.text(name)?.parse().ok()
}

fn threshold(entry: &Entry, name: &str) -> Option<u32> {
    number(entry, name)?.try_into().ok()
}

fn seconds(entry: &Entry, name: &str) -> Option<Duration> {
    let seconds = number(entry, name)?
        .try_into()
        .ok()
        .filter(|seconds| *seconds > 0)?;
    Some(Duration::from_secs(seconds))
}

/// Active Directory counts backwards in steps of 100 ns.
fn ticks(entry: &Entry, name: &str) -> Option<Duration> {
    let ticks = number(entry, name)?.checked_neg()?.try_into().ok()?;
    Some(Duration::from_micros(u64::checked_div(ticks, 10)?))
}

fn read_domain(entry: &Entry) -> Option<Lockout> {
    let threshold = threshold(entry, "lockoutThreshold")?;
    Some(Lockout {
        threshold,
        window: ticks(entry, "lockOutObservationWindow"),
    })
}

fn read_fine_grained(entry: &Entry) -> Option<Lockout> {
    let threshold = threshold(entry, "msDS-LockoutThreshold")?;
    Some(Lockout {
        threshold,
        window: ticks(entry, "msDS-LockoutObservationWindow"),
    })
}

fn read_ppolicy(entry: &Entry) -> Option<Lockout> {
    let locks = entry
        .text("pwdLockout")
        .is_some_and(|text| text.eq_ignore_ascii_case("TRUE"));
    let threshold = if locks {
        threshold(entry, "pwdMaxFailure")?
    } else {
        0
    };
    Some(Lockout {
        threshold,
        window: seconds(entry, "pwdFailureCountInterval"),
    })
}

fn read_kerberos(entry: &Entry) -> Option<Lockout> {
    let threshold = threshold(entry, "krbPwdMaxFailure")?;
    Some(Lockout {
        threshold,
        window: seconds(entry, "krbPwdFailureCountInterval"),
    })
}

fn read_389(entry: &Entry) -> Option<Lockout> {
    let locks = entry.text("passwordLockout")?;
    let locks = locks.eq_ignore_ascii_case("on") || locks.eq_ignore_ascii_case("true");
    let threshold = if locks {
        threshold(entry, "passwordMaxFailure")?
    } else {
        0
    };
    Some(Lockout {
        threshold,
        window: seconds(entry, "passwordResetFailureCount"),
    })
}

/// The fewest failures, and among equals the longest memory; a policy that never locks is the mildest.
fn strictest(policies: Vec<Lockout>) -> Option<Lockout> {
    policies.into_iter().min_by_key(|policy| {
        let failures = if policy.threshold == 0 {
            u32::MAX
        } else {
            policy.threshold
        };
        (
            failures,
            std::cmp::Reverse(policy.window.unwrap_or(Duration::MAX)),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(attributes: &[(&str, &str)]) -> Entry {
        let mut entry = Entry::default();
        for (name, value) in attributes {
            entry
                .attributes
                .insert(name.to_lowercase(), vec![value.as_bytes().to_vec()]);
        }
        entry
    }

    #[test]
    fn each_server_s_policy_is_read() {
        let domain = entry(&[
            ("lockoutThreshold", "5"),
            ("lockOutObservationWindow", "-18000000000"),
        ]);
        let expected = Lockout {
            threshold: 5,
            window: Some(Duration::from_secs(1800)),
        };
        assert_eq!(read_domain(&domain), Some(expected));
        let never = entry(&[("lockoutThreshold", "0")]);
        assert_eq!(
            read_domain(&never),
            Some(Lockout {
                threshold: 0,
                window: None
            })
        );
        assert_eq!(read_domain(&entry(&[])), None);
        let odd = entry(&[
            ("lockoutThreshold", "5"),
            ("lockOutObservationWindow", "-9223372036854775808"),
        ]);
        assert_eq!(
            read_domain(&odd),
            Some(Lockout {
                threshold: 5,
                window: None
            })
        );
        let ppolicy = entry(&[
            ("pwdLockout", "TRUE"),
            ("pwdMaxFailure", "3"),
            ("pwdFailureCountInterval", "0"),
        ]);
        assert_eq!(
            read_ppolicy(&ppolicy),
            Some(Lockout {
                threshold: 3,
                window: None
            })
        );
        let off = entry(&[("passwordLockout", "off"), ("passwordMaxFailure", "3")]);
        assert_eq!(
            read_389(&off),
            Some(Lockout {
                threshold: 0,
                window: None
            })
        );
        let on = entry(&[
            ("passwordLockout", "on"),
            ("passwordMaxFailure", "3"),
            ("passwordResetFailureCount", "600"),
        ]);
        let expected = Lockout {
            threshold: 3,
            window: Some(Duration::from_secs(600)),
        };
        assert_eq!(read_389(&on), Some(expected));
    }

    #[test]
    fn the_strictest_policy_counts() {
        let policy = |threshold, window: Option<u64>| Lockout {
            threshold,
            window: window.map(Duration::from_secs),
        };
        let policies = vec![
            policy(0, None),
            policy(10, None),
            policy(5, Some(60)),
            policy(5, Some(600)),
        ];
        assert_eq!(strictest(policies), Some(policy(5, Some(600))));
        assert_eq!(strictest(vec![policy(0, None)]), Some(policy(0, None)));
        assert_eq!(strictest(vec![]), None);
    }
}
