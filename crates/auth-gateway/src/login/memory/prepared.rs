//! What a user sync's settings boil down to for a login, worked out once while they are in force.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rollcall_core::id::{TenantId, UserSyncId};
use rollcall_core::identifier::LoginPolicy;
use rollcall_core::mapping::Mapping;
use rollcall_core::user_sync::UserSyncSettings;
use rollcall_store::LoginConfig;

/// Syncs kept; beyond it all are worked out anew.
const CAPACITY: usize = 10_000;

/// The mapping of a sync and the attributes that it reads.
pub struct Prepared {
    /// The mapping.
    pub mapping: Mapping,
    /// What it reads.
    pub attributes: Vec<String>,
}

/// The prepared syncs, each with the settings that were in force when it was last asked for.
pub struct PreparedSyncs {
    policy: LoginPolicy,
    kept: Mutex<HashMap<Key, Kept>>,
}

type Key = (TenantId, UserSyncId);
type Kept = (Arc<UserSyncSettings>, Arc<Prepared>);

impl PreparedSyncs {
    /// Maps logins under this policy.
    pub fn new(policy: LoginPolicy) -> Self {
        Self {
            policy,
            kept: Mutex::default(),
        }
    }

    /// The settings in force of a sync.
    pub fn get(&self, config: &LoginConfig) -> Arc<Prepared> {
        let (sync, in_force) = (&config.user_sync, &config.in_force);
        let key = (sync.tenant.clone(), sync.id.clone());
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((settings, prepared)) = kept.get(&key)
            && (Arc::ptr_eq(settings, in_force) || settings == in_force)
        {
            return Arc::clone(prepared);
        }
        let mapping = Mapping::new(in_force, self.policy.clone());
        let attributes = mapping.attributes();
        let prepared = Arc::new(Prepared { mapping, attributes });
        if kept.len() >= CAPACITY {
            kept.clear();
        }
        kept.insert(key, (Arc::clone(in_force), Arc::clone(&prepared)));
        prepared
    }
}
