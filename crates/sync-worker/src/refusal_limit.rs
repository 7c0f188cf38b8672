//! How often a tenant may have a directory refuse its bind account: checks and rotations try any password, and each wrong one
//! counts towards the account's lockout, which would stop all logins.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rollcall_core::directory::{DirectorySettings, RefusalsAllowed};
use rollcall_core::error::{Error, Reason};
use rollcall_core::id::TenantId;

/// Accounts of one tenant that are remembered: a tenant may make up as many names as it has checks. Then the one that was
/// refused longest ago is forgotten.
const MAX_ACCOUNTS: usize = 100;
/// Tenants that are remembered before those without a recent refusal are forgotten.
const MAX_TENANTS: usize = 10_000;
/// Refusals of one account that are remembered. No limit is as high.
const MAX_REFUSALS: usize = 100;
/// Nobody's window is longer.
const LONGEST: Duration = Duration::from_secs(7 * 86_400);

/// When each account was refused, by its name as its server compares it, or nearly.
type Accounts = HashMap<String, VecDeque<Instant>>;

/// Counts by account how often its password was refused.
#[derive(Default)]
pub(crate) struct RefusalLimit {
    refused: Mutex<HashMap<TenantId, Accounts>>,
}

impl RefusalLimit {
    /// Whether another password of the account may be tried at `now`.
    ///
    /// # Errors
    /// `CHECKS_RATE_LIMITED`, with the time after which it may.
    pub(crate) fn admit(
        &self,
        tenant: &TenantId,
        settings: &DirectorySettings,
        allowed: RefusalsAllowed,
        now: Instant,
    ) -> Result<(), Error> {
        let refused = self.refused.lock();
        let accounts = refused.get(tenant);
        let Some(times) = accounts.and_then(|accounts| accounts.get(&account(settings))) else {
            return Ok(());
        };
        let is_recent = |time: &Instant| now.saturating_duration_since(*time) < allowed.window;
        let recent = times.iter().filter(|time| is_recent(time)).count();
        let count = usize::try_from(allowed.count).unwrap_or(usize::MAX);
        let Some(beyond) = recent.checked_sub(count) else {
            return Ok(());
        };
        let message = "the directory has refused the bind account so often that one more wrong password might lock it; wait, \
                       and correct the password meanwhile";
        let error = Error::new(Reason::ChecksRateLimited, message).with("tenant", tenant.as_str());
        let last = times.iter().filter(|time| is_recent(time)).nth(beyond);
        let since = last.map_or(Duration::ZERO, |time| now.saturating_duration_since(*time));
        Err(error.retry_after(allowed.window - since))
    }

    /// The directory refused (or accepted) the password of the account at `now`.
    pub(crate) fn note(&self, tenant: &TenantId, settings: &DirectorySettings, accepted: bool, now: Instant) {
        let mut refused = self.refused.lock();
        let account = account(settings);
        if accepted {
            if let Some(accounts) = refused.get_mut(tenant) {
                accounts.remove(&account);
            }
            return;
        }
        let is_recent = |times: &VecDeque<Instant>| {
            times
                .back()
                .is_some_and(|time| now.saturating_duration_since(*time) < LONGEST)
        };
        if refused.len() >= MAX_TENANTS && !refused.contains_key(tenant) {
            refused.retain(|_, accounts| accounts.values().any(is_recent));
        }
        let accounts = refused.entry(tenant.clone()).or_default();
        if accounts.len() >= MAX_ACCOUNTS && !accounts.contains_key(&account) {
            let oldest = accounts.iter().min_by_key(|(_, times)| times.back());
            let oldest = oldest.map(|(name, _)| name.clone());
            oldest.and_then(|name| accounts.remove(&name));
        }
        let times = accounts.entry(account).or_default();
        times.push_back(now);
        if times.len() > MAX_REFUSALS {
            times.pop_front();
        }
    }
}

fn account(settings: &DirectorySettings) -> String {
    settings.bind_dn.to_lowercase()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const ALLOWED: RefusalsAllowed = RefusalsAllowed {
        count: 2,
        window: Duration::from_secs(60),
    };

    fn account_of(name: &str) -> DirectorySettings {
        DirectorySettings {
            bind_dn: name.to_owned(),
            ..DirectorySettings::with_defaults(Vec::new())
        }
    }

    #[test]
    fn an_account_that_was_refused_often_waits_and_others_do_not() {
        let (limit, acme) = (RefusalLimit::default(), TenantId::parse("acme").unwrap());
        let (service, start) = (account_of("cn=Service"), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        for second in [0, 10] {
            limit.admit(&acme, &service, ALLOWED, at(second)).unwrap();
            limit.note(&acme, &service, false, at(second));
        }
        let refused = limit
            .admit(&acme, &account_of("CN=service"), ALLOWED, at(20))
            .unwrap_err();
        assert_eq!(refused.reason, Reason::ChecksRateLimited);
        assert_eq!(refused.retry_after, Some(Duration::from_secs(40)));
        limit
            .admit(&acme, &account_of("cn=other"), ALLOWED, at(20))
            .unwrap();
        let globex = TenantId::parse("globex").unwrap();
        limit.admit(&globex, &service, ALLOWED, at(20)).unwrap();
        limit.admit(&acme, &service, ALLOWED, at(60)).unwrap();
    }

    #[test]
    fn an_account_that_is_let_in_begins_anew() {
        let (limit, acme) = (RefusalLimit::default(), TenantId::parse("acme").unwrap());
        let (service, now) = (account_of("cn=service"), Instant::now());
        for accepted in [false, false, true, false] {
            limit.note(&acme, &service, accepted, now);
        }
        limit.admit(&acme, &service, ALLOWED, now).unwrap();
    }

    #[test]
    fn a_tenant_that_makes_up_names_takes_the_memory_of_a_few() {
        let (limit, acme) = (RefusalLimit::default(), TenantId::parse("acme").unwrap());
        let start = Instant::now();
        for number in 0..1_000 {
            let settings = account_of(&format!("cn={number}"));
            limit.note(&acme, &settings, false, start + Duration::from_secs(number));
        }
        let refused = limit.refused.lock();
        let mut kept: Vec<&str> = refused[&acme].keys().map(String::as_str).collect();
        kept.sort_unstable();
        assert_eq!(kept.len(), MAX_ACCOUNTS);
        assert_eq!((kept[0], kept[MAX_ACCOUNTS - 1]), ("cn=900", "cn=999"));
    }
}
