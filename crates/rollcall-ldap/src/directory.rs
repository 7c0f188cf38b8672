//! One directory at one revision of its settings: its pools, its limits, and the operations on it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ldap3::controls::RawControl;
use rollcall_core::dialect::Dialect;
use rollcall_core::directory::DirectorySettings;
use rollcall_core::entry::Entry;
use rollcall_core::external_id::{ExternalId, IdKind};
use rollcall_core::secret::{Password, SecretBytes};
use rollcall_core::user_sync::SearchScope;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::bind::BindAnswer;
use crate::connection::{Connection, Query};
use crate::egress::EgressPolicy;
use crate::endpoint::Endpoint;
use crate::error::{BindError, LdapError, Misconfiguration};
use crate::gate::Gate;
use crate::guard::Limits;
use crate::guard::lane::Lane;
use crate::guard::link::Budget;
use crate::guard::violation::ProtocolViolation;
use crate::health::Health;
use crate::paging::{PagedSearch, SearchRequest, paged_results};
use crate::ranges;
use crate::result_code::{ResultClass, ResultCode};
use crate::root_dse::{self, RootDse};

/// For this long a refused service account is not tried again: each try may count towards its lockout.
const REFUSAL_MEMORY: Duration = Duration::from_secs(60);
/// Shorter waits than this say more about the caller's deadline than about the host.
const TELLING_WAIT: Duration = Duration::from_millis(900);
/// What a search for single entries may cost.
const SMALL_BYTES: u64 = 32 << 20;

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

/// What it takes to use a directory.
pub struct DirectoryConfig {
    /// What the admin set. Must have passed validation.
    pub settings: DirectorySettings,
    /// The service account's password.
    pub bind_password: Password,
    /// PEM key of the client certificate in the settings.
    pub client_key: Option<SecretBytes>,
    /// Where connections may go.
    pub egress: Arc<EgressPolicy>,
    /// The pools' limits.
    pub limits: PoolLimits,
    /// What kind of server it is, if known.
    pub dialect: Option<Dialect>,
}

/// A search for one entry whose DN is known.
#[derive(Clone, Debug)]
pub struct ReadRequest {
    /// The entry's DN.
    pub dn: String,
    /// The entry must match this filter to be found; `(objectClass=*)` always does.
    pub filter: String,
    /// The attributes to read.
    pub attributes: Vec<String>,
}

/// What a password check and the read that goes with it brought.
#[derive(Debug)]
pub struct Verification {
    /// The answer to the bind.
    pub bind: Result<BindAnswer, BindError>,
    /// The entry; `None` if there is none at that DN, or it does not match.
    pub read: Result<Option<Entry>, LdapError>,
}

/// Entries found by a small search.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Found {
    /// At most as many as were asked for.
    pub entries: Vec<Entry>,
    /// There are more.
    pub more: bool,
}

/// A directory, ready for use. Clones share their connections; when the last one goes, they are closed.
#[derive(Clone)]
pub struct LdapDirectory {
    inner: Arc<Inner>,
}

struct Inner {
    endpoint: Endpoint,
    hosts: Vec<Host>,
    bind_dn: String,
    bind_password: Password,
    operation_timeout: Duration,
    page_size: u32,
    dialect: Option<Dialect>,
    limits: PoolLimits,
    service_gate: Gate,
    bind_gate: Gate,
    refusal: Mutex<Option<(Instant, ResultCode)>>,
    /// For large messages: one connection at a time.
    lane: Arc<Semaphore>,
}

/// One host's idle connections and its health.
struct Host {
    service: Mutex<Vec<Connection>>,
    bind: Mutex<Vec<Connection>>,
    health: Health,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    Service,
    Bind,
}

