//! Opens directories: settings and secrets come from the store, connections are shared by all who use the
//! same directory at the same revision.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rollcall_core::dialect::Dialect;
use rollcall_core::directory::{Directory, DirectorySettings};
use rollcall_core::error::{Error, Reason};
use rollcall_core::id::{DirectoryId, TenantId};
use rollcall_core::secret::{Password, SecretBytes};
use rollcall_ldap::{DirectoryConfig, EgressPolicy, HostStatus, LdapDirectory, PoolLimits};
use rollcall_proto::resource_name;
use rollcall_service::failure;
use rollcall_store::Store;

/// Connections of a directory that nobody has used for this long are given up.
const MAX_UNUSED: Duration = Duration::from_secs(15 * 60);

/// The directories that this process has open. Clones share them.
#[derive(Clone)]
pub struct Directories {
    store: Store,
    egress: Arc<EgressPolicy>,
    open: Arc<Mutex<HashMap<(TenantId, DirectoryId), Opened>>>,
}

struct Opened {
    /// What the handle was made from: a change of either makes a new one.
    version: (i64, Option<Dialect>),
    handle: LdapDirectory,
    last_used: Instant,
}

impl Directories {
    /// No directory is open yet; `egress` says where any of them may be.
    pub fn new(store: Store, egress: EgressPolicy) -> Self {
        Self {
            store,
            egress: Arc::new(egress),
            open: Arc::default(),
        }
    }

    /// The directory and its connections, for a run or a refresh. Nothing is sent yet.
    ///
    /// # Errors
    /// `TENANT_NOT_FOUND`, `DIRECTORY_NOT_FOUND`; `SYNC_DISABLED` while the tenant's add-on or the directory is
    /// switched off; `ENDPOINT_UNCONFIRMED`; `DIRECTORY_MISCONFIGURED` if settings or secrets cannot be used;
    /// what the store says.
    pub async fn open(
        &self,
        tenant: &TenantId,
        directory: &DirectoryId,
    ) -> Result<(Directory, LdapDirectory), Error> {
        if !self.store.tenant(tenant).await?.settings.user_sync_enabled {
            let message = "user sync is switched off for this tenant";
            return Err(refusal(
                Reason::SyncDisabled,
                message,
                &resource_name::tenant(tenant),
            ));
        }
        let directory = self.store.directory(tenant, directory).await?;
        let name = resource_name::directory(tenant, &directory.id);
        if directory.settings.disabled {
            return Err(refusal(
                Reason::SyncDisabled,
                "the directory is switched off",
                &name,
            ));
        }
        if !directory.endpoint_confirmed {
            let message = "the endpoint of the directory was changed and is not yet proven to be the same directory: \
                           run CheckConnection, or confirm it as a new directory";
            return Err(refusal(Reason::EndpointUnconfirmed, message, &name));
        }
        let handle = self.handle(&directory).await?;
        Ok((directory, handle))
    }

    /// The connections of a stored directory, whether or not it may be used for runs: for checks.
    ///
    /// # Errors
    /// `DIRECTORY_MISCONFIGURED` if settings or secrets cannot be used; what the store says.
    pub async fn handle(&self, directory: &Directory) -> Result<LdapDirectory, Error> {
        let key = (directory.tenant.clone(), directory.id.clone());
        let version = (directory.revision, directory.observed.dialect);
        if let Some(opened) = self
            .lock()
            .get_mut(&key)
            .filter(|opened| opened.version == version)
        {
            opened.last_used = Instant::now();
            return Ok(opened.handle.clone());
        }
        let config = self.stored_config(directory).await?;
        let name = resource_name::directory(&directory.tenant, &directory.id);
        let handle = LdapDirectory::new(config).map_err(|error| failure::for_admin(&error, &name))?;
        Ok(self.keep(key, version, handle))
    }

    /// What it takes to use a directory with settings or secrets that need not be stored.
    pub fn config(
        &self,
        settings: DirectorySettings,
        bind_password: Password,
        client_key: Option<SecretBytes>,
        dialect: Option<Dialect>,
    ) -> DirectoryConfig {
        DirectoryConfig {
            settings,
            bind_password,
            client_key,
            egress: Arc::clone(&self.egress),
            limits: PoolLimits::default(),
            dialect,
        }
    }

    /// What it takes to use a stored directory.
    ///
    /// # Errors
    /// `DIRECTORY_MISCONFIGURED` if there is no bind password; what the store says.
    pub async fn stored_config(&self, directory: &Directory) -> Result<DirectoryConfig, Error> {
        let (tenant, id) = (&directory.tenant, &directory.id);
        let Some(bind_password) = self.store.bind_password(tenant, id).await? else {
            let message = "the directory has no bind password: set it with UpdateDirectory";
            let name = resource_name::directory(tenant, id);
            return Err(refusal(Reason::DirectoryMisconfigured, message, &name));
        };
        let client_key = self.store.client_key(tenant, id).await?;
        Ok(self.config(
            directory.settings.clone(),
            bind_password,
            client_key,
            directory.observed.dialect,
        ))
    }

    /// What this process has seen of each host of the directory; `None` while it does not use the directory.
    pub fn host_status(&self, directory: &Directory) -> Option<Vec<HostStatus>> {
        let open = self.lock();
        let opened = open.get(&(directory.tenant.clone(), directory.id.clone()))?;
        (opened.version.0 == directory.revision).then(|| opened.handle.host_status())
    }

    /// Closes connections that are not used any more. To be called now and then.
    pub fn sweep(&self) {
        let now = Instant::now();
        let mut open = self.lock();
        open.retain(|_, opened| now.duration_since(opened.last_used) < MAX_UNUSED);
        open.values().for_each(|opened| opened.handle.sweep());
    }

    /// Keeps a handle unless another call was faster with the same version; that one is returned then.
    fn keep(
        &self,
        key: (TenantId, DirectoryId),
        version: (i64, Option<Dialect>),
        handle: LdapDirectory,
    ) -> LdapDirectory {
        let opened = Opened {
            version,
            handle: handle.clone(),
            last_used: Instant::now(),
        };
        match self.lock().entry(key) {
            Entry::Occupied(kept) if kept.get().version == version => kept.get().handle.clone(),
            // A reader of an old revision must not push out a newer one.
            Entry::Occupied(kept) if kept.get().version.0 > version.0 => handle,
            Entry::Occupied(mut kept) => {
                kept.insert(opened);
                handle
            }
            Entry::Vacant(free) => {
                free.insert(opened);
                handle
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(TenantId, DirectoryId), Opened>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn refusal(reason: Reason, message: &str, resource: &str) -> Error {
    Error::new(reason, message).with("resource", resource)
}
