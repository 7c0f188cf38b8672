//! What a login needs of a user sync's settings, worked out once while they are in force.

use std::sync::Arc;

use quick_cache::sync::Cache;
use rollcall_core::dialect::Dialect;
use rollcall_core::id::{TenantId, UserSyncId};
use rollcall_core::identifier::LoginPolicy;
use rollcall_core::reader::EntryReader;
use rollcall_core::user_sync::UserSyncSettings;
use rollcall_service::reading;
use rollcall_store::LoginConfig;

/// Syncs that are kept. Beyond it, the least used are worked out anew.
const CAPACITY: usize = 10_000;

/// How a sync reads entries.
pub struct Prepared {
    /// The same as a run's.
    pub reader: EntryReader,
    /// The mapped attributes.
    pub attributes: Vec<String>,
}

/// The prepared syncs, each with the settings that were in force when it was last asked for.
pub struct PreparedSyncs {
    policy: LoginPolicy,
    kept: Cache<Key, Kept>,
}

type Key = (TenantId, UserSyncId);
type Kept = (Arc<UserSyncSettings>, Arc<Prepared>);

impl PreparedSyncs {
    /// Maps logins under this policy.
    pub fn new(policy: LoginPolicy) -> Self {
        Self {
            policy,
            kept: Cache::new(CAPACITY),
        }
    }

    /// The settings in force of a sync, on a server of this kind.
    pub fn get(&self, config: &LoginConfig, dialect: Dialect) -> Arc<Prepared> {
        let (sync, in_force) = (&config.user_sync, &config.in_force);
        let key = (sync.tenant.clone(), sync.id.clone());
        let hidden = reading::hidden_state(&config.directory, Some(&sync.id));
        if let Some((settings, prepared)) = self.kept.get(&key)
            && prepared.reader.dialect() == dialect
            && prepared.reader.hidden() == hidden
            && (Arc::ptr_eq(&settings, in_force) || settings == *in_force)
        {
            return prepared;
        }
        let reader = reading::reader(dialect, &config.directory, Some(&sync.id), in_force, &self.policy);
        let attributes = reader.mapping().attributes();
        let prepared = Arc::new(Prepared { reader, attributes });
        self.kept
            .insert(key, (Arc::clone(in_force), Arc::clone(&prepared)));
        prepared
    }
}