impl LdapDirectory {
    /// Prepares a directory; nothing is sent yet.
    ///
    /// # Errors
    /// Certificates or keys that cannot be used, or no host at all.
    pub fn new(config: DirectoryConfig) -> Result<Self, LdapError> {
        let endpoint = Endpoint::new(&config.settings, config.client_key.as_ref(), config.egress)?;
        // With another host to turn to, the first failure is enough.
        let threshold = match endpoint.hosts.len() {
            0 => return Err(LdapError::Misconfigured(Misconfiguration::NoHost)),
            1 => 3,
            _ => 1,
        };
        let host = |_: &_| Host {
            service: Mutex::default(),
            bind: Mutex::default(),
            health: Health::new(threshold),
        };
        let hosts = endpoint.hosts.iter().map(host).collect();
        Ok(Self {
            inner: Arc::new(Inner {
                endpoint,
                hosts,
                bind_dn: config.settings.bind_dn,
                bind_password: config.bind_password,
                operation_timeout: config.settings.operation_timeout,
                page_size: config.settings.page_size,
                dialect: config.dialect,
                limits: config.limits,
                service_gate: Gate::new(config.limits.service, config.limits.queue),
                bind_gate: Gate::new(config.limits.bind, config.limits.queue),
                refusal: Mutex::default(),
                lane: Arc::new(Semaphore::new(1)),
            }),
        })
    }

    /// Starts a search in pages on the first host that can be used; all pages come from that host.
    ///
    /// # Errors
    /// No host can be used, or the service account is refused. Whatever happens later is in the outcome.
    pub async fn search(&self, request: SearchRequest) -> Result<PagedSearch, LdapError> {
        let deadline = Instant::now() + self.inner.endpoint.connect_timeout + self.inner.operation_timeout;
        let lease = self.service_lease(deadline).await?;
        Ok(PagedSearch::new(lease, request))
    }

    /// Reads one entry by its DN. Attributes that the server hands out in ranges of values are read to their
    /// end.
    ///
    /// # Errors
    /// No answer, or one that says neither "here" nor "not here".
    pub async fn read_entry(
        &self,
        request: &ReadRequest,
        deadline: Instant,
    ) -> Result<Option<Entry>, LdapError> {
        let query = read_query(request);
        let mut last = LdapError::CircuitOpen;
        for host in self.admitted() {
            match self.inner.read_on(host, &query, deadline).await {
                Err(error) if error.is_host_failure() && Instant::now() < deadline => last = error,
                answer => return answer,
            }
        }
        Err(last)
    }

    /// Searches for a few entries, without pages. A server's own size limit shows as `more`.
    ///
    /// # Errors
    /// No answer, or a refusal. A base that does not exist is `SearchRefused` with `noSuchObject`.
    pub async fn find(
        &self,
        base_dn: &str,
        scope: SearchScope,
        filter: &str,
        attributes: &[String],
        max_entries: u32,
        deadline: Instant,
    ) -> Result<Found, LdapError> {
        let query = Query {
            base: base_dn.to_owned(),
            scope,
            filter: filter.to_owned(),
            attributes: attributes.to_vec(),
            size_limit: max_entries,
        };
        let mut last = LdapError::CircuitOpen;
        for host in self.admitted() {
            match self.inner.find_on(host, &query, deadline).await {
                Err(error) if error.is_host_failure() && Instant::now() < deadline => last = error,
                answer => return answer,
            }
        }
        Err(last)
    }

