//! People whom no user sync of a tenant takes from a directory any more, since they were erased and are not to come back: by
//! keyed hash of their external ids, so that nobody who reads the list learns whose they are.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use crate::external_id::ExternalId;
use crate::id::{DirectoryId, TenantId};
use crate::mac::{MacKey, Tag};

/// The exclusion list of a directory. Clones share it.
#[derive(Clone, Default)]
pub struct Exclusions(Option<Arc<List>>);

struct List {
    tenant: TenantId,
    directory: DirectoryId,
    key: MacKey,
    tags: HashSet<Tag>,
}

impl Exclusions {
    /// The exclusion list of a directory. [`tag`] made its entries with this key.
    pub fn new(tenant: &TenantId, directory: &DirectoryId, key: &MacKey, tags: HashSet<Tag>) -> Self {
        Self((!tags.is_empty()).then(|| {
            Arc::new(List {
                tenant: tenant.clone(),
                directory: directory.clone(),
                key: key.clone(),
                tags,
            })
        }))
    }

    /// Whether nobody is excluded.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Whether the person with this id is not to be taken.
    pub fn has(&self, id: &ExternalId) -> bool {
        self.0.as_ref().is_some_and(|list| {
            list.tags
                .contains(&tag(&list.key, &list.tenant, &list.directory, id))
        })
    }
}

/// Stands for a person of a directory.
pub fn tag(key: &MacKey, tenant: &TenantId, directory: &DirectoryId, id: &ExternalId) -> Tag {
    key.tag(&[
        b"excluded person",
        tenant.as_str().as_bytes(),
        directory.as_str().as_bytes(),
        id.kind().attribute().as_bytes(),
        id.bytes(),
    ])
}

impl fmt::Debug for Exclusions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let people = self.0.as_ref().map_or(0, |list| list.tags.len());
        write!(formatter, "Exclusions({people})")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::external_id::IdKind;

    #[test]
    fn a_person_is_excluded_by_id_in_one_directory_of_one_tenant() {
        let key = MacKey::new(&[7; 32]);
        let tenant = |id: &str| TenantId::parse(id).unwrap();
        let directory = |id: &str| DirectoryId::parse(id).unwrap();
        let ada = ExternalId::from_bytes(IdKind::EntryUuid, &[1; 16]).unwrap();
        let eve = ExternalId::from_bytes(IdKind::EntryUuid, &[2; 16]).unwrap();
        let same_bytes = ExternalId::from_bytes(IdKind::IpaUniqueId, &[1; 16]).unwrap();
        let tags = HashSet::from([tag(&key, &tenant("acme"), &directory("hq"), &ada)]);
        let list = |of: &str, at: &str| Exclusions::new(&tenant(of), &directory(at), &key, tags.clone());
        assert!(list("acme", "hq").has(&ada));
        assert!(!list("acme", "hq").has(&eve));
        assert!(!list("acme", "hq").has(&same_bytes));
        assert!(!list("acme", "branch").has(&ada));
        assert!(!list("evil", "hq").has(&ada));
        assert!(!Exclusions::default().has(&ada));
    }
}
