//! UserService, as far as users are changed.

use rollcall_core::error::Error;
use rollcall_core::id::TenantId;
use rollcall_core::identifier::LoginPolicy;
use rollcall_core::local_user;
use rollcall_core::revision::Revision;
use rollcall_core::user::{Profile, User};
use rollcall_core::violation::{Violations, check_text};

use super::{named_request, text_fields};
use crate::decode::{Repeatable, finish, non_empty, repeatable, required};
use crate::etag::decode_etag;
use crate::resource_name::{self, UserName};
use crate::update_mask;
use crate::v1;

/// Longest reason of a block, in characters.
pub(crate) const MAX_BLOCK_REASON_CHARS: usize = 500;

/// CreateUser.
pub struct CreateUser {
    /// How to recognise a repeat.
    pub repeatable: Option<Repeatable>,
    /// The tenant.
    pub tenant: TenantId,
    /// What the product asks for; see [`CreateUser::validate`].
    pub profile: Profile,
    /// The tenant's owner.
    pub owner: bool,
}

/// UpdateUser.
#[derive(Clone, PartialEq, Debug)]
pub struct UpdateUser {
    /// The user.
    pub name: UserName,
    /// The revision that the caller expects, if it does.
    pub revision: Option<Revision>,
    wire: v1::User,
    paths: Vec<String>,
}

/// A user, and the revision that the caller expects: DeleteUser, UnblockUser, DeactivateUser and ReactivateUser.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExpectedUser {
    /// The user.
    pub name: UserName,
    /// The revision that the caller expects, if it does.
    pub revision: Option<Revision>,
}

/// EraseUser.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EraseUser {
    /// Whom.
    pub user: ExpectedUser,
    /// Never to be taken from the directory again.
    pub exclude: bool,
}

/// BlockUser.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BlockUser {
    /// The user.
    pub user: ExpectedUser,
    /// Why.
    pub reason: String,
}

named_request!(UnlockUserRequest => UserName, parse_user, USER);

impl CreateUser {
    /// Checks the user by the deployment's rules.
    ///
    /// # Errors
    /// INVALID_FIELD, with all fields that are not valid.
    pub fn validate(&self, policy: &LoginPolicy) -> Result<(), Error> {
        checked(&self.profile, None, policy)
    }
}

impl UpdateUser {
    /// The fields of a LOCAL user after the update, and whether it is an owner.
    ///
    /// # Errors
    /// INVALID_FIELD, with all fields that would not be valid.
    pub fn apply(&self, current: &User, policy: &LoginPolicy) -> Result<(Profile, bool), Error> {
        let mut merged = v1::User::from(current);
        self.paths
            .iter()
            .for_each(|path| merged.overlay(&self.wire, path));
        let owner = merged.owner;
        let profile = profile(merged);
        checked(&profile, Some(&current.profile), policy).map(|()| (profile, owner))
    }

    /// True if all that the update does is to clear the owner flag.
    pub fn only_clears_owner(&self) -> bool {
        self.paths == ["owner"] && !self.wire.owner
    }
}

impl TryFrom<v1::CreateUserRequest> for CreateUser {
    type Error = Error;

    fn try_from(mut request: v1::CreateUserRequest) -> Result<Self, Error> {
        let mut found = Violations::new();
        let repeatable = repeatable(&mut found, "CreateUser", &mut request, |it| &mut it.request_id);
        let tenant = resource_name::decode(
            &mut found,
            "parent",
            &request.parent,
            resource_name::TENANT,
            resource_name::parse_tenant,
        );
        let user = required(&mut found, "user", request.user);
        finish(
            found,
            tenant.zip(user).map(|(tenant, user)| Self {
                repeatable,
                tenant,
                owner: user.owner,
                profile: profile(user),
            }),
        )
    }
}

impl TryFrom<v1::UpdateUserRequest> for UpdateUser {
    type Error = Error;

    fn try_from(request: v1::UpdateUserRequest) -> Result<Self, Error> {
        let mut found = Violations::new();
        let wire = required(&mut found, "user", request.user);
        let has_user = wire.is_some();
        let wire = wire.unwrap_or_default();
        let name = match has_user {
            true => resource_name::decode(
                &mut found,
                "user.name",
                &wire.name,
                resource_name::USER,
                resource_name::parse_user,
            ),
            false => None,
        };
        let revision = decode_etag(&mut found, "user.etag", &wire.etag);
        let (writable, populated) = (v1::User::WRITABLE, wire.populated());
        let mask = request.update_mask;
        let paths = update_mask::paths(&mut found, mask, writable, v1::User::is_writable, populated);
        finish(
            found,
            name.map(|name| Self {
                name,
                revision,
                wire,
                paths,
            }),
        )
    }
}

macro_rules! expected_user {
    ($($request:ident),*) => {
        $(impl TryFrom<v1::$request> for ExpectedUser {
            type Error = Error;

            fn try_from(request: v1::$request) -> Result<Self, Error> {
                let mut found = Violations::new();
                let user = expected(&mut found, &request.name, &request.etag);
                finish(found, user)
            }
        })*
    };
}

expected_user!(
    DeleteUserRequest,
    UnblockUserRequest,
    DeactivateUserRequest,
    ReactivateUserRequest
);

impl TryFrom<v1::BlockUserRequest> for BlockUser {
    type Error = Error;

