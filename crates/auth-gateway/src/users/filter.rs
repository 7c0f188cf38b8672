//! Which users a list shows. The store filters by what it has an index or a column for; prefix and external id are
//! filtered here.

use rollcall_core::field::TextField;
use rollcall_core::identifier::normalize;
use rollcall_core::user::User;
use rollcall_proto::convert::user::UserFilter;
use rollcall_store::{self as store, UserSource};

/// The part of the filter that the store evaluates.
pub(crate) fn for_store(filter: &UserFilter) -> store::UserFilter {
    store::UserFilter {
        states: filter.states.clone(),
        source: filter.synced.map(|synced| {
            if synced {
                UserSource::Synced
            } else {
                UserSource::Local
            }
        }),
        user_sync: filter.user_sync.clone(),
        directory: filter.directory.clone(),
        role: filter.role.clone(),
        owner: filter.owner,
        blocked: filter.blocked,
        no_login_since: filter.no_login_since,
        never_logged_in: filter.never_logged_in,
    }
}

/// True if the user fits the part of the filter that the store does not evaluate.
pub(crate) fn matches(filter: &UserFilter, user: &User) -> bool {
    let is_id = |id: &String| {
        let origin = user.origin.as_ref();
        origin.is_some_and(|origin| origin.external_id.to_string() == *id)
    };
    filter
        .prefix
        .as_ref()
        .is_none_or(|prefix| has_prefix(user, prefix))
        && filter.external_id.as_ref().is_none_or(is_id)
}

fn has_prefix(user: &User, prefix: &str) -> bool {
    let prefix = normalize(prefix);
    let profile = &user.profile;
    [
        Some(profile.login.as_str()),
        profile.email.as_deref(),
        profile.text(TextField::DisplayName),
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
    use rollcall_core::revision::Revision;
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
            login_ambiguous: false,
            login_asked_by: None,
            revision: Revision::FIRST,
            create_time: DateTime::UNIX_EPOCH,
            update_time: DateTime::UNIX_EPOCH,
        };
        let any = UserFilter::default;
        let with_prefix = |prefix: &str| UserFilter {
            prefix: Some(prefix.into()),
            ..any()
        };
        for (expected, filter) in [
            (true, any()),
            (true, with_prefix("\u{ff21}d")),
            (true, with_prefix("LOVE")),
            (false, with_prefix("da")),
            (
                false,
                UserFilter {
                    external_id: Some("x".into()),
                    ..with_prefix("ada")
                },
            ),
        ] {
            assert_eq!(matches(&filter, &user), expected, "{filter:?}");
        }
    }
}
