//! AuthService.

use std::net::IpAddr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rollcall_core::error::{Error, Reason};
use rollcall_core::id::TenantId;
use rollcall_core::identifier::email_domain;
use rollcall_core::secret::Password;
use rollcall_core::user::User;
use rollcall_core::verdict::PublicReason;
use rollcall_core::violation::{Violations, check_text};

use super::user::MAX_IDENTIFIER_CHARS;
use crate::decode::{finish, request_id};
use crate::{duration, resource_name, timestamp, v1};

/// Authenticate.
pub struct Authenticate {
    /// The tenant; `None` only if `login` is an e-mail address, whose domain then decides.
    pub tenant: Option<TenantId>,
    /// What the user typed as login.
    pub login: String,
    /// What the user typed as password.
    pub password: Password,
    /// The end user's address.
    pub client_address: Option<IpAddr>,
    /// Identifies repeats of this attempt.
    pub request_id: Option<String>,
}

impl TryFrom<v1::AuthenticateRequest> for Authenticate {
    type Error = Error;

    fn try_from(request: v1::AuthenticateRequest) -> Result<Self, Error> {
        let mut found = Violations::new();
        let names_tenant = !request.tenant.is_empty();
        let tenant = match names_tenant {
            true => resource_name::decode(
                &mut found,
                "tenant",
                &request.tenant,
                resource_name::TENANT,
                resource_name::parse_tenant,
            ),
            false => None,
        };
        let login = request.login;
        check_text(&mut found, "login", &login, 1, MAX_IDENTIFIER_CHARS);
        let password = found.take("password", Password::new(request.password));
        let client_address = match request.client_address.as_str() {
            "" => None,
            text => found.take("client_address", text.parse().map_err(|_| "is not an IP address")),
        };
        let request_id = request_id(&mut found, request.request_id);
        let needs_tenant = !names_tenant && email_domain(&login).is_none();
        if needs_tenant && found.is_empty() {
            found.add(
                "tenant",
                "is required, unless login is an e-mail address of a verified domain",
            );
            let mut error = Error::invalid(found);
            error.reason = Reason::TenantRequired;
            return Err(error);
        }
        finish(
            found,
            password.map(|password| Self {
                tenant,
                login,
                password,
                client_address,
                request_id,
            }),
        )
    }
}

/// A login that succeeded; the user's one before was at `last`.
pub fn authenticated(
    user: &User,
    last: Option<DateTime<Utc>>,
    time: DateTime<Utc>,
    password_notice: Option<v1::PasswordNotice>,
) -> v1::AuthenticateResponse {
    let authenticated = v1::Authenticated {
        user: Some(v1::User {
            last_login_time: last.map(timestamp),
            ..user.into()
        }),
        authenticate_time: Some(timestamp(time)),
        password_notice,
    };
    v1::AuthenticateResponse {
        outcome: Some(v1::authenticate_response::Outcome::Authenticated(authenticated)),
    }
}

/// A login that is refused. `retry_after` goes with TOO_MANY_ATTEMPTS only.
pub fn denied(reason: v1::DenialReason, retry_after: Option<Duration>) -> v1::AuthenticateResponse {
    let retry_after = retry_after.filter(|_| reason == v1::DenialReason::TooManyAttempts);
    let denial = v1::Denial {
        reason: reason.into(),
        retry_after: retry_after.map(duration),
    };
    v1::AuthenticateResponse {
        outcome: Some(v1::authenticate_response::Outcome::Denial(denial)),
    }
}

/// The contract's reason for a denial by the directory, found by its name. A test checks that the contract has each.
pub fn denial_reason(reason: PublicReason) -> v1::DenialReason {
    let name = format!("DENIAL_REASON_{}", reason.as_str());
    v1::DenialReason::from_str_name(&name).unwrap_or(v1::DenialReason::InvalidCredentials)
}
