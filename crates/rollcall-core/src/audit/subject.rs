//! Which resources an audit event is about.

use crate::audit::AuditKind;
use crate::id::{DirectoryId, TenantId, UserId, UserSyncId};

/// What an audit event can be found by: the person, the user sync and the directory that it is about.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Subject {
    /// The person.
    pub user: Option<UserId>,
    /// The user sync; for a run, the one that it is of.
    pub user_sync: Option<UserSyncId>,
    /// The directory.
    pub directory: Option<DirectoryId>,
}

impl Subject {
    /// Reads the name of a resource, for instance `tenants/acme/userSyncs/staff/runs/1`: its tenant, and what it is or
    /// lies under. `None` if it does not belong to a tenant.
    pub(crate) fn of_resource(name: &str) -> Option<(TenantId, Self)> {
        let mut parts = name.split('/');
        let tenant = (parts.next()? == "tenants")
            .then(|| TenantId::parse(parts.next()?))
            .flatten()?;
        let mut subject = Self::default();
        match (parts.next(), parts.next()) {
            (Some("users"), Some(id)) => subject.user = UserId::parse(id),
            (Some("userSyncs"), Some(id)) => subject.user_sync = UserSyncId::parse(id),
            (Some("directories"), Some(id)) => subject.directory = DirectoryId::parse(id),
            _ => {}
        }
        Some((tenant, subject))
    }

    /// Whether it names no person, no user sync and no directory.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

impl AuditKind {
    /// What the event can be found by.
    pub fn subject(&self) -> Subject {
        match self {
            Self::Login {
                user,
                user_sync,
                directory,
                ..
            } => Subject {
                user: *user,
                user_sync: user_sync.clone(),
                directory: directory.clone(),
            },
            Self::Change { resource, .. } => Subject::of_resource(resource)
                .map(|(_, subject)| subject)
                .unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_name_tells_what_it_is_or_lies_under() {
        let of =
            |name: &str| Subject::of_resource(name).map(|(tenant, subject)| (tenant.to_string(), subject));
        assert_eq!(of("tenants/acme").unwrap(), ("acme".into(), Subject::default()));
        let run = of("tenants/acme/userSyncs/staff/runs/1").unwrap().1;
        assert_eq!(run.user_sync, UserSyncId::parse("staff"));
        let id = "00000000-0000-0000-0000-000000000001";
        let user = of(&format!("tenants/acme/users/{id}")).unwrap().1;
        assert_eq!(user.user, UserId::parse(id));
        let directory = of("tenants/acme/directories/hq").unwrap().1;
        assert_eq!(directory.directory, DirectoryId::parse("hq"));
        for no_name in ["", "tenants", "tenants/", "tenants/ACME", "users/1"] {
            assert_eq!(of(no_name), None, "{no_name}");
        }
        assert!(of("tenants/acme/users/ada").unwrap().1.is_nothing());
    }
}
