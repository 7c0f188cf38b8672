//! One directory at one revision of its settings: its pools, its limits, and the operations on it.

mod by_id;
mod own;
mod search;
mod verify;

use std::sync::Arc;

use crate::circuit_breaker::HostStatus;
use crate::config::DirectoryConfig;
use crate::error::LdapError;
use crate::measure::Load;
use crate::pool::Pools;

pub use search::ReadRequest;
pub use verify::Verification;

/// A directory, ready for use. Clones share their connections; when the last one goes, they are closed.
#[derive(Clone)]
pub struct LdapDirectory {
    pub(crate) pools: Arc<Pools>,
}

impl LdapDirectory {
    /// Prepares a directory; nothing is sent yet.
    ///
    /// # Errors
    /// Certificates or keys that cannot be used, or no host at all.
    pub fn new(config: DirectoryConfig) -> Result<Self, LdapError> {
        Ok(Self {
            pools: Arc::new(Pools::new(config)?),
        })
    }

    /// What was seen of each host, in the order of the settings.
    pub fn host_status(&self) -> Vec<HostStatus> {
        self.pools.host_status()
    }

    /// How much is under way.
    pub fn load(&self) -> Load {
        self.pools.load()
    }

    /// Closes all connections that nobody uses.
    pub fn close_idle(&self) {
        self.pools.close_all_idle();
    }

    /// Closes connections that are idle for too long, too old or broken. Call it regularly.
    pub fn sweep(&self) {
        self.pools.sweep();
    }
}
