//! The directories that a process has open. Settings and secrets come from the store; connections are shared by all who use
//! the same directory at the same revision. Each has its own limits, so that a dead one costs its own tenant only.

mod keeper;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rollcall_core::dialect::Dialect;
use rollcall_core::directory::{Directory, DirectorySettings};
use rollcall_core::error::{Error, Reason};
use rollcall_core::id::{DirectoryId, TenantId};
use rollcall_core::revision::Revision;
use rollcall_core::secret::{Password, SecretBytes};
use rollcall_ldap::{
    ConnectionLimit, DirectoryConfig, EgressPolicy, HostStatus, LdapDirectory, LdapError, Load, PoolLimits,
    Resolver,
};
use rollcall_proto::resource_name;
use rollcall_runtime::clock::Clock;
use rollcall_runtime::descriptors::Descriptors;
use rollcall_store::Store;
use tokio::time::{Instant, timeout_at};

use crate::failure::Wording;
use keeper::Keeper;

/// After an answer, a directory counts as reachable for this long.
const TRUST_ANSWER: Duration = Duration::from_secs(1);
/// What a server says of itself is read again after this time: the server may be replaced, and its trees may change.
const TRUST_SERVER: Duration = Duration::from_secs(60);
/// The expiry of the bind account's password is read again after this time.
const TRUST_EXPIRY: Duration = Duration::from_hours(24);
/// A directory that was not used for this long is closed.
const MAX_UNUSED: Duration = Duration::from_secs(15 * 60);

/// The directories that this process has open. Clones share them.
#[derive(Clone)]
pub struct Directories {
    store: Store,
    clock: Clock,
    egress: Arc<EgressPolicy>,
    resolver: Resolver,
    wording: Wording,
    connections: ConnectionLimit,
    open: Arc<Mutex<HashMap<Key, Kept>>>,
}

/// One directory at one revision.
pub struct OpenDirectory {
    /// Its connections.
    pub ldap: LdapDirectory,
    /// What kind of server a check has seen there.
    checked: Option<Dialect>,
    /// When it last answered, unless an attempt to use it has failed since.
    answered: Mutex<Option<Instant>>,
    /// What the server said of itself, and when.
    server: tokio::sync::Mutex<Option<(Instant, Server)>>,
    /// When the expiry of the bind account's password was last read.
    expiry_read: Mutex<Option<Instant>>,
}

/// What a server says of itself.
#[derive(Clone, Debug)]
struct Server {
    dialect: Dialect,
    naming_contexts: Arc<[String]>,
}

type Key = (TenantId, DirectoryId);
/// The directory's revision and kind that a handle was made from. If either changes, a new one is made.
type Version = (Revision, Option<Dialect>);

struct Kept {
    version: Version,
    opened: Arc<OpenDirectory>,
    last_used: Instant,
}

impl OpenDirectory {
    /// Notes the result of the last attempt to use it.
    pub fn note(&self, failure: Option<&LdapError>) {
        let answered = match failure {
            None => Some(Instant::now()),
            Some(error) if error.is_host_failure() || *error == LdapError::CircuitOpen => None,
            Some(_) => return,
        };
        *self.answered.lock() = answered;
    }

    /// Whether it has answered a moment ago, and not failed since.
    pub fn answers(&self) -> bool {
        let answered = *self.answered.lock();
        answered.is_some_and(|time| time.elapsed() < TRUST_ANSWER)
    }

    /// Whether the expiry of the bind account's password is to be read, since it was not read within the last day.
    pub fn wants_expiry(&self) -> bool {
        let read = *self.expiry_read.lock();
        read.is_none_or(|time| time.elapsed() >= TRUST_EXPIRY)
    }

    /// Notes that the expiry was read now.
    pub fn note_expiry(&self) {
        *self.expiry_read.lock() = Some(Instant::now());
    }

    /// The kind of server: as a check has found it, or otherwise as the server says.
    ///
    /// # Errors
    /// The root DSE cannot be read.
    pub async fn dialect(&self, deadline: Instant) -> Result<Dialect, LdapError> {
        match self.checked {
            Some(dialect) => Ok(dialect),
            None => Ok(self.server(deadline).await?.dialect),
        }
    }

    /// The trees that the server has, where groups may be.
    ///
    /// # Errors
    /// The root DSE cannot be read.
    pub async fn naming_contexts(&self, deadline: Instant) -> Result<Arc<[String]>, LdapError> {
        Ok(self.server(deadline).await?.naming_contexts)
    }

    async fn server(&self, deadline: Instant) -> Result<Server, LdapError> {
        let Ok(mut known) = timeout_at(deadline, self.server.lock()).await else {
            return Err(LdapError::Timeout);
        };
        if let Some((time, server)) = known.as_ref()
            && time.elapsed() < TRUST_SERVER
        {
            return Ok(server.clone());
        }
        let root = self.ldap.root_dse(deadline).await?;
        let server = Server {
            dialect: root.dialect,
            naming_contexts: root.data_naming_contexts().into(),
        };
        *known = Some((Instant::now(), server.clone()));
        Ok(server)
    }
}

