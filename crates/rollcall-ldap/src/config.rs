//! What it takes to use a directory.

use std::sync::Arc;
use std::time::Duration;

use rollcall_core::dialect::Dialect;
use rollcall_core::directory::DirectorySettings;
use rollcall_core::secret::{Password, SecretBytes};

use crate::connection_limit::ConnectionLimit;
use crate::egress::EgressPolicy;
use crate::password_keeper::PasswordKeeper;
use crate::resolver::Resolver;

/// What it takes to use a directory.
pub struct DirectoryConfig {
    /// What the admin set. Must have passed validation.
    pub settings: DirectorySettings,
    /// The service account's password.
    pub bind_password: Arc<Password>,
    /// Knows whether there is another password if that one is refused.
    pub password_keeper: Option<Arc<dyn PasswordKeeper>>,
    /// PEM key of the client certificate in the settings.
    pub client_key: Option<SecretBytes>,
    /// Where connections may go.
    pub egress: Arc<EgressPolicy>,
    /// Resolves the names of hosts.
    pub resolver: Resolver,
    /// The pools' limits.
    pub limits: PoolLimits,
    /// How many connections this process may hold over all directories.
    pub connections: ConnectionLimit,
    /// What kind of server it is, if known.
    pub dialect: Option<Dialect>,
}

/// How many connections a directory may have and how long they live.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PoolLimits {
    /// Connections bound as the service account, and searches at a time.
    pub service: usize,
    /// Connections for password checks, and checks at a time.
    pub bind: usize,
    /// Operations of either kind that may wait for a connection; more fail at once.
    pub queue: usize,
    /// A connection unused for this long is closed. Below the servers' own limits.
    pub max_idle: Duration,
    /// A connection this old is closed.
    pub max_age: Duration,
}

impl Default for PoolLimits {
    /// 8 service connections, 16 for binds, 256 waiting, 50 s idle, 10 min old.
    fn default() -> Self {
        Self {
            service: 8,
            bind: 16,
            queue: 256,
            max_idle: Duration::from_secs(50),
            max_age: Duration::from_secs(600),
        }
    }
}
