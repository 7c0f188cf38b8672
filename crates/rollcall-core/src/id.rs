//! Identifiers of resources. A tenant's resources carry ids that a person may choose; users and runs carry
//! UUIDs that Rollcall makes.

use std::fmt;

pub use uuid::Uuid;

/// Longest resource id, in bytes. RFC 1034 labels, as AIP-122 asks.
pub(crate) const MAX_RESOURCE_ID_BYTES: usize = 63;

/// True if `text` is `[a-z]([a-z0-9-]{0,61}[a-z0-9])?`.
pub fn is_resource_id(text: &str) -> bool {
    let bytes = text.as_bytes();
    let Some((first, rest)) = bytes.split_first() else {
        return false;
    };
    bytes.len() <= MAX_RESOURCE_ID_BYTES
        && first.is_ascii_lowercase()
        && rest
            .iter()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
        && !text.ends_with('-')
}

macro_rules! resource_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name(String);

        impl $name {
            /// Accepts `[a-z]([a-z0-9-]{0,61}[a-z0-9])?`, nothing else.
            pub fn parse(text: &str) -> Option<Self> {
                is_resource_id(text).then(|| Self(text.to_owned()))
            }

            /// An id for a resource whose creator gave none: `prefix` and 80 of the random bits.
            pub fn generate(random: Uuid) -> Self {
                let hex = random.simple().to_string();
                Self(format!("{}-{}", Self::PREFIX, &hex[12..]))
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

resource_id!(
    /// A customer organisation: the last part of `tenants/{tenant}`.
    TenantId
);
resource_id!(
    /// A tenant's directory: the last part of `tenants/{tenant}/directories/{directory}`.
    DirectoryId
);
resource_id!(
    /// A tenant's user sync: the last part of `tenants/{tenant}/userSyncs/{user_sync}`.
    UserSyncId
);

impl TenantId {
    const PREFIX: &str = "tenant";
}

impl DirectoryId {
    const PREFIX: &str = "directory";
}

impl UserSyncId {
    const PREFIX: &str = "sync";
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name(pub Uuid);

        impl $name {
            /// Accepts the 36 character form in lower case, nothing else.
            pub fn parse(text: &str) -> Option<Self> {
                let uuid = Uuid::try_parse(text).ok()?;
                (uuid.hyphenated().to_string() == text).then_some(Self(uuid))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }
    };
}

uuid_id!(
    /// A user: the last part of `tenants/{tenant}/users/{user}`. Kept for life, through absences too.
    UserId
);
uuid_id!(
    /// A sync run: the last part of `tenants/{tenant}/userSyncs/{user_sync}/runs/{run}`.
    RunId
);

/// Names one user sync of one tenant.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct UserSyncKey {
    /// The tenant.
    pub tenant: TenantId,
    /// The user sync within the tenant.
    pub user_sync: UserSyncId,
}

impl fmt::Display for UserSyncKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tenants/{}/userSyncs/{}", self.tenant, self.user_sync)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn resource_ids_follow_rfc_1034_labels() {
        for good in ["a", "acme", "a-1", &"a".repeat(63)] {
            assert!(TenantId::parse(good).is_some(), "{good}");
        }
        for bad in ["", "1a", "-a", "a-", "A", "a_b", "a/b", "ä", &"a".repeat(64)] {
            assert!(TenantId::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn generated_ids_are_valid() {
        let id = UserSyncId::generate(Uuid::from_u128(u128::MAX));
        assert_eq!(UserSyncId::parse(id.as_str()), Some(id));
    }

    #[test]
    fn user_ids_have_one_spelling() {
        let id = UserId(Uuid::from_u128(0xabc));
        assert_eq!(UserId::parse(&id.to_string()), Some(id));
        assert_eq!(UserId::parse(&id.to_string().to_uppercase()), None);
        assert_eq!(UserId::parse(&id.0.simple().to_string()), None);
    }
}