impl Directories {
    /// A set without open directories. `egress` limits where directories may be; `wording` turns failures into errors
    /// for the users of a directory.
    pub fn new(store: Store, clock: Clock, egress: EgressPolicy, wording: Wording) -> Self {
        Self {
            store,
            clock,
            egress: Arc::new(egress),
            resolver: Resolver::system(),
            wording,
            connections: ConnectionLimit::new(Descriptors::allowed().for_directories()),
            open: Arc::default(),
        }
    }

    /// The connections of a stored directory, whether or not it may be used. Nothing is sent yet.
    ///
    /// # Errors
    /// `DIRECTORY_MISCONFIGURED` if settings or secrets cannot be used; what the store says.
    pub async fn open(&self, directory: &Directory) -> Result<Arc<OpenDirectory>, Error> {
        let version = (directory.revision, directory.observed.dialect);
        if let Some(opened) = self.kept(directory, |kept| kept.version == version) {
            return Ok(opened);
        }
        let config = self.stored_config(directory).await?;
        let name = resource_name::directory(&directory.tenant, &directory.id);
        let ldap = LdapDirectory::new(config).map_err(|error| (self.wording)(&error, &name))?;
        let opened = OpenDirectory {
            ldap,
            checked: directory.observed.dialect,
            answered: Mutex::default(),
            server: tokio::sync::Mutex::default(),
            expiry_read: Mutex::default(),
        };
        Ok(self.keep(key(directory), version, Arc::new(opened)))
    }

    /// The connections of a directory: at whatever revision it is open here, or else at this one.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_any(&self, directory: &Directory) -> Result<Arc<OpenDirectory>, Error> {
        match self.kept(directory, |_| true) {
            Some(opened) => Ok(opened),
            None => self.open(directory).await,
        }
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
            bind_password: Arc::new(bind_password),
            password_keeper: None,
            client_key,
            egress: Arc::clone(&self.egress),
            resolver: self.resolver.clone(),
            limits: PoolLimits::default(),
            connections: self.connections.clone(),
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
            return Err(Error::new(Reason::DirectoryMisconfigured, message).with("resource", name));
        };
        let client_key = self.store.client_key(tenant, id).await?;
        let (settings, dialect) = (directory.settings.clone(), directory.observed.dialect);
        Ok(DirectoryConfig {
            password_keeper: Some(Arc::new(Keeper::of(&self.store, &self.clock, directory))),
            ..self.config(settings, bind_password, client_key, dialect)
        })
    }

    /// Calls `show` for each open directory with how much is under way there and the status of its hosts.
    pub(crate) fn each(&self, mut show: impl FnMut(Load, &[HostStatus])) {
        let open: Vec<_> = self
            .open
            .lock()
            .values()
            .map(|kept| Arc::clone(&kept.opened))
            .collect();
        for opened in open {
            show(opened.ldap.load(), &opened.ldap.host_status());
        }
    }

    /// What this process has seen of each host of the directory; `None` while it does not use the directory.
    pub fn host_status(&self, directory: &Directory) -> Option<Vec<HostStatus>> {
        let open = self.open.lock();
        let kept = open.get(&key(directory))?;
        (kept.version.0 == directory.revision).then(|| kept.opened.ldap.host_status())
    }

    /// Closes connections that are not used any more. Call it regularly.
    pub fn sweep(&self) {
        let mut open = self.open.lock();
        open.retain(|_, kept| kept.last_used.elapsed() < MAX_UNUSED);
        open.values().for_each(|kept| kept.opened.ldap.sweep());
    }

    /// The open handle of the directory, if it fits. Asking counts as use.
    fn kept(&self, directory: &Directory, wanted: impl Fn(&Kept) -> bool) -> Option<Arc<OpenDirectory>> {
        let mut open = self.open.lock();
        let kept = open.get_mut(&key(directory)).filter(|kept| wanted(kept))?;
        kept.last_used = Instant::now();
        Some(Arc::clone(&kept.opened))
    }

    /// Keeps a handle. If another call was faster with the same version, returns that one's handle. A handle of an
    /// older revision does not replace a newer one.
    fn keep(&self, key: Key, version: Version, opened: Arc<OpenDirectory>) -> Arc<OpenDirectory> {
        let kept = Kept {
            version,
            opened: Arc::clone(&opened),
            last_used: Instant::now(),
        };
        match self.open.lock().entry(key) {
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
}

fn key(directory: &Directory) -> Key {
    (directory.tenant.clone(), directory.id.clone())
}
