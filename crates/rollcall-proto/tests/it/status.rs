use std::time::Duration;

use rollcall_core::error::{Error, Reason};
use rollcall_core::violation::Violations;
use rollcall_proto::status::{self, DEFAULT_RETRY_AFTER, to_status};
use tonic::Code;
use tonic_types::StatusExt;

/// The code of every reason. A change here is a change of the contract.
#[test]
fn every_reason_has_its_code() {
    for reason in Reason::ALL {
        let expected = match reason {
            Reason::InvalidField
            | Reason::TenantRequired
            | Reason::InvalidPageToken
            | Reason::BindPasswordRequired
            | Reason::RequestIdReused
            | Reason::ActorRequired
            | Reason::RequestTooLarge
            | Reason::InvalidCursor => Code::InvalidArgument,
            Reason::CallerUnauthenticated => Code::Unauthenticated,
            Reason::PermissionMissing | Reason::TenantAccessDenied => Code::PermissionDenied,
            Reason::TenantNotFound
            | Reason::DirectoryNotFound
            | Reason::UserSyncNotFound
            | Reason::SyncRunNotFound
            | Reason::UserNotFound
            | Reason::ServiceNotFound => Code::NotFound,
            Reason::AlreadyExists | Reason::IdentifierTaken | Reason::DomainTaken => Code::AlreadyExists,
            Reason::EtagMismatch
            | Reason::ConcurrentChange
            | Reason::SyncInProgress
            | Reason::BindOutcomeUnknown
            | Reason::LoginNotRecorded
            | Reason::WorkerUnavailable => Code::Aborted,
            Reason::SyncDisabled
            | Reason::DirectoryMisconfigured
            | Reason::EndpointUnconfirmed
            | Reason::BindPasswordRejected
            | Reason::DirectoryInUse
            | Reason::TenantInUse
            | Reason::RunNotInState
            | Reason::SyncsNeedAttention
            | Reason::UserNotLocal
            | Reason::OwnerProtected
            | Reason::UserStillOffered
            | Reason::CursorExpired => Code::FailedPrecondition,
            Reason::DirectoryUnavailable
            | Reason::DirectoryTimeout
            | Reason::StoreUnavailable
            | Reason::ShuttingDown
            | Reason::ConnectionTooOld
            | Reason::ReaderTooSlow => Code::Unavailable,
            Reason::DeadlineExceeded => Code::DeadlineExceeded,
            Reason::Cancelled => Code::Cancelled,
            Reason::CallerQuotaExhausted
            | Reason::ChecksRateLimited
            | Reason::RunsRateLimited
            | Reason::DirectoryBusy
            | Reason::ResourceLimitReached
            | Reason::MetadataTooLarge
            | Reason::TooManyStreams => Code::ResourceExhausted,
            Reason::Unimplemented => Code::Unimplemented,
            Reason::Internal => Code::Internal,
        };
        let status = to_status(&Error::new(*reason, "what happened"));
        assert_eq!(status.code(), expected, "{reason:?}");
        assert_eq!(status.message(), "what happened");
        let info = status.get_details_error_info().unwrap();
        assert_eq!(
            (info.reason.as_str(), info.domain.as_str()),
            (reason.as_str(), "rollcall")
        );
        assert_eq!(status::reason(&status), Some(*reason));
    }
}

#[test]
fn what_is_unavailable_says_when_to_try_again_and_what_must_not_be_repeated_does_not() {
    let retry = |error: &Error| {
        to_status(error)
            .get_details_retry_info()
            .and_then(|info| info.retry_delay)
    };
    let unavailable = Error::new(Reason::DirectoryUnavailable, "down");
    assert_eq!(retry(&unavailable), Some(DEFAULT_RETRY_AFTER));
    let later = unavailable.retry_after(Duration::from_secs(7));
    assert_eq!(retry(&later), Some(Duration::from_secs(7)));
    assert_eq!(retry(&Error::new(Reason::BindOutcomeUnknown, "who knows")), None);
    assert_eq!(retry(&Error::new(Reason::ResourceLimitReached, "full")), None);
}

#[test]
fn metadata_and_all_violations_travel_and_the_cause_does_not() {
    let mut found = Violations::new();
    found.add("parent", "is required");
    found.add("page_size", "must not be negative");
    let error = Error::invalid(found)
        .with("resource", "tenants/acme")
        .caused_by("canary: SELECT * FROM users WHERE dn = 'cn=admin,dc=acme'");
    let status = to_status(&error);
    let info = status.get_details_error_info().unwrap();
    assert_eq!(info.metadata["resource"], "tenants/acme");
    let fields: Vec<_> = status
        .get_details_bad_request()
        .unwrap()
        .field_violations
        .into_iter()
        .map(|violation| (violation.field, violation.description))
        .collect();
    let expected = [("parent", "is required"), ("page_size", "must not be negative")];
    assert_eq!(
        fields,
        expected.map(|(field, text)| (field.to_owned(), text.to_owned()))
    );
    let wire = String::from_utf8_lossy(status.details()).into_owned() + status.message();
    assert!(!wire.contains("canary") && !wire.contains("cn=admin"));
}

#[test]
fn a_status_fits_into_a_header_whatever_was_wrong() {
    let mut found = Violations::new();
    for index in 0..5000 {
        found.add(format!("searches[{index}].filter"), "x".repeat(2000));
    }
    let status = to_status(&Error::invalid(found));
    assert!(status.details().len() < 5 * 1024, "{}", status.details().len());
    let violations = status.get_details_bad_request().unwrap().field_violations;
    assert!(violations.len() > 2);
    assert!(violations.last().unwrap().description.contains("more"));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a status of somebody else")]
fn a_status_of_somebody_else_has_no_reason() {
    assert_eq!(status::reason(&tonic::Status::unavailable("proxy")), None);
    let mut details = tonic_types::ErrorDetails::new();
    details.set_error_info(
        "INTERNAL",
        "googleapis.com",
        std::collections::HashMap::<String, String>::new(),
    );
    let other = tonic::Status::with_error_details(Code::Internal, "not ours", details);
    assert_eq!(status::reason(&other), None);
}
