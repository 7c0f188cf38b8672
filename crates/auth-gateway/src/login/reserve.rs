//! An attempt reserves its slots of the soft lock before the password goes anywhere.

use std::net::IpAddr;
use std::time::Duration;

use rollcall_core::audit::{LoginOutcome, OwnReason};
use rollcall_core::error::{Error, Reason};
use rollcall_core::id::TenantId;
use rollcall_core::soft_lock::{SoftLockMode, SoftLockSubject};
use rollcall_metrics::metrics;
use rollcall_store::{OwnCount, Reservation, Reserved};
use tokio::time::Instant;

use super::attempt::Attempt;
use super::context::Context;
use super::outcome::Denial;
use super::person::{Person, Stop};
use super::record::record_unasked;
use super::seen::Verified;
use super::single_flight::Leader;
use super::soft_lock::queue::Permit;
use super::soft_lock::unsettled::Held;

/// How long to wait before looking again whether an attempt of this process has given back its slot.
const SLOT_PAUSE: Duration = Duration::from_millis(10);
/// The same for an attempt of another replica, of which this one knows nothing but the count.
const REPLICA_PAUSE: Duration = Duration::from_millis(50);

/// What an attempt holds before its password may be tried.
pub(super) struct Slots {
    pub(super) held: Held,
    /// When the slots were got. What follows must take equally long for everybody.
    pub(super) begin: Instant,
    /// Held until the login has ended.
    permit: Option<Permit>,
    /// Also held if no attempt was told the outcome: the next attempt with the password takes over the slots that are
    /// left.
    pub(super) leader: Option<Leader<Verified>>,
}

impl Slots {
    /// No slots, since another attempt tries the password.
    pub(super) fn of_another() -> Self {
        Self {
            held: Held::none(),
            begin: Instant::now(),
            permit: None,
            leader: None,
        }
    }

    /// Another attempt tried the password.
    pub(super) fn are_another_s(&self) -> bool {
        self.permit.is_none()
    }
}

/// Reserves the slots, or ends the attempt here: a repeated wrong password, or too many.
pub(super) async fn reserve(c: &Context, attempt: &Attempt, person: &Person) -> Result<Slots, Stop> {
    let start = Instant::now();
    let deadline = c.directory_deadline(attempt.deadline);
    let permit = c.queues.take(&person.key, person.lock.policy.limit, deadline);
    let Some(mut permit) = permit.await else {
        return Err(person.failed(c, too_slow()).await);
    };
    if c.wrong_passwords.contains(&person.fingerprint, start) {
        return Err(repeated(c, person, start).await);
    }
    // It would not count, so it needs no slot.
    let is_repeat = c.refused_passwords.contains(&person.fingerprint, start);
    let patience = if is_repeat { Instant::now() } else { deadline };
    let mut wanted = reservations(c, attempt, person);
    let slots = loop {
        let (time, subject) = match take_slots(c, &person.tenant, &wanted, &mut permit, patience).await? {
            Reserved::Taken(slots) => break slots,
            Reserved::Wait { .. } if is_repeat => return Err(repeated(c, person, start).await),
            Reserved::Wait { time, subject, .. } => (time, subject),
        };
        let of_client = matches!(subject, SoftLockSubject::Client(_));
        let mode = match of_client {
            true => c.soft_lock.defaults().mode,
            false => person.lock.mode,
        };
        metrics().soft_lock_refusals.count(mode == SoftLockMode::Enforce);
        if mode == SoftLockMode::Enforce {
            let (denied, reason) = (LoginOutcome::Denied, OwnReason::TooManyAttempts);
            record_unasked(c, &person.who, &subject, denied, reason).await?;
            let retry_after = time.to_std().unwrap_or_default();
            return Err(Stop::Denied(Denial::TooManyAttempts { retry_after }));
        }
        tracing::warn!(
            tenant = %person.tenant,
            user = person.who.user.map(tracing::field::display),
            unknown_login = person.who.unknown_login,
            of_client,
            "the soft lock would refuse this login",
        );
        wanted.retain(|reservation| matches!(reservation.subject, SoftLockSubject::Client(_)) != of_client);
    };
    Ok(Slots {
        held: c.unsettled.hold(person.fingerprint, slots),
        begin: Instant::now(),
        permit: Some(permit),
        leader: None,
    })
}

/// The answer to a password that was refused a moment ago, after the same time as then.
async fn repeated(c: &Context, person: &Person, start: Instant) -> Stop {
    c.equal_timing.wait(person.home_key(), start, c.random()).await;
    let denied = person.denied(c, OwnReason::RepeatedPassword, Denial::INVALID_CREDENTIALS);
    denied.await
}

fn reservations(c: &Context, attempt: &Attempt, person: &Person) -> Vec<Reservation> {
    let shared = |subject: &SoftLockSubject| c.unsettled.slot(&person.fingerprint, subject);
    let own = person.at_address(c).map(|subject| OwnCount {
        shared: shared(&subject),
        subject,
        ceiling: person.lock.ceiling,
    });
    let of_person = Reservation {
        shared: shared(&person.counted),
        subject: person.counted.clone(),
        policy: person.lock.policy,
        own,
    };
    let of_client = attempt.client.map(|client| {
        let subject = client_subject(client);
        Reservation {
            shared: shared(&subject),
            subject,
            policy: c.soft_lock.client_policy(),
            own: None,
        }
    });
    [of_person].into_iter().chain(of_client).collect()
}

/// Takes the slots. While other attempts hold slots that they may give back, in this process or at another replica, waits for
/// one: whoever logs in at several replicas at once is not taken for somebody who guesses.
async fn take_slots(
    c: &Context,
    tenant: &TenantId,
    wanted: &[Reservation],
    permit: &mut Permit,
    deadline: Instant,
) -> Result<Reserved, Error> {
    loop {
        let reserving = permit.begin_reserving().await;
        let reserved = c.login_store.reserve(tenant, wanted).await?;
        let pause = match reserved {
            Reserved::Taken(_) => {
                permit.hold(&reserving);
                return Ok(reserved);
            }
            Reserved::Wait { .. } if reserving.may_come_free() => SLOT_PAUSE,
            Reserved::Wait {
                may_come_free: true, ..
            } => REPLICA_PAUSE,
            Reserved::Wait { .. } => return Ok(reserved),
        };
        if Instant::now() >= deadline {
            return Ok(reserved);
        }
        drop(reserving);
        tokio::time::sleep(pause).await;
    }
}

fn too_slow() -> Error {
    let message = "the call's deadline passed before the password was sent anywhere";
    Error::new(Reason::DeadlineExceeded, message)
}

/// The subject of an end user's address. An IPv6 customer has at least a /64, so that counts as one address.
fn client_subject(address: IpAddr) -> SoftLockSubject {
    SoftLockSubject::Client(network(address))
}

/// The end user's address as it is counted.
pub(super) fn network(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
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
