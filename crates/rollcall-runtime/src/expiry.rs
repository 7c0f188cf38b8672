//! When the things end that this process uses: its certificates, the authorities of others, callers' tokens.

use chrono::{DateTime, TimeDelta, Utc};
use parking_lot::Mutex;
use rollcall_metrics::{Expiring, Metrics, metrics};
use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use crate::clock::Clock;

/// The kinds whose ends are reported.
const KINDS: [Expiring; 4] = [
    Expiring::ServerCertificate,
    Expiring::ClientAuthority,
    Expiring::OutgoingCertificate,
    Expiring::CallerToken,
];

/// When the first of each of [`KINDS`] ends.
static ENDS: Mutex<[Option<DateTime<Utc>>; KINDS.len()]> = Mutex::new([None; KINDS.len()]);

/// Notes when the first of a kind ends; `None` if none does.
pub(crate) fn note(kind: Expiring, ends: impl IntoIterator<Item = DateTime<Utc>>) {
    if let Some(index) = KINDS.iter().position(|known| *known == kind) {
        ENDS.lock()[index] = ends.into_iter().min();
    }
}

/// When a certificate ends, if it can be read.
pub(crate) fn certificate_end(certificate: &CertificateDer<'_>) -> Option<DateTime<Utc>> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    DateTime::from_timestamp(certificate.validity().not_after.timestamp(), 0)
}

/// How many days are left; infinitely many if there is no end.
pub fn days_until(end: Option<DateTime<Utc>>, now: DateTime<Utc>) -> f64 {
    end.map_or(f64::INFINITY, |end| {
        (end - now).as_seconds_f64() / TimeDelta::days(1).as_seconds_f64()
    })
}

/// A certificate that ends within this time is reported when the configuration is read, as by the alert.
const SOON: TimeDelta = TimeDelta::days(14);

/// The warning about a file whose first certificate ends at this time, if there is one.
pub(crate) fn ending(end: DateTime<Utc>, now: DateTime<Utc>) -> Option<String> {
    let day = end.format("%Y-%m-%d");
    if end <= now {
        return Some(format!(
            "a certificate has ended on {day}: whoever checks it refuses it"
        ));
    }
    (end - now < SOON).then(|| format!("a certificate ends on {day}, in {} days", (end - now).num_days()))
}

pub(crate) fn tell(metrics: &Metrics) {
    let (ends, now) = (*ENDS.lock(), Clock::System.now());
    for (kind, end) in KINDS.into_iter().zip(ends) {
        metrics.expires_in_days.set(kind, days_until(end, now));
    }
}

/// Notes for each kind that no end is known yet.
pub(crate) fn begin() {
    tell(metrics());
    metrics()
        .expires_in_days
        .set(Expiring::DirectoryCertificate, f64::INFINITY);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_ends_is_said_fourteen_days_before() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let said = |days| ending(now + TimeDelta::days(days), now);
        assert_eq!(said(14), None);
        assert_eq!(said(13).unwrap(), "a certificate ends on 2027-01-28, in 13 days");
        assert!(said(0).unwrap().contains("has ended on 2027-01-15"));
        assert!(said(-3).unwrap().contains("has ended on 2027-01-12"));
    }

    #[test]
    fn what_has_ended_has_days_below_zero() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let days = |days| days_until(Some(now + TimeDelta::days(days)), now);
        assert_eq!([days(2), days(0), days(-3)], [2.0, 0.0, -3.0]);
        assert_eq!(days_until(None, now), f64::INFINITY);
    }
}
