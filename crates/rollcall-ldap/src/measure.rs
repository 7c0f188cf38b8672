//! Metrics of operations, and how much is under way. They contain no name, DN or filter.

use std::future::Future;

use rollcall_core::verdict::active_directory_code;
use rollcall_metrics::{BindEnd, LdapEnd, LdapOperation, metrics};
use tokio::time::Instant;

use crate::bind::BindAnswer;
use crate::error::{BindError, LdapError};
use crate::result_code::ResultCode;

/// How much a directory has under way here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Load {
    /// Connections bound as the service account.
    pub service: PoolLoad,
    /// Connections for passwords.
    pub bind: PoolLoad,
}

/// How much one pool of a directory has under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PoolLoad {
    /// Idle connections.
    pub idle: usize,
    /// Operations.
    pub busy: usize,
    /// Operations that wait for a connection.
    pub waiting: usize,
}

/// Carries an operation out, counts how it ended and how long it took.
pub(crate) async fn measured<T>(
    operation: LdapOperation,
    work: impl Future<Output = Result<T, LdapError>>,
) -> Result<T, LdapError> {
    let began = Instant::now();
    let done = work.await;
    count(operation, began, done.as_ref().err());
    done
}

/// Counts an operation that began then.
pub(crate) fn count(operation: LdapOperation, began: Instant, failed: Option<&LdapError>) {
    let metrics = metrics();
    let ended = failed.map_or(LdapEnd::Answered, end);
    metrics.ldap_operations.count((operation, ended));
    metrics.ldap_operation_seconds.took(operation, began.elapsed());
}

/// Counts a password's bind that began then.
pub(crate) fn count_bind(began: Instant, answer: &Result<BindAnswer, BindError>) {
    let failed = answer.as_ref().err();
    count(LdapOperation::Bind, began, failed.map(|failed| &failed.error));
    metrics().binds.count(match answer {
        Ok(answer) => bind_end(answer),
        Err(failed) if failed.unsent => BindEnd::NotSent,
        Err(_) => BindEnd::NoAnswer,
    });
}

fn bind_end(answer: &BindAnswer) -> BindEnd {
    match answer.code.0 {
        0 => BindEnd::Success,
        8 | 13 => BindEnd::StrongerAuth,
        19 => BindEnd::Constraint,
        48 => BindEnd::Inappropriate,
        49 => match active_directory_code(&answer.diagnostic) {
            None => BindEnd::Invalid,
            Some(0x525) => BindEnd::NoUser,
            Some(0x52e) => BindEnd::WrongPassword,
            Some(0x530) => BindEnd::Hours,
            Some(0x531) => BindEnd::Workstation,
            Some(0x532) => BindEnd::PasswordExpired,
            Some(0x533) => BindEnd::Disabled,
            Some(0x701) => BindEnd::AccountExpired,
            Some(0x773) => BindEnd::MustChange,
            Some(0x775) => BindEnd::Locked,
            Some(_) => BindEnd::OtherSubCode,
        },
        51 => BindEnd::Busy,
        52 => BindEnd::Unavailable,
        53 => BindEnd::Unwilling,
        _ => BindEnd::OtherResult,
    }
}

fn end(error: &LdapError) -> LdapEnd {
    match error {
        LdapError::EgressDenied | LdapError::Misconfigured(_) => LdapEnd::Misconfigured,
        LdapError::Unreachable(_) => LdapEnd::Unreachable,
        LdapError::Tls(_) | LdapError::StartTlsRefused(_) => LdapEnd::Tls,
        LdapError::Protocol(_) => LdapEnd::Protocol,
        LdapError::Disconnected(_) | LdapError::ConnectionLost => LdapEnd::Lost,
        LdapError::Timeout => LdapEnd::Timeout,
        LdapError::SearchRefused(ResultCode::NO_SUCH_OBJECT) => LdapEnd::Answered,
        LdapError::BindRefused(_) | LdapError::SearchRefused(_) => LdapEnd::Refused,
        LdapError::Busy => LdapEnd::Busy,
        LdapError::Exhausted => LdapEnd::Exhausted,
        LdapError::CircuitOpen => LdapEnd::BreakerOpen,
    }
}

#[cfg(test)]
mod tests {
    use rollcall_core::verdict::NetscapeControls;

    use super::*;

    #[test]
    fn a_sub_code_is_told_only_of_wrong_credentials() {
        let told = |code, diagnostic: &str| {
            bind_end(&BindAnswer {
                code: ResultCode(code),
                diagnostic: diagnostic.to_owned(),
                policy: None,
                netscape: NetscapeControls::default(),
            })
        };
        let active_directory = |data| {
            format!(
                "80090308: LdapErr: DSID-0C09044E, comment: AcceptSecurityContext error, data {data}, v4563"
            )
        };
        assert_eq!(told(0, ""), BindEnd::Success);
        assert_eq!(told(49, ""), BindEnd::Invalid);
        assert_eq!(told(49, &active_directory("52e")), BindEnd::WrongPassword);
        assert_eq!(told(49, &active_directory("775")), BindEnd::Locked);
        assert_eq!(told(49, &active_directory("beef")), BindEnd::OtherSubCode);
        assert_eq!(told(53, &active_directory("52e")), BindEnd::Unwilling);
        assert_eq!(told(4096, "anything"), BindEnd::OtherResult);
    }
}
