//! What a failed operation on a directory means for the caller: the one table for it.

use std::time::Duration;

use rollcall_core::error::{Error, Reason};
use rollcall_ldap::{LdapError, ResultClass, ResultCode, TlsFailure};

/// When to try a directory again that has as much work as it may have.
const RETRY_BUSY: Duration = Duration::from_secs(1);
/// When to try a directory again that did not answer.
const RETRY_UNAVAILABLE: Duration = Duration::from_secs(5);

/// How a failed operation is reported: [`for_admin`] or [`for_login`].
pub type Wording = fn(&LdapError, &str) -> Error;

/// For a tenant's admin: says what happened. `resource` is the directory's name.
pub fn for_admin(cause: &LdapError, resource: &str) -> Error {
    error(reason(cause), &cause.to_string(), cause, resource)
}

/// For a login of which nothing was sent: says nothing that the directory said. A directory that does not answer in
/// time counts as unreachable.
pub fn for_login(cause: &LdapError, resource: &str) -> Error {
    let reason = reason(cause);
    if reason == Reason::DirectoryBusy {
        // The directory was not asked, so the error repeats nothing that it said.
        return for_admin(cause, resource);
    }
    let (reason, message) = match reason == Reason::DirectoryMisconfigured {
        true => (
            reason,
            "the directory cannot be used as it is configured; CheckConnection tells more",
        ),
        false => (Reason::DirectoryUnavailable, "the directory cannot be reached"),
    };
    error(reason, message, cause, resource)
}

fn reason(cause: &LdapError) -> Reason {
    match cause {
        LdapError::Busy | LdapError::Exhausted => Reason::DirectoryBusy,
        LdapError::Timeout => Reason::DirectoryTimeout,
        // The server went away or is too slow, which does not show that TLS itself is wrong.
        LdapError::Tls(TlsFailure::Timeout | TlsFailure::Closed | TlsFailure::Other) => {
            Reason::DirectoryUnavailable
        }
        LdapError::Tls(_)
        | LdapError::StartTlsRefused(_)
        | LdapError::EgressDenied
        | LdapError::Misconfigured(_) => Reason::DirectoryMisconfigured,
        LdapError::BindRefused(code) | LdapError::SearchRefused(code) => of_code(*code),
        LdapError::Unreachable(_)
        | LdapError::Protocol(_)
        | LdapError::Disconnected(_)
        | LdapError::ConnectionLost
        | LdapError::CircuitOpen => Reason::DirectoryUnavailable,
    }
}

/// For infrastructure failures another host, or another time, may do better. Otherwise the request or the account's
/// rights are at fault.
fn of_code(code: ResultCode) -> Reason {
    match code.class() {
        ResultClass::Infrastructure | ResultClass::Referral | ResultClass::Truncated => {
            Reason::DirectoryUnavailable
        }
        ResultClass::Success
        | ResultClass::Configuration
        | ResultClass::Credentials
        | ResultClass::NotFound
        | ResultClass::Access
        | ResultClass::Other => Reason::DirectoryMisconfigured,
    }
}

fn error(reason: Reason, message: &str, cause: &LdapError, resource: &str) -> Error {
    let mut error = Error::new(reason, message)
        .with("resource", resource)
        .caused_by(cause.clone());
    if reason == Reason::DirectoryBusy {
        error.retry_after = Some(RETRY_BUSY);
    } else if matches!(reason, Reason::DirectoryUnavailable | Reason::DirectoryTimeout) {
        error.retry_after = Some(RETRY_UNAVAILABLE);
    }
    error
}

#[cfg(test)]
mod tests {
    use rollcall_ldap::{DialFailure, Misconfiguration};

    use super::*;

    #[test]
    fn a_run_and_a_login_read_a_failure_alike() {
        use Reason::{DirectoryBusy, DirectoryMisconfigured, DirectoryTimeout, DirectoryUnavailable};
        for (cause, for_an_admin) in [
            (LdapError::Busy, DirectoryBusy),
            (LdapError::Timeout, DirectoryTimeout),
            (LdapError::Tls(TlsFailure::Timeout), DirectoryUnavailable),
            (LdapError::Tls(TlsFailure::Closed), DirectoryUnavailable),
            (LdapError::Tls(TlsFailure::UnknownIssuer), DirectoryMisconfigured),
            (LdapError::StartTlsRefused(ResultCode(2)), DirectoryMisconfigured),
            (LdapError::EgressDenied, DirectoryMisconfigured),
            (
                LdapError::Misconfigured(Misconfiguration::NoHost),
                DirectoryMisconfigured,
            ),
            (LdapError::Unreachable(DialFailure::Refused), DirectoryUnavailable),
            (LdapError::ConnectionLost, DirectoryUnavailable),
            (LdapError::CircuitOpen, DirectoryUnavailable),
            (LdapError::BindRefused(ResultCode(49)), DirectoryMisconfigured),
            (LdapError::BindRefused(ResultCode(52)), DirectoryUnavailable),
            (LdapError::SearchRefused(ResultCode(50)), DirectoryMisconfigured),
            (LdapError::SearchRefused(ResultCode(10)), DirectoryUnavailable),
            // A server's limit that may not apply at other times.
            (LdapError::SearchRefused(ResultCode(3)), DirectoryUnavailable),
            (LdapError::SearchRefused(ResultCode(11)), DirectoryUnavailable),
        ] {
            let admin = for_admin(&cause, "tenants/acme/directories/hq");
            assert_eq!(admin.reason, for_an_admin, "{cause:?}");
            let login = for_login(&cause, "tenants/acme/directories/hq");
            let at_a_login = match for_an_admin == DirectoryTimeout {
                true => DirectoryUnavailable,
                false => for_an_admin,
            };
            assert_eq!(login.reason, at_a_login, "{cause:?}");
            assert_eq!(login.retry_after, admin.retry_after, "{cause:?}");
            assert!(!login.message.contains(&cause.to_string()) || cause == LdapError::Busy);
        }
    }
}
