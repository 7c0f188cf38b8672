//! What is said about one host of a directory.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rollcall_core::security_review::CERTIFICATE_NOTICE;
use rollcall_core::wording::counted;
use rollcall_ldap::HostStatus;
use rollcall_proto::{timestamp, v1};

/// The host's health as of now, from what this process has seen of it.
pub(super) fn health(host: String, status: &HostStatus, now: DateTime<Utc>) -> v1::HostHealth {
    let (state, message) = judge(status, now);
    let ago = |ago: Duration| {
        let ago = TimeDelta::from_std(ago).unwrap_or(TimeDelta::MAX);
        now.checked_sub_signed(ago).map(timestamp)
    };
    let failure = status.failure.as_ref();
    v1::HostHealth {
        host,
        state: state.into(),
        message,
        last_success_time: status.success.and_then(ago),
        last_failure_time: failure.and_then(|(time, _)| ago(*time)),
        certificate_expire_time: status.certificate_end.map(timestamp),
    }
}

fn judge(status: &HostStatus, now: DateTime<Utc>) -> (v1::HealthState, String) {
    // A failure that no success followed.
    let lasting = match (&status.failure, status.success) {
        (Some((failure, _)), Some(success)) if success <= *failure => None,
        (failure, _) => failure.as_ref().map(|(_, error)| error),
    };
    let until_end = status.certificate_end.map(|end| end - now);
    match (lasting, until_end, status.success) {
        (Some(error), _, _) if !status.usable => (
            v1::HealthState::Error,
            format!("The host rests for a moment after failures: {error}."),
        ),
        (Some(error), _, _) => (
            v1::HealthState::Error,
            format!("The last attempt failed: {error}."),
        ),
        (None, Some(left), _) if left < TimeDelta::zero() => (
            v1::HealthState::Error,
            "The server's certificate has expired.".to_owned(),
        ),
        (None, Some(left), _) if left < CERTIFICATE_NOTICE => (
            v1::HealthState::Warning,
            format!(
                "The server's certificate expires in {}.",
                counted(left.num_days().unsigned_abs(), "day", "days")
            ),
        ),
        (None, _, None) => (v1::HealthState::Unspecified, String::new()),
        (None, _, Some(_)) => (v1::HealthState::Ok, String::new()),
    }
}

#[cfg(test)]
mod tests {
    use rollcall_ldap::LdapError;

    use super::*;

    fn told(status: HostStatus) -> (v1::HealthState, String) {
        judge(&status, DateTime::UNIX_EPOCH)
    }

    #[test]
    fn a_host_is_as_it_was_seen_last() {
        let seconds = Duration::from_secs;
        let unseen = HostStatus {
            usable: true,
            success: None,
            failure: None,
            certificate_end: None,
        };
        assert_eq!(told(unseen.clone()).0, v1::HealthState::Unspecified);
        let good = HostStatus {
            success: Some(seconds(5)),
            failure: Some((seconds(9), LdapError::Timeout)),
            ..unseen.clone()
        };
        assert_eq!(told(good.clone()), (v1::HealthState::Ok, String::new()));
        let failed = HostStatus {
            failure: Some((seconds(1), LdapError::Timeout)),
            ..good.clone()
        };
        let message = "The last attempt failed: the directory did not answer in time.";
        assert_eq!(told(failed.clone()), (v1::HealthState::Error, message.to_owned()));
        let resting = told(HostStatus {
            usable: false,
            ..failed
        });
        assert!(resting.1.starts_with("The host rests"), "{resting:?}");
        let ending = |days| HostStatus {
            certificate_end: Some(DateTime::UNIX_EPOCH + TimeDelta::days(days)),
            ..good.clone()
        };
        assert_eq!(told(ending(-1)).0, v1::HealthState::Error);
        let message = "The server's certificate expires in 29 days.".to_owned();
        assert_eq!(told(ending(29)), (v1::HealthState::Warning, message));
        assert_eq!(told(ending(31)).0, v1::HealthState::Ok);
    }

    #[test]
    fn times_are_counted_back_from_now() {
        let status = HostStatus {
            usable: true,
            success: Some(Duration::from_secs(10)),
            failure: None,
            certificate_end: None,
        };
        let now = DateTime::UNIX_EPOCH + TimeDelta::seconds(100);
        let health = health("ldaps://dc1".into(), &status, now);
        assert_eq!(health.last_success_time.map(|time| time.seconds), Some(90));
        assert_eq!(health.last_failure_time, None);
    }
}