    fn try_from(request: v1::BlockUserRequest) -> Result<Self, Error> {
        let mut found = Violations::new();
        let user = expected(&mut found, &request.name, &request.etag);
        let reason = request.reason;
        check_text(&mut found, "reason", &reason, 0, MAX_BLOCK_REASON_CHARS);
        finish(found, user.map(|user| Self { user, reason }))
    }
}

impl TryFrom<v1::EraseUserRequest> for EraseUser {
    type Error = Error;

    fn try_from(request: v1::EraseUserRequest) -> Result<Self, Error> {
        let mut found = Violations::new();
        let user = expected(&mut found, &request.name, &request.etag);
        let exclude = request.exclude;
        finish(found, user.map(|user| Self { user, exclude }))
    }
}

fn expected(found: &mut Violations, name: &str, etag: &str) -> Option<ExpectedUser> {
    let pattern = resource_name::USER;
    let name = resource_name::decode(found, "name", name, pattern, resource_name::parse_user);
    let revision = decode_etag(found, "etag", etag);
    name.map(|name| ExpectedUser { name, revision })
}

fn checked(profile: &Profile, before: Option<&Profile>, policy: &LoginPolicy) -> Result<(), Error> {
    let mut found = Violations::new();
    found.nest("user", local_user::validate(profile, before, policy));
    found.into_result().map_err(Error::invalid)
}

fn profile(mut user: v1::User) -> Profile {
    Profile {
        texts: text_fields::take_from_user(&mut user),
        login: user.login,
        email: non_empty(&user.email),
        role: user.role,
        restrictions: user.restrictions,
        custom: user.custom,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rollcall_core::error::Reason;
    use rollcall_core::field::TextField;

    use super::*;

    fn create(login: &str, role: &str) -> v1::CreateUserRequest {
        v1::CreateUserRequest {
            parent: "tenants/acme".into(),
            user: Some(v1::User {
                login: login.into(),
                role: role.into(),
                ..v1::User::default()
            }),
            request_id: String::new(),
        }
    }

    #[test]
    fn a_local_user_is_checked_by_the_deployment_s_rules() {
        let policy = LoginPolicy::default();
        let good = CreateUser::try_from(create("ada", "admin")).unwrap();
        good.validate(&policy).unwrap();
        let bad = CreateUser::try_from(create("a", ""))
            .unwrap()
            .validate(&policy)
            .unwrap_err();
        let fields: Vec<_> = bad
            .violations
            .iter()
            .map(|violation| violation.field.as_str())
            .collect();
        assert_eq!(fields, ["user.login", "user.role"]);
        let nothing = CreateUser::try_from(v1::CreateUserRequest::default())
            .err()
            .unwrap();
        assert_eq!(
            (nothing.reason, nothing.violations.iter().count()),
            (Reason::InvalidField, 2)
        );
    }

    #[test]
    fn an_update_changes_what_the_mask_names() {
        let name = "tenants/acme/users/00000000-0000-0000-0000-000000000001";
        let user = v1::User {
            name: name.into(),
            login: "ada".into(),
            etag: "r7".into(),
            ..v1::User::default()
        };
        let request = |paths: &[&str]| v1::UpdateUserRequest {
            user: Some(user.clone()),
            update_mask: Some(prost_types::FieldMask {
                paths: paths.iter().map(|path| (*path).to_owned()).collect(),
            }),
        };
        let update = UpdateUser::try_from(request(&["owner"])).unwrap();
        assert!(update.only_clears_owner() && update.revision == Some(Revision::new(7)));
        assert!(
            !UpdateUser::try_from(request(&["owner", "login"]))
                .unwrap()
                .only_clears_owner()
        );
        let refused = UpdateUser::try_from(request(&["state"])).unwrap_err();
        assert_eq!(
            refused.violations.iter().next().unwrap().field,
            "update_mask.paths[0]"
        );
    }

    #[test]
    fn a_user_made_local_with_a_long_telephone_number_can_be_updated() {
        let now = chrono::DateTime::UNIX_EPOCH;
        let current = User {
            tenant: TenantId::parse("acme").unwrap(),
            id: rollcall_core::id::UserId(rollcall_core::id::Uuid::from_u128(1)),
            origin: None,
            profile: Profile {
                login: "ada".into(),
                texts: [(TextField::PhoneNumber, "1".repeat(1000))].into(),
                role: "user".into(),
                ..Profile::default()
            },
            state: rollcall_core::user::UserState::Active,
            state_reason: None,
            owner: false,
            block: None,
            login_ambiguous: false,
            login_asked_by: None,
            revision: Revision::FIRST,
            create_time: now,
            update_time: now,
        };
        let update = |user: v1::User| {
            let user = Some(v1::User {
                name: "tenants/acme/users/00000000-0000-0000-0000-000000000001".into(),
                ..user
            });
            let request = v1::UpdateUserRequest {
                user,
                update_mask: None,
            };
            UpdateUser::try_from(request)
                .unwrap()
                .apply(&current, &LoginPolicy::default())
        };
        let (profile, _) = update(v1::User {
            display_name: "Ada".into(),
            ..v1::User::default()
        })
        .unwrap();
        let phone = TextField::PhoneNumber;
        assert_eq!(profile.text(phone), current.profile.text(phone));
        let refused = update(v1::User {
            phone_number: "2".repeat(65),
            ..v1::User::default()
        })
        .unwrap_err();
        assert_eq!(
            refused.violations.iter().next().unwrap().field,
            "user.phone_number"
        );
    }
}
