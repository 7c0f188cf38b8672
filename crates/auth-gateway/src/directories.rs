//! The directories that this process has open, and whether they lately answered. Each has its own
//! connections and limits, so that a dead one costs its own tenant only.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rollcall_core::dialect::Dialect;
use rollcall_core::directory::Directory;
use rollcall_core::error::{Error, Reason};
use rollcall_core::id::{DirectoryId, TenantId};
use rollcall_ldap::{DirectoryConfig, EgressPolicy, LdapDirectory, LdapError, PoolLimits};
use rollcall_proto::resource_name;
use rollcall_store::Store;
use tokio::sync::OnceCell;

use crate::login::outcome::unsent;

/// After an answer, a directory counts as reachable for this long.
const TRUST_ANSWER: Duration = Duration::from_secs(1);
/// Connections of a directory that nobody has used for this long are given up.
const MAX_UNUSED: Duration = Duration::from_secs(15 * 60);

/// The open directories.
pub struct Directories {
    store: Store,
    egress: Arc<EgressPolicy>,
    limits: PoolLimits,
    open: Mutex<HashMap<(TenantId, DirectoryId), Kept>>,
}

/// One directory at one revision.
pub struct OpenDirectory {
    /// Its connections.
    pub ldap: LdapDirectory,
    /// When it last answered, unless an attempt to use it has failed since.
    answered: Mutex<Option<Instant>>,
    /// The trees where groups may be, once they were read.
    contexts: OnceCell<Vec<String>>,
}

struct Kept {
    /// What the handle was made from: a change of either makes a new one.
    version: (i64, Option<Dialect>),
    opened: Arc<OpenDirectory>,
    last_used: Instant,
}

impl OpenDirectory {
    /// Notes what became of the last attempt to use it.
    pub fn note(&self, failure: Option<&LdapError>) {
        let answered = match failure {
            None => Some(Instant::now()),
            Some(error) if error.is_host_failure() || *error == LdapError::CircuitOpen => None,
            Some(_) => return,
        };
        *self.answered.lock().unwrap_or_else(PoisonError::into_inner) = answered;
    }

    /// The trees where groups may be.
    ///
    /// # Errors
    /// The root DSE cannot be read.
    pub async fn contexts(&self, deadline: tokio::time::Instant) -> Result<&[String], LdapError> {
        let read = || async { Ok(self.ldap.root_dse(deadline).await?.data_contexts()) };
        self.contexts.get_or_try_init(read).await.map(Vec::as_slice)
    }

    /// It answered a moment ago, and has not failed since.
    pub fn answers(&self) -> bool {
        let answered = *self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        answered.is_some_and(|time| time.elapsed() < TRUST_ANSWER)
    }
}

impl Directories {
    /// None is open yet; `egress` says where any of them may be.
    pub fn new(store: Store, egress: EgressPolicy, limits: PoolLimits) -> Self {
        Self {
            store,
            egress: Arc::new(egress),
            limits,
            open: Mutex::default(),
        }
    }

    /// The connections of a directory. Nothing is sent yet.
    ///
    /// # Errors
    /// `DIRECTORY_MISCONFIGURED` if settings or secrets cannot be used; what the store says.
    pub async fn open(&self, directory: &Directory) -> Result<Arc<OpenDirectory>, Error> {
        let key = (directory.tenant.clone(), directory.id.clone());
        let version = (directory.revision, directory.observed.dialect);
        if let Some(kept) = self.lock().get_mut(&key).filter(|kept| kept.version == version) {
            kept.last_used = Instant::now();
            return Ok(Arc::clone(&kept.opened));
        }
        let name = resource_name::directory(&directory.tenant, &directory.id);
        let Some(bind_password) = self.store.bind_password(&directory.tenant, &directory.id).await? else {
            let message = "the directory has no bind password";
            return Err(Error::new(Reason::DirectoryMisconfigured, message).with("resource", name));
        };
        let config = DirectoryConfig {
            settings: directory.settings.clone(),
            bind_password,
            client_key: self.store.client_key(&directory.tenant, &directory.id).await?,
            egress: Arc::clone(&self.egress),
            limits: self.limits,
            dialect: directory.observed.dialect,
        };
        let ldap = LdapDirectory::new(config).map_err(|error| unsent(&error, &name))?;
        let opened = Arc::new(OpenDirectory {
            ldap,
            answered: Mutex::default(),
            contexts: OnceCell::new(),
        });
        Ok(self.keep(key, version, opened))
    }

    /// The connections of a directory at the revision that is open here, or else at this one.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_any(&self, directory: &Directory) -> Result<Arc<OpenDirectory>, Error> {
        let key = (directory.tenant.clone(), directory.id.clone());
        if let Some(kept) = self.lock().get(&key) {
            return Ok(Arc::clone(&kept.opened));
        }
        self.open(directory).await
    }

    /// Closes connections that are not used any more. To be called now and then.
    pub fn sweep(&self) {
        let now = Instant::now();
        let mut open = self.lock();
        open.retain(|_, kept| now.duration_since(kept.last_used) < MAX_UNUSED);
        open.values().for_each(|kept| kept.opened.ldap.sweep());
    }

    /// Keeps a handle, unless another call was faster with the same version or a newer one.
    fn keep(
        &self,
        key: (TenantId, DirectoryId),
        version: (i64, Option<Dialect>),
        opened: Arc<OpenDirectory>,
    ) -> Arc<OpenDirectory> {
        let kept = Kept {
            version,
            opened: Arc::clone(&opened),
            last_used: Instant::now(),
        };
        match self.lock().entry(key) {
            Entry::Occupied(there) if there.get().version == version => Arc::clone(&there.get().opened),
            Entry::Occupied(there) if there.get().version.0 > version.0 => opened,
            Entry::Occupied(mut there) => {
                there.insert(kept);
                opened
            }
            Entry::Vacant(free) => {
                free.insert(kept);
                opened
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(TenantId, DirectoryId), Kept>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
