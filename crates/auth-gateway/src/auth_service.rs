//! AuthService: convert, carry out, convert.

use std::sync::Arc;
use std::time::Duration;

use rollcall_core::error::Error;
use rollcall_core::verdict::{PasswordNotice, PublicReason};
use rollcall_proto::convert::auth::{self, Authenticate};
use rollcall_proto::timestamp;
use rollcall_proto::v1::auth_service_server::AuthService;
use rollcall_proto::v1::{self, AuthenticateRequest, AuthenticateResponse, DenialReason};
use rollcall_runtime::caller::{Permission, Scope, authorize};
use rollcall_runtime::server::Deadline;
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use crate::login::Logins;
use crate::login::attempt::{Attempt, AttemptOrigin};
use crate::login::outcome::{Authenticated, Denial, Outcome};
use rollcall_service::call::failed;

/// Serves AuthService.
pub(crate) struct Auth {
    logins: Arc<Logins>,
    timeout: Duration,
}

impl Auth {
    /// Serves it with these logins; a login takes at most `timeout`.
    pub(crate) fn new(logins: Arc<Logins>, timeout: Duration) -> Self {
        Self { logins, timeout }
    }

    /// The attempt, or why there is none: an error about the caller, or about what the caller asks for.
    fn attempt(&self, request: Request<AuthenticateRequest>) -> Result<Result<Attempt, Refused>, Error> {
        let (_, extensions, message) = request.into_parts();
        let caller = authorize(&extensions, Permission::Authenticate, Scope::Unresolved)?;
        let origin = AttemptOrigin {
            caller: caller.name().to_owned(),
            client: None,
        };
        let request = match Authenticate::try_from(message) {
            Ok(request) => request,
            Err(error) => return Ok(Err((origin, error))),
        };
        if let Some(tenant) = &request.tenant
            && let Err(error) = caller.may_touch(tenant)
        {
            return Ok(Err((origin, error)));
        }
        let longest = Instant::now() + self.timeout;
        let caller_deadline = Deadline::of(&extensions).map(Deadline::instant);
        Ok(Ok(Attempt::new(request, caller, longest, caller_deadline)))
    }
}

type Refused = (AttemptOrigin, Error);

#[tonic::async_trait]
impl AuthService for Auth {
    async fn authenticate(
        &self,
        request: Request<AuthenticateRequest>,
    ) -> Result<Response<AuthenticateResponse>, Status> {
        let attempt = match self.attempt(request).map_err(|error| failed(&error))? {
            Ok(attempt) => attempt,
            Err((origin, error)) => return Err(failed(&self.logins.refused(&origin, error).await)),
        };
        match &*self.logins.authenticate(attempt).await {
            Ok(outcome) => Ok(Response::new(response(outcome))),
            Err(error) => Err(failed(error)),
        }
    }
}

fn response(outcome: &Outcome) -> AuthenticateResponse {
    match outcome {
        Outcome::Authenticated(login) => auth::authenticated(&login.user, login.time, notice(login)),
        Outcome::Denied(Denial::LocalUser) => auth::denied(DenialReason::LocalUser, None),
        Outcome::Denied(Denial::TooManyAttempts { retry_after }) => {
            auth::denied(DenialReason::TooManyAttempts, Some(*retry_after))
        }
        Outcome::Denied(Denial::Reason(reason)) => auth::denied(denial_reason(*reason), None),
    }
}

fn notice(login: &Authenticated) -> Option<v1::PasswordNotice> {
    let PasswordNotice {
        expires_in,
        grace_logins_left,
    } = login.notice?;
    Some(v1::PasswordNotice {
        expire_time: expires_in.and_then(|left| {
            Some(timestamp(
                login
                    .time
                    .checked_add_signed(chrono::TimeDelta::from_std(left).ok()?)?,
            ))
        }),
        grace_logins_left: grace_logins_left.map(|left| i32::try_from(left).unwrap_or(i32::MAX)),
    })
}

fn denial_reason(reason: PublicReason) -> DenialReason {
    match reason {
        PublicReason::InvalidCredentials => DenialReason::InvalidCredentials,
        PublicReason::PasswordExpired => DenialReason::PasswordExpired,
        PublicReason::PasswordMustChange => DenialReason::PasswordMustChange,
        PublicReason::AccountDisabled => DenialReason::AccountDisabled,
        PublicReason::AccountExpired => DenialReason::AccountExpired,
        PublicReason::LogonRestricted => DenialReason::LogonRestricted,
    }
}
