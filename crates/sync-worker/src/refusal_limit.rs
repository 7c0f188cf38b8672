//! How often a tenant may have a directory refuse its bind account: checks and rotations try any password, and each wrong one
//! counts towards the account's lockout, which would stop all logins.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rollcall_core::directory::{DirectorySettings, RefusalsAllowed};
use rollcall_core::error::{Error, Reason};
use rollcall_core::id::TenantId;

/// Accounts remembered before those that were not refused lately are forgotten.
const MAX_REMEMBERED: usize = 10_000;
/// Nobody's window is longer.
const LONGEST: Duration = Duration::from_secs(7 * 86_400);

/// A tenant, and the name of the bind account as its server compares it, or nearly.
type Account = (TenantId, String);

/// Counts by account how often its password was refused.
#[derive(Default)]
pub(crate) struct RefusalLimit {
    refused: Mutex<HashMap<Account, VecDeque<Instant>>>,
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
        let mut refused = self.refused.lock();
        let Some(times) = refused.get_mut(&account(tenant, settings)) else {
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
        if accepted {
            refused.remove(&account(tenant, settings));
            return;
        }
        if refused.len() >= MAX_REMEMBERED {
            let is_recent = |time: &Instant| now.saturating_duration_since(*time) < LONGEST;
            refused.retain(|_, times| times.back().is_some_and(is_recent));
        }
        let times = refused.entry(account(tenant, settings)).or_default();
        times.push_back(now);
        // More are never asked about.
        if times.len() > 100 {
            times.pop_front();
        }
    }
}

fn account(tenant: &TenantId, settings: &DirectorySettings) -> Account {
    (tenant.clone(), settings.bind_dn.to_lowercase())
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
}
