//! What a user sync's settings boil down to for a login, worked out once for each revision.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rollcall_core::id::{TenantId, UserSyncId};
use rollcall_core::identifier::LoginPolicy;
use rollcall_core::mapping::Mapping;
use rollcall_core::user_sync::UserSync;

/// Syncs kept; beyond it all are worked out anew.
const CAPACITY: usize = 10_000;

/// The mapping of a sync and the attributes that it reads.
pub struct Prepared {
    /// The mapping.
    pub mapping: Mapping,
    /// What it reads.
    pub attributes: Vec<String>,
}

/// The prepared syncs, each at the revision that was last asked for.
pub struct PreparedSyncs {
    policy: LoginPolicy,
    kept: Mutex<HashMap<Key, (i64, Arc<Prepared>)>>,
}

type Key = (TenantId, UserSyncId);

impl PreparedSyncs {
    /// Maps logins under this policy.
    pub fn new(policy: LoginPolicy) -> Self {
        Self {
            policy,
            kept: Mutex::default(),
        }
    }

    /// The sync at its revision.
    pub fn get(&self, sync: &UserSync) -> Arc<Prepared> {
        let key = (sync.tenant.clone(), sync.id.clone());
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((revision, prepared)) = kept.get(&key)
            && *revision == sync.revision
        {
            return Arc::clone(prepared);
        }
        let mapping = Mapping::new(&sync.settings, self.policy.clone());
        let attributes = mapping.attributes();
        let prepared = Arc::new(Prepared { mapping, attributes });
        if kept.len() >= CAPACITY {
            kept.clear();
        }
        kept.insert(key, (sync.revision, Arc::clone(&prepared)));
        prepared
    }
}