    /// Finds the entry with this external id under any of the bases. On Active Directory the whole directory
    /// is searched, whatever the bases are.
    ///
    /// # Errors
    /// As [`find`](Self::find), but a base that does not exist just holds nothing.
    pub async fn find_by_external_id(
        &self,
        id: &ExternalId,
        base_dns: &[String],
        attributes: &[String],
        deadline: Instant,
    ) -> Result<Option<Entry>, LdapError> {
        if *id.kind() == IdKind::ObjectGuid {
            let dn = format!("<GUID={}>", hex(id.bytes()));
            let filter = "(objectClass=*)".to_owned();
            let request = ReadRequest {
                dn,
                filter,
                attributes: attributes.to_vec(),
            };
            return self.read_entry(&request, deadline).await;
        }
        let filter = id.filter().to_string();
        for base in base_dns {
            let found = self
                .find(base, SearchScope::Subtree, &filter, attributes, 2, deadline)
                .await;
            match found {
                Ok(found) => {
                    if let Some(entry) = found.entries.into_iter().next() {
                        return Ok(Some(entry));
                    }
                }
                Err(LdapError::SearchRefused(ResultCode::NO_SUCH_OBJECT)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Checks a password by a simple bind, on a connection that does nothing but binds. At most one bind
    /// reaches any server: the next host is tried only if nothing of the bind was sent.
    ///
    /// # Errors
    /// No answer; [`BindError::unsent`] says whether the server may have seen the bind.
    pub async fn verify_password(
        &self,
        name: &str,
        password: &Password,
        deadline: Instant,
    ) -> Result<BindAnswer, BindError> {
        let mut last = BindError {
            error: LdapError::CircuitOpen,
            unsent: true,
        };
        for host in self.admitted() {
            match self.inner.bind_on(host, name, password, deadline).await {
                Err(error) if error.unsent && error.error.is_host_failure() && Instant::now() < deadline => {
                    last = error;
                }
                answer => return answer,
            }
        }
        Err(last)
    }

    /// Checks a password and reads the entry, both at once and on the same host.
    pub async fn verify_and_read(
        &self,
        name: &str,
        password: &Password,
        request: &ReadRequest,
        deadline: Instant,
    ) -> Verification {
        let query = read_query(request);
        let failed = |error: LdapError| Verification {
            bind: Err(BindError {
                error: error.clone(),
                unsent: true,
            }),
            read: Err(error),
        };
        let mut last = failed(LdapError::CircuitOpen);
        for host in self.admitted() {
            // Both connections first, so that a host that cannot do the read never sees the bind.
            let leases = tokio::try_join!(
                self.inner.lease(host, Role::Service, deadline),
                self.inner.lease(host, Role::Bind, deadline),
            );
            let (mut service, mut bind) = match leases {
                Ok(leases) => leases,
                Err(error) if error.is_host_failure() && Instant::now() < deadline => {
                    last = failed(error);
                    continue;
                }
                Err(error) => return failed(error),
            };
            let (bind, read) = tokio::join!(
                self.inner.bind_with(&mut bind, name, password, deadline),
                self.inner.read_with(&mut service, &query, deadline),
            );
            match bind {
                Err(error) if error.unsent && error.error.is_host_failure() && Instant::now() < deadline => {
                    last = Verification {
                        bind: Err(error),
                        read,
                    };
                }
                bind => return Verification { bind, read },
            }
        }
        last
    }

    /// Reads what the server says about itself. A server that shows nothing is a generic one.
    ///
    /// # Errors
    /// As [`read_entry`](Self::read_entry).
    pub async fn root_dse(&self, deadline: Instant) -> Result<RootDse, LdapError> {
        let query = root_dse::query();
        let request = ReadRequest {
            dn: query.base,
            filter: query.filter,
            attributes: query.attributes,
        };
        let entry = self.read_entry(&request, deadline).await?;
        Ok(RootDse::from_entry(&entry.unwrap_or_default()))
    }

    /// True for each host, in the order of the settings, that is not resting after failures.
    pub fn hosts_usable(&self) -> Vec<bool> {
        self.inner
            .hosts
            .iter()
            .map(|host| !host.health.is_resting())
            .collect()
    }

    /// Closes connections that are idle for too long, too old or broken. To be called now and then.
    pub fn sweep(&self) {
        for host in &self.inner.hosts {
            for pool in [&host.service, &host.bind] {
                lock(pool).retain(|connection| self.inner.is_fresh(connection));
            }
        }
    }

    /// The hosts that may be tried now, by index, in order. Asked lazily: it marks probes.
    fn admitted(&self) -> impl Iterator<Item = usize> {
        let hosts = &self.inner.hosts;
        (0..hosts.len()).filter(|index| hosts[*index].health.admit(Instant::now()))
    }

    async fn service_lease(&self, deadline: Instant) -> Result<Lease, LdapError> {
        let mut last = LdapError::CircuitOpen;
        for host in self.admitted() {
            match self.inner.lease(host, Role::Service, deadline).await {
                Err(error) if error.is_host_failure() && Instant::now() < deadline => last = error,
                answer => return answer,
            }
        }
        Err(last)
    }
}

impl Inner {
    /// A connection from the pool, or a new one.
    async fn lease(self: &Arc<Self>, host: usize, role: Role, deadline: Instant) -> Result<Lease, LdapError> {
        let gate = match role {
            Role::Service => &self.service_gate,
            Role::Bind => &self.bind_gate,
        };
        let place = gate.enter(deadline).await?;
        let pooled = self.take_pooled(host, role);
        let connection = match pooled {
            Some(connection) => connection,
            None => self.open(host, role, deadline).await?,
        };
        Ok(Lease {
            connection: Some(connection),
            inner: self.clone(),
            host,
            role,
            _place: place,
        })
    }

    fn take_pooled(&self, host: usize, role: Role) -> Option<Connection> {
        let mut pool = lock(self.hosts[host].pool(role));
        while let Some(connection) = pool.pop() {
            if self.is_fresh(&connection) {
                return Some(connection);
            }
        }
        None
    }

    fn is_fresh(&self, connection: &Connection) -> bool {
        connection.is_usable()
            && connection.last_used.elapsed() < self.limits.max_idle
            && connection.opened.elapsed() < self.limits.max_age
    }

    async fn open(&self, host: usize, role: Role, deadline: Instant) -> Result<Connection, LdapError> {
        let before = Instant::now();
        let opened = self.open_unjudged(host, role, deadline).await;
        self.judge(host, before, opened.as_ref().err());
        opened
    }

    async fn open_unjudged(
        &self,
        host: usize,
        role: Role,
        deadline: Instant,
    ) -> Result<Connection, LdapError> {
        if role == Role::Service
            && let Some((until, code)) = *lock(&self.refusal)
            && Instant::now() < until
        {
            return Err(LdapError::BindRefused(code));
        }
        let stream = self.endpoint.open(&self.endpoint.hosts[host], deadline).await?;
        let limits = match role {
            Role::Service => Limits::SEARCH,
            Role::Bind => Limits::BIND,
        };
        let mut connection = Connection::new(stream, limits, Lane::of(self.lane.clone())).await?;
        if role == Role::Service {
            let deadline = deadline.min(Instant::now() + self.operation_timeout);
            let bound = connection
                .simple_bind(&self.bind_dn, &self.bind_password, false, deadline)
                .await;
            let answer = bound.map_err(|error| error.error)?;
            if answer.code != ResultCode::SUCCESS {
                if answer.code.class() == ResultClass::Credentials {
                    *lock(&self.refusal) = Some((Instant::now() + REFUSAL_MEMORY, answer.code));
                }
                return Err(LdapError::BindRefused(answer.code));
            }
        }
        Ok(connection)
    }

    /// Keeps book of what an attempt says about the host.
    fn judge(&self, host: usize, before: Instant, error: Option<&LdapError>) {
        let health = &self.hosts[host].health;
        match error {
            None => health.succeeded(),
            Some(error) if !error.is_host_failure() => {}
            Some(LdapError::Timeout) if before.elapsed() < TELLING_WAIT => {}
            Some(_) => health.failed(Instant::now()),
        }
    }

    async fn bind_on(
        self: &Arc<Self>,
        host: usize,
        name: &str,
        password: &Password,
        deadline: Instant,
    ) -> Result<BindAnswer, BindError> {
        let lease = self.lease(host, Role::Bind, deadline).await;
        let mut lease = lease.map_err(|error| BindError { error, unsent: true })?;
        self.bind_with(&mut lease, name, password, deadline).await
    }

    async fn bind_with(
        &self,
        lease: &mut Lease,
        name: &str,
        password: &Password,
        deadline: Instant,
    ) -> Result<BindAnswer, BindError> {
        let before = Instant::now();
        let deadline = deadline.min(before + self.operation_timeout);
        let policy = self.dialect != Some(Dialect::ActiveDirectory);
        let connection = lease
            .connection()
            .map_err(|error| BindError { error, unsent: true })?;
        let answer = connection.simple_bind(name, password, policy, deadline).await;
        self.judge(
            lease.host,
            before,
            answer.as_ref().err().map(|error| &error.error),
        );
        answer
    }

    async fn read_on(
        self: &Arc<Self>,
        host: usize,
        query: &Query,
        deadline: Instant,
    ) -> Result<Option<Entry>, LdapError> {
        let mut lease = self.lease(host, Role::Service, deadline).await?;
        self.read_with(&mut lease, query, deadline).await
    }

    async fn read_with(
        &self,
        lease: &mut Lease,
        query: &Query,
        deadline: Instant,
    ) -> Result<Option<Entry>, LdapError> {
        let entry = match self.find_with(lease, query, deadline).await {
            Ok(found) => found.entries.into_iter().next(),
            Err(LdapError::SearchRefused(ResultCode::NO_SUCH_OBJECT)) => None,
            Err(error) => return Err(error),
        };
        match entry {
            Some(entry) => ranges::complete(lease.connection()?, query, entry, deadline)
                .await
                .map(Some),
            None => Ok(None),
        }
    }

    async fn find_on(
        self: &Arc<Self>,
        host: usize,
        query: &Query,
        deadline: Instant,
    ) -> Result<Found, LdapError> {
        let mut lease = self.lease(host, Role::Service, deadline).await?;
        self.find_with(&mut lease, query, deadline).await
    }

    /// A small search. A pooled connection that turns out to be dead is replaced once.
    async fn find_with(
        &self,
        lease: &mut Lease,
        query: &Query,
        deadline: Instant,
    ) -> Result<Found, LdapError> {
        let before = Instant::now();
        let deadline = deadline.min(before + self.operation_timeout);
        let mut found = find(lease.connection()?, query, deadline).await;
        if found == Err(LdapError::ConnectionLost) {
            found = match lease.reopen(deadline).await {
                Ok(()) => find(lease.connection()?, query, deadline).await,
                Err(error) => Err(error),
            };
        }
        self.judge(lease.host, before, found.as_ref().err());
        found
    }
}

impl Host {
    fn pool(&self, role: Role) -> &Mutex<Vec<Connection>> {
        match role {
            Role::Service => &self.service,
            Role::Bind => &self.bind,
        }
    }
}

/// A connection taken from a pool. It goes back when dropped, if it still can be used.
pub(crate) struct Lease {
    connection: Option<Connection>,
    inner: Arc<Inner>,
    host: usize,
    role: Role,
    _place: OwnedSemaphorePermit,
}

impl Lease {
    pub(crate) fn connection(&mut self) -> Result<&mut Connection, LdapError> {
        self.connection.as_mut().ok_or(LdapError::ConnectionLost)
    }

    /// Replaces the connection by a new one to the same host.
    pub(crate) async fn reopen(&mut self, deadline: Instant) -> Result<(), LdapError> {
        self.connection = None;
        self.connection = Some(self.inner.open(self.host, self.role, deadline).await?);
        Ok(())
    }

    pub(crate) fn operation_timeout(&self) -> Duration {
        self.inner.operation_timeout
    }

    pub(crate) fn dialect(&self) -> Option<Dialect> {
        self.inner.dialect
    }

    pub(crate) fn page_size(&self) -> u32 {
        self.inner.page_size
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take()
            && self.inner.is_fresh(&connection)
        {
            lock(self.inner.hosts[self.host].pool(self.role)).push(connection);
        }
    }
}

/// A small search in one request.
pub(crate) async fn find(
    connection: &mut Connection,
    query: &Query,
    deadline: Instant,
) -> Result<Found, LdapError> {
    find_with_controls(connection, query, Vec::new(), deadline).await
}

/// A small search in one request with controls of its own.
///
/// Samba does not keep to the size limit, but to a page's size. One more than the limit is asked for, so that a
/// full page does not look like all there is.
pub(crate) async fn find_with_controls(
    connection: &mut Connection,
    query: &Query,
    mut controls: Vec<RawControl>,
    deadline: Instant,
) -> Result<Found, LdapError> {
    let one_more = query.size_limit.max(1).saturating_add(1);
    if query.scope != SearchScope::Base {
        controls.push(RawControl {
            crit: false,
            ..paged_results(one_more, b"")
        });
    }
    let budget = Budget {
        entries: one_more,
        bytes: SMALL_BYTES,
    };
    connection.start_search(query, controls, budget, deadline).await?;
    let mut found = Found::default();
    let limit = query.size_limit.max(1) as usize;
    loop {
        match connection.next_entry(deadline).await {
            Ok(Ok(entry)) if found.entries.len() < limit => found.entries.push(entry),
            Ok(Ok(_)) => found.more = true,
            // A server that keeps to neither. Its connection is closed, but what came is true.
            Err(LdapError::Protocol(ProtocolViolation::TooManyEntries { .. })) if found.more => {
                return Ok(found);
            }
            Err(error) => return Err(error),
            Ok(Err(end)) => {
                return match end.code {
                    ResultCode::SUCCESS => Ok(found),
                    ResultCode::SIZE_LIMIT_EXCEEDED => Ok(Found { more: true, ..found }),
                    code => Err(LdapError::SearchRefused(code)),
                };
            }
        }
    }
}

fn read_query(request: &ReadRequest) -> Query {
    Query {
        base: request.dn.clone(),
        scope: SearchScope::Base,
        filter: request.filter.clone(),
        attributes: request.attributes.clone(),
        size_limit: 0,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
