//! ExplainUser.

use rollcall_core::error::Error;
use rollcall_core::id::{TenantId, UserId};
use rollcall_core::violation::{Violations, check_text};

use super::check::{UserSyncTarget, user_sync_target};
use super::user::MAX_IDENTIFIER_CHARS;
use crate::decode::{finish, parent};
use crate::{resource_name, v1};

/// Longest DN and external id in a request, in characters.
const MAX_NAME_CHARS: usize = 8192;

/// ExplainUser.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExplainUser {
    /// The tenant.
    pub tenant: TenantId,
    /// Who explains; `None` for all user syncs of the tenant.
    pub target: Option<UserSyncTarget>,
    /// Whom.
    pub person: PersonAsked,
}

/// Whom an explanation is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PersonAsked {
    /// The user and the entries that have this login or e-mail address.
    Identifier(String),
    /// The entry of this name.
    Dn(String),
    /// The entry with this id, as text.
    ExternalId(String),
    /// This user.
    User(UserId),
}

impl TryFrom<v1::ExplainUserRequest> for ExplainUser {
    type Error = Error;

    fn try_from(request: v1::ExplainUserRequest) -> Result<Self, Error> {
        use v1::explain_user_request::{Person, Target};
        let mut found = Violations::new();
        let tenant = parent(&mut found, &request.parent);
        let target = request.target.and_then(|target| match target {
            Target::UserSync(name) => user_sync_target(&mut found, Ok(name), tenant.as_ref()),
            Target::Draft(draft) => user_sync_target(&mut found, Err(Box::new(draft)), tenant.as_ref()),
        });
        let mut text = |field: &str, text: String, max: usize| {
            check_text(&mut found, field, &text, 1, max);
            text
        };
        let person = match request.person {
            None => None,
            Some(Person::Identifier(value)) => Some(PersonAsked::Identifier(text(
                "identifier",
                value,
                MAX_IDENTIFIER_CHARS,
            ))),
            Some(Person::Dn(value)) => Some(PersonAsked::Dn(text("dn", value, MAX_NAME_CHARS))),
            Some(Person::ExternalId(value)) => Some(PersonAsked::ExternalId(text(
                "external_id",
                value,
                MAX_NAME_CHARS,
            ))),
            Some(Person::User(name)) => {
                let pattern = resource_name::USER;
                let name =
                    resource_name::decode(&mut found, "user", &name, pattern, resource_name::parse_user);
                let of_tenant = |own: &TenantId| tenant.as_ref().is_none_or(|tenant| tenant == own);
                let same = name.as_ref().is_none_or(|name| of_tenant(&name.tenant));
                found.require(same, "user", "is not of the tenant that parent names");
                match name {
                    Some(name) => Some(PersonAsked::User(name.user)),
                    None => return finish(found, None),
                }
            }
        };
        found.require(
            person.is_some(),
            "person",
            "is required: identifier, dn, external_id or user",
        );
        let value = tenant.zip(person);
        finish(
            found,
            value.map(|(tenant, person)| Self {
                tenant,
                target,
                person,
            }),
        )
    }
}
