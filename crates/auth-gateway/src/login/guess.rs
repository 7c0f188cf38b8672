//! Guesses: whom each is counted for, and what is reserved before it may go on.

use std::net::IpAddr;
use std::time::Duration;

use rollcall_core::audit::LoginOutcome;
use rollcall_core::error::{Error, Reason};
use rollcall_core::id::{TenantId, UserSyncKey};
use rollcall_core::soft_lock::{SoftLockMode, SoftLockRules};
use rollcall_core::throttle::ThrottleSubject;
use rollcall_store::{HeldSlot, Reservation, Reserved};
use tokio::time::Instant;

use super::attempt::Attempt;
use super::keyed_hash::Fingerprint;
use super::outcome::{Denial, Outcome};
use super::record::Who;
use super::run::Runner;
use super::turn::Turn;

/// How long to wait before looking again whether a slot is free.
const SLOT_PAUSE: Duration = Duration::from_millis(10);

/// Whom an attempt is counted for, and whose user it is or seems to be.
pub(super) struct Subject<'a> {
    pub(super) lock: SoftLockRules,
    pub(super) home: Option<&'a UserSyncKey>,
    pub(super) counted: ThrottleSubject,
}

/// A login that counts: whoever it is for, and what was reserved for it.
pub(super) struct Guess {
    pub(super) who: Who,
    pub(super) home: Option<UserSyncKey>,
    /// When it had its slots. What happens from there on must not take longer for some than for others.
    pub(super) begin: Instant,
    pub(super) fingerprint: Fingerprint,
    pub(super) slots: Vec<HeldSlot>,
    /// Held until the login has ended.
    _turn: Turn,
}

impl Runner {
    /// Lets a guess go on, with its slots reserved; or answers it here: a repeated wrong password, or too many.
    pub(super) async fn guess(
        &self,
        attempt: &Attempt,
        who: Who,
        subject: Subject<'_>,
    ) -> Result<Result<Guess, Outcome>, Error> {
        let start = Instant::now();
        let Subject { lock, home, counted } = subject;
        let key = subject_key(&who.tenant, &counted);
        let deadline = self.directory_deadline(attempt.deadline);
        let Some(mut turn) = self.turns.take(&key, lock.policy.limit, deadline).await else {
            let error = too_slow();
            self.record_unasked(&who, &counted, LoginOutcome::Error, error.reason.as_str())
                .await?;
            return Err(error);
        };
        let fingerprint = self.private.password(&key, &attempt.password);
        if self.replays.contains(&fingerprint, Instant::now()) {
            self.disguise.wait(home, start, self.random()).await;
            self.record_unasked(&who, &counted, LoginOutcome::Denied, "REPEATED_PASSWORD")
                .await?;
            return Ok(Err(Outcome::Denied(Denial::INVALID_CREDENTIALS)));
        }
        let mut wanted = vec![Reservation {
            subject: counted,
            policy: lock.policy,
        }];
        wanted.extend(attempt.client.map(|client| Reservation {
            subject: client_subject(client),
            policy: self.throttle.client_policy(),
        }));
        let slots = loop {
            let (time, subject) = match self.reserve(&who.tenant, &wanted, &mut turn, deadline).await? {
                Reserved::Taken(slots) => break slots,
                Reserved::Wait { time, subject } => (time, subject),
            };
            let mode = match &subject {
                ThrottleSubject::Client(_) => self.throttle.defaults().mode,
                ThrottleSubject::User(_) | ThrottleSubject::UnknownLogin(_) => lock.mode,
            };
            if mode == SoftLockMode::Enforce {
                self.record_unasked(&who, &subject, LoginOutcome::Denied, "TOO_MANY_ATTEMPTS")
                    .await?;
                let retry_after = time.to_std().unwrap_or_default();
                return Ok(Err(Outcome::Denied(Denial::TooManyAttempts { retry_after })));
            }
            tracing::warn!(
                tenant = %who.tenant,
                user = who.user.map(tracing::field::display),
                unknown_login = who.unknown_login,
                of_client = matches!(subject, ThrottleSubject::Client(_)),
                "the soft lock would refuse this login",
            );
            wanted.retain(|reservation| reservation.subject != subject);
        };
        Ok(Ok(Guess {
            who,
            home: home.cloned(),
            begin: Instant::now(),
            fingerprint,
            slots,
            _turn: turn,
        }))
    }

    /// Takes the slots. While others of this subject hold slots here, one may come free.
    async fn reserve(
        &self,
        tenant: &TenantId,
        wanted: &[Reservation],
        turn: &mut Turn,
        deadline: Instant,
    ) -> Result<Reserved, Error> {
        loop {
            let asking = turn.ask().await;
            let reserved = self.store.reserve(tenant, wanted, self.now()).await?;
            match reserved {
                Reserved::Taken(_) => turn.hold(&asking),
                Reserved::Wait { .. } if asking.may_come_free() && Instant::now() < deadline => {
                    drop(asking);
                    tokio::time::sleep(SLOT_PAUSE).await;
                    continue;
                }
                Reserved::Wait { .. } => {}
            }
            return Ok(reserved);
        }
    }
}

fn too_slow() -> Error {
    let message = "the call's deadline passed before the password was sent anywhere";
    Error::new(Reason::DeadlineExceeded, message)
}

/// The subject of an end user's address: an IPv6 customer has at least a /64, so that is one address here.
pub fn client_subject(address: IpAddr) -> ThrottleSubject {
    let text = match address.to_canonical() {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    };
    ThrottleSubject::Client(text)
}

/// The subject as text, for keyed hashes in memory.
pub fn subject_key(tenant: &TenantId, subject: &ThrottleSubject) -> String {
    match subject {
        ThrottleSubject::User(user) => format!("{tenant}/user/{user}"),
        ThrottleSubject::UnknownLogin(hash) => format!("{tenant}/unknown/{hash}"),
        ThrottleSubject::Client(address) => format!("{tenant}/client/{address}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn neighbours_in_an_ipv6_network_are_one_client() {
        let subject = |text: &str| client_subject(text.parse().unwrap());
        assert_eq!(subject("2001:db8:1:2::1"), subject("2001:db8:1:2:ffff::9"));
        assert_ne!(subject("2001:db8:1:2::1"), subject("2001:db8:1:3::1"));
        assert_eq!(subject("::ffff:192.0.2.7"), subject("192.0.2.7"));
        assert_ne!(subject("192.0.2.7"), subject("192.0.2.8"));
    }
}
