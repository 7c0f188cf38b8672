//! AuthService: convert, carry out, convert.

use std::sync::Arc;
use std::time::Duration;

use rollcall_core::error::Error;
use rollcall_core::verdict::PasswordNotice;
use rollcall_proto::convert::auth::{self, Authenticate};
use rollcall_proto::timestamp;
use rollcall_proto::v1::auth_service_server::AuthService;
use rollcall_proto::v1::{self, AuthenticateRequest, AuthenticateResponse, DenialReason};
use rollcall_runtime::caller::authorize;
use rollcall_runtime::server::Deadline;
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use crate::login::Logins;
use crate::login::attempt::{Attempt, AttemptOrigin};
use crate::login::outcome::{Authenticated, Denial, Outcome};
use rollcall_service::call::failed;
use rollcall_service::methods::Method;

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

    fn attempt(&self, request: Request<AuthenticateRequest>) -> Result<Attempt, Refused> {
        let (_, extensions, message) = request.into_parts();
        let permission = AuthenticateRequest::ROW.permission;
        let caller = authorize(&extensions, permission).map_err(|error| Refused {
            origin: None,
            error: Box::new(error),
        })?;
        // The address is kept for the audit even if the rest of the request is wrong.
        let client = message.client_address.parse().ok();
        let refused = |error| {
            let origin = AttemptOrigin {
                caller: caller.audited(),
                client,
            };
            Refused {
                origin: Some(origin),
                error: Box::new(error),
            }
        };
        let request = Authenticate::try_from(message).map_err(refused)?;
        if let Some(tenant) = &request.tenant {
            caller.may_touch(tenant).map_err(refused)?;
        }
        let longest = Instant::now() + self.timeout;
        let caller_deadline = Deadline::of(&extensions).map(Deadline::instant);
        Ok(Attempt::new(request, caller, longest, caller_deadline))
    }
}

/// Why a request is refused before it becomes an attempt.
struct Refused {
    /// Where it comes from; `None` if the caller is unknown.
    origin: Option<AttemptOrigin>,
    error: Box<Error>,
}

#[tonic::async_trait]
impl AuthService for Auth {
    async fn authenticate(
        &self,
        request: Request<AuthenticateRequest>,
    ) -> Result<Response<AuthenticateResponse>, Status> {
        let attempt = match self.attempt(request) {
            Ok(attempt) => attempt,
            Err(Refused { origin, error }) => {
                let error = match origin {
                    Some(origin) => self.logins.refused(&origin, *error).await,
                    None => *error,
                };
                return Err(failed(&error));
            }
        };
        match &*self.logins.authenticate(attempt).await {
            Ok(outcome) => Ok(Response::new(response(outcome))),
            Err(error) => Err(failed(error)),
        }
    }
}

fn response(outcome: &Outcome) -> AuthenticateResponse {
    match outcome {
        Outcome::Authenticated(login) => {
            auth::authenticated(&login.user, login.last, login.time, notice(login))
        }
        Outcome::Denied(Denial::LocalUser) => auth::denied(DenialReason::LocalUser, None),
        Outcome::Denied(Denial::TooManyAttempts { retry_after }) => {
            auth::denied(DenialReason::TooManyAttempts, Some(*retry_after))
        }
        Outcome::Denied(Denial::Reason(reason)) => auth::denied(auth::denial_reason(*reason), None),
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
