//! After how many wrong passwords the directory itself locks an account, as far as it can be read.

use std::time::Duration;

use rollcall_core::dialect::{LockoutBase, LockoutPolicy};
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
    for (query, policy) in sources(root) {
        // A refused search is a policy that may not be read.
        if let Ok(found) = find(connection, &query, deadline).await {
            policies.extend(
                found
                    .entries
                    .iter()
                    .filter_map(|entry| read_policy(policy, entry)),
            );
        }
        if !connection.is_usable() {
            break;
        }
    }
    strictest(policies)
}

/// Where a policy may stand, and how it is written there.
fn sources(root: &RootDse) -> Vec<(Query, &'static LockoutPolicy)> {
    let policies = root.dialect.row().lockout.iter();
    let sources = policies.flat_map(|policy| {
        let naming_contexts = || root.data_naming_contexts();
        let (bases, scope) = match policy.base {
            LockoutBase::NamingContexts => (naming_contexts(), SearchScope::Base),
            LockoutBase::BelowNamingContexts => (naming_contexts(), SearchScope::Subtree),
            LockoutBase::Container(container) => {
                let containers = naming_contexts().into_iter();
                let containers = containers.map(|naming_context| format!("{container},{naming_context}"));
                (containers.collect(), SearchScope::OneLevel)
            }
            LockoutBase::Entry(dn) => (vec![dn.to_owned()], SearchScope::Base),
        };
        let names = [
            Some(policy.threshold),
            Some(policy.window),
            policy.switch.map(|(name, _)| name),
        ];
        let attributes: Vec<String> = names.into_iter().flatten().map(str::to_owned).collect();
        bases.into_iter().map(move |base| {
            let query = Query {
                base,
                scope,
                filter: policy.filter.to_owned(),
                attributes: attributes.clone(),
                size_limit: MAX_POLICIES,
            };
            (query, policy)
        })
    });
    sources.collect()
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

fn read_policy(policy: &LockoutPolicy, entry: &Entry) -> Option<Lockout> {
    let is_on = match policy.switch {
        None => true,
        Some((switch, off_where_absent)) => match entry.text(switch) {
            Some(value) => ["TRUE", "on"].iter().any(|on| value.eq_ignore_ascii_case(on)),
            None if off_where_absent => false,
            None => return None,
        },
    };
    Some(Lockout {
        threshold: if is_on {
            threshold(entry, policy.threshold)?
        } else {
            0
        },
        window: match policy.window_in_ticks {
            true => ticks(entry, policy.window),
            false => seconds(entry, policy.window),
        },
    })
}

/// The policy with the fewest failures, and among equals the one with the longest window. A policy that never locks
/// comes last.
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
    use rollcall_core::dialect::Dialect;

    use super::*;

    /// What a server kind's policy says that uses this threshold attribute.
    fn read(dialect: Dialect, threshold: &str, entry: &Entry) -> Option<Lockout> {
        let policies = dialect.row().lockout.iter();
        let policy = policies.filter(|policy| policy.threshold == threshold);
        policy.take(1).find_map(|policy| read_policy(policy, entry))
    }

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
        assert_eq!(
            read(Dialect::ActiveDirectory, "lockoutThreshold", &domain),
            Some(expected)
        );
        let never = entry(&[("lockoutThreshold", "0")]);
        assert_eq!(
            read(Dialect::ActiveDirectory, "lockoutThreshold", &never),
            Some(Lockout {
                threshold: 0,
                window: None
            })
        );
        assert_eq!(
            read(Dialect::ActiveDirectory, "lockoutThreshold", &entry(&[])),
            None
        );
        let odd = entry(&[
            ("lockoutThreshold", "5"),
            ("lockOutObservationWindow", "-9223372036854775808"),
        ]);
        assert_eq!(
            read(Dialect::ActiveDirectory, "lockoutThreshold", &odd),
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
            read(Dialect::OpenLdap, "pwdMaxFailure", &ppolicy),
            Some(Lockout {
                threshold: 3,
                window: None
            })
        );
        let off = entry(&[("passwordLockout", "off"), ("passwordMaxFailure", "3")]);
        assert_eq!(
            read(Dialect::Dirsrv389, "passwordMaxFailure", &off),
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
        assert_eq!(
            read(Dialect::Dirsrv389, "passwordMaxFailure", &on),
            Some(expected)
        );
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
