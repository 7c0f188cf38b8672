//! Which users a list shows. The store finds by state, source and user sync; the rest is looked at here.

use rollcall_core::identifier::normalize;
use rollcall_core::user::User;
use rollcall_proto::convert::user::UserFilter;
use rollcall_store::{self as store, UserSource};

/// What the store can find by itself.
pub(crate) fn for_store(filter: &UserFilter) -> store::UserFilter {
    store::UserFilter {
        state: match filter.states.as_slice() {
            [only] => Some(*only),
            _ => None,
        },
        source: filter.synced.map(|synced| {
            if synced {
                UserSource::Synced
            } else {
                UserSource::Local
            }
        }),
        user_sync: filter.user_sync.clone(),
    }
}

/// True if every condition holds.
pub(crate) fn matches(filter: &UserFilter, user: &User) -> bool {
    let origin = user.origin.as_ref();
    let is = |wanted: Option<bool>, actual: bool| wanted.is_none_or(|wanted| wanted == actual);
    (filter.states.is_empty() || filter.states.contains(&user.state))
        && is(filter.synced, origin.is_some())
        && is(filter.blocked, user.block.is_some())
        && is(filter.owner, user.owner)
        && filter
            .user_sync
            .as_ref()
            .is_none_or(|id| origin.is_some_and(|origin| origin.user_sync == *id))
        && filter
            .directory
            .as_ref()
            .is_none_or(|id| origin.is_some_and(|origin| origin.directory == *id))
        && filter.role.as_ref().is_none_or(|role| *role == user.profile.role)
        && filter
            .prefix
            .as_ref()
            .is_none_or(|prefix| has_prefix(user, prefix))
        && filter
            .external_id
            .as_ref()
            .is_none_or(|id| origin.is_some_and(|origin| origin.external_id.to_string() == *id))
}

fn has_prefix(user: &User, prefix: &str) -> bool {
    let prefix = normalize(prefix);
    let profile = &user.profile;
    [
        Some(&profile.login),
        profile.email.as_ref(),
        profile.display_name.as_ref(),
    ]
    .into_iter()
    .flatten()
    .any(|text| normalize(text).starts_with(&prefix))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use chrono::DateTime;
    use rollcall_core::id::{TenantId, UserId, Uuid};
    use rollcall_core::user::{Profile, UserState};

    use super::*;

    #[test]
    fn every_condition_must_hold() {
        let user = User {
            tenant: TenantId::parse("acme").unwrap(),
            id: UserId(Uuid::from_u128(1)),
            origin: None,
            profile: Profile {
                login: "Ada".into(),
                email: Some("lovelace@example.com".into()),
                role: "admin".into(),
                ..Profile::default()
            },
            state: UserState::Active,
            state_reason: None,
            owner: true,
            block: None,
            revision: 1,
            create_time: DateTime::UNIX_EPOCH,
            update_time: DateTime::UNIX_EPOCH,
        };
        let any = UserFilter::default;
        for (expected, filter) in [
            (true, any()),
            (
                true,
                UserFilter {
                    prefix: Some("\u{ff21}d".into()),
                    ..any()
                },
            ),
            (
                true,
                UserFilter {
                    prefix: Some("LOVE".into()),
                    owner: Some(true),
                    ..any()
                },
            ),
            (
                false,
                UserFilter {
                    prefix: Some("da".into()),
                    ..any()
                },
            ),
            (
                false,
                UserFilter {
                    owner: Some(false),
                    ..any()
                },
            ),
            (
                false,
                UserFilter {
                    synced: Some(true),
                    ..any()
                },
            ),
            (
                false,
                UserFilter {
                    blocked: Some(true),
                    ..any()
                },
            ),
            (
                true,
                UserFilter {
                    role: Some("admin".into()),
                    ..any()
                },
            ),
            (
                false,
                UserFilter {
                    role: Some("Admin".into()),
                    ..any()
                },
            ),
            (
                true,
                UserFilter {
                    states: vec![UserState::Active, UserState::Archived],
                    ..any()
                },
            ),
            (
                false,
                UserFilter {
                    states: vec![UserState::Deactivated, UserState::Archived],
                    ..any()
                },
            ),
            (
                false,
                UserFilter {
                    external_id: Some("x".into()),
                    ..any()
                },
            ),
        ] {
            assert_eq!(matches(&filter, &user), expected, "{filter:?}");
        }
    }
}
