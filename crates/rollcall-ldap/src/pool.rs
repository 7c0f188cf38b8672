//! The connections of a directory: opened when needed, kept while they are good, given back when dropped.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rollcall_core::dialect::Dialect;
use rollcall_core::schema::Schema;
use rollcall_metrics::{LdapOperation, Pool, metrics};
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tracing::Instrument;

use crate::bulkhead::Bulkhead;
use crate::circuit_breaker::{CircuitBreaker, HostStatus};
use crate::config::{DirectoryConfig, PoolLimits};
use crate::connection::Connection;
use crate::connection_limit::{ConnectionLimit, ConnectionPermit, IdleMark};
use crate::endpoint::Endpoint;
use crate::error::{LdapError, Misconfiguration};
use crate::measure::{Load, PoolLoad, measured};
use crate::result_code::ResultCode;
use crate::service_account::ServiceAccount;
use crate::wire_guard::Limits;
use crate::wire_guard::large_message_permit::LargeMessagePermit;

/// A shorter wait without an answer says more about the caller's deadline than about the host.
const TELLING_WAIT: Duration = Duration::from_millis(900);

/// A directory's connections and what is known about its hosts.
pub(crate) struct Pools {
    pub(crate) endpoint: Endpoint,
    hosts: Vec<Host>,
    account: Arc<ServiceAccount>,
    pub(crate) operation_timeout: Duration,
    page_size: u32,
    pub(crate) dialect: Option<Dialect>,
    limits: PoolLimits,
    connections: ConnectionLimit,
    service_bulkhead: Bulkhead,
    bind_bulkhead: Bulkhead,
    /// For large messages: one connection at a time.
    large_messages: Arc<Semaphore>,
    /// The schema, once it was needed. All hosts hold the same tree, so it serves for all.
    schema: OnceCell<Arc<Schema>>,
    /// The part of the schema that callers need who need nothing else of it: [`Schema::other_names_of_secrets`].
    secrets: OnceCell<BTreeSet<String>>,
}

/// One host's idle connections and its circuit breaker.
struct Host {
    service: Mutex<Vec<Idle>>,
    bind: Mutex<Vec<Idle>>,
    breaker: CircuitBreaker,
    /// It takes `<GUID=...>` for the name in a bind.
    guid_binds: OnceCell<bool>,
}

/// A connection that nobody uses.
struct Idle {
    connection: Connection,
    mark: IdleMark,
}

/// What a connection is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    /// Searches, as the service account.
    Service,
    /// Password checks, one at a time.
    Bind,
}

impl Pools {
    pub(crate) fn new(config: DirectoryConfig) -> Result<Self, LdapError> {
        let endpoint = Endpoint::new(&config)?;
        // If there is another host to turn to, the first failure opens the breaker.
        let threshold = match endpoint.hosts.len() {
            0 => return Err(LdapError::Misconfigured(Misconfiguration::NoHost)),
            1 => 3,
            _ => 1,
        };
        let host = |_: &_| Host {
            service: Mutex::default(),
            bind: Mutex::default(),
            breaker: CircuitBreaker::new(threshold),
            guid_binds: OnceCell::new(),
        };
        let hosts = endpoint.hosts.iter().map(host).collect();
        let account = Arc::new(ServiceAccount::of(&config));
        Ok(Self {
            endpoint,
            hosts,
            account,
            operation_timeout: config.settings.operation_timeout,
            page_size: config.settings.page_size,
            dialect: config.dialect,
            limits: config.limits,
            connections: config.connections,
            service_bulkhead: Bulkhead::new(config.limits.service, config.limits.queue),
            bind_bulkhead: Bulkhead::new(config.limits.bind, config.limits.queue),
            large_messages: Arc::new(Semaphore::new(1)),
            schema: OnceCell::new(),
            secrets: OnceCell::new(),
        })
    }

    /// A connection from the pool, or a new one.
    pub(crate) async fn connection(
        self: &Arc<Self>,
        host: usize,
        role: Role,
        deadline: Instant,
    ) -> Result<PooledConnection, LdapError> {
        let bulkhead = match role {
            Role::Service => &self.service_bulkhead,
            Role::Bind => &self.bind_bulkhead,
        };
        let permit = bulkhead.enter(deadline).await.inspect_err(|_| {
            metrics().ldap_refused_at_bulkhead.count(match role {
                Role::Service => Pool::Service,
                Role::Bind => Pool::Bind,
            });
        })?;
        let connection = self.take_or_open(host, role, deadline).await?;
        Ok(PooledConnection {
            connection: Some(connection),
            pools: self.clone(),
            host,
            role,
            _permit: permit,
        })
    }

    /// A connection of the pool, or a new one. The bulkhead's limit does not count here.
    pub(crate) async fn take_or_open(
        &self,
        host: usize,
        role: Role,
        deadline: Instant,
    ) -> Result<Connection, LdapError> {
        match self.take_pooled(host, role) {
            Some(connection) => Ok(connection),
            None => self.open(host, role, deadline).await,
        }
    }

    /// The schema, once it was read.
    pub(crate) fn kept_schema(&self) -> &OnceCell<Arc<Schema>> {
        &self.schema
    }

    /// The names that ask for a secret on this server, once they were read.
    pub(crate) fn kept_secrets(&self) -> &OnceCell<BTreeSet<String>> {
        &self.secrets
    }

    /// The hosts that may be tried now, by index, in order. Evaluated lazily, since asking a breaker may start its
    /// probe.
    pub(crate) fn admitted(&self) -> impl Iterator<Item = usize> {
        (0..self.hosts.len()).filter(|index| self.hosts[*index].breaker.admit(Instant::now()))
    }

    /// What was seen of each host.
    pub(crate) fn host_status(&self) -> Vec<HostStatus> {
        let now = Instant::now();
        self.hosts.iter().map(|host| host.breaker.status(now)).collect()
    }

    /// How much is under way.
    pub(crate) fn load(&self) -> Load {
        let of = |role, bulkhead: &Bulkhead| {
            let (busy, waiting) = bulkhead.load();
            let idle = self.hosts.iter().map(|host| host.pool(role).lock().len()).sum();
            PoolLoad { idle, busy, waiting }
        };
        Load {
            service: of(Role::Service, &self.service_bulkhead),
            bind: of(Role::Bind, &self.bind_bulkhead),
        }
    }

    /// Whether the host takes `<GUID=...>` for the name in a bind, once that was found out.
    pub(crate) fn guid_binds(&self, host: usize) -> &OnceCell<bool> {
        &self.hosts[host].guid_binds
    }

    pub(crate) fn account(&self) -> &ServiceAccount {
        &self.account
    }

    /// Closes idle connections that are not good any more.
    pub(crate) fn sweep(&self) {
        self.keep_idle(|connection| self.is_fresh(connection));
    }

    /// Closes all connections that nobody uses.
    pub(crate) fn close_all_idle(&self) {
        self.keep_idle(|_| false);
    }

    fn keep_idle(&self, keeps: impl Fn(&Connection) -> bool) {
        for pool in self.hosts.iter().flat_map(|host| [&host.service, &host.bind]) {
            pool.lock().retain(|idle| {
                let keeps = keeps(&idle.connection);
                if !keeps {
                    self.connections.not_idle(idle.mark);
                }
                keeps
            });
        }
    }

    /// Closes an idle connection, unless another caller has taken it meanwhile.
    pub(crate) fn close_idle(&self, host: usize, role: Role, mark: IdleMark) {
        let mut pool = self.hosts[host].pool(role).lock();
        let found = pool.iter().position(|idle| idle.mark == mark);
        let closed = found.map(|index| pool.swap_remove(index));
        drop(pool);
        drop(closed);
    }

    fn take_pooled(&self, host: usize, role: Role) -> Option<Connection> {
        let mut pool = self.hosts[host].pool(role).lock();
        while let Some(Idle { connection, mark }) = pool.pop() {
            self.connections.not_idle(mark);
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

    pub(crate) async fn open(
        &self,
        host: usize,
        role: Role,
        deadline: Instant,
    ) -> Result<Connection, LdapError> {
        let before = Instant::now();
        let span = tracing::info_span!(target: "rollcall_trace", "ldap.open", host, ?role);
        // Boxed, since it is large and rare, and within all that uses a connection.
        let opening = Box::pin(self.open_unjudged(host, role, deadline)).instrument(span);
        let opened = measured(LdapOperation::Open, opening).await;
        let (url, took) = (&self.endpoint.hosts[host], before.elapsed());
        match &opened {
            Ok(_) => tracing::debug!(host = %url, ?role, ?took, "a connection is open"),
            Err(error) => tracing::debug!(host = %url, ?role, ?took, %error, "no connection"),
        }
        // A connection alone is no success: a host may accept connections and then fail every operation.
        if let Err(error) = &opened {
            self.judge(host, before, Some(error));
        }
        opened
    }

    async fn open_unjudged(
        &self,
        host: usize,
        role: Role,
        deadline: Instant,
    ) -> Result<Connection, LdapError> {
        if role == Role::Service
            && let Some(code) = self.account.refusal()
        {
            return Err(LdapError::BindRefused(code));
        }
        let connection_permit = self.connection_permit(deadline).await?;
        let stream = self.endpoint.open(&self.endpoint.hosts[host], deadline).await?;
        if let Some(end) = stream.certificate_end() {
            self.hosts[host].breaker.showed_certificate(end);
        }
        let limits = match role {
            Role::Service => Limits::SEARCH,
            Role::Bind => Limits::BIND,
        };
        let connection = Connection::new(
            stream,
            limits,
            LargeMessagePermit::of(self.large_messages.clone()),
            connection_permit,
        )
        .await?;
        if role == Role::Bind {
            return Ok(connection);
        }
        let bound = self.account.bind(connection, false, deadline).await;
        let bound = bound.map_err(|error| self.endpoint.explain_loss(error.error))?;
        match bound.answer.code {
            ResultCode::SUCCESS => Ok(bound.connection),
            code => Err(LdapError::BindRefused(code)),
        }
    }

    /// The right to hold one more connection.
    pub(crate) async fn connection_permit(&self, deadline: Instant) -> Result<ConnectionPermit, LdapError> {
        self.connections.permit(deadline).await
    }

    /// A permit of the bulkhead of the connections bound as the service account.
    pub(crate) async fn service_permit(&self, deadline: Instant) -> Result<OwnedSemaphorePermit, LdapError> {
        self.service_bulkhead.enter(deadline).await
    }

    /// Tells the circuit breaker what an attempt says about the host.
    pub(crate) fn judge(&self, host: usize, before: Instant, error: Option<&LdapError>) {
        let breaker = &self.hosts[host].breaker;
        match error {
            None => breaker.succeeded(Instant::now()),
            Some(error @ (LdapError::BindRefused(_) | LdapError::EgressDenied))
                if !error.is_host_failure() =>
            {
                breaker.turned_down(Instant::now(), error);
            }
            Some(error) if !error.is_host_failure() => {}
            Some(LdapError::Timeout) if before.elapsed() < TELLING_WAIT => {}
            Some(error)
                if error.is_timeout()
                    && before.elapsed() < TELLING_WAIT.min(self.endpoint.connect_timeout) => {}
            Some(error) => breaker.failed(Instant::now(), error),
        }
    }
}

impl Drop for Pools {
    fn drop(&mut self) {
        self.close_all_idle();
    }
}

impl Host {
    fn pool(&self, role: Role) -> &Mutex<Vec<Idle>> {
        match role {
            Role::Service => &self.service,
            Role::Bind => &self.bind,
        }
    }
}

/// A connection taken from a pool. It goes back when dropped, if it still can be used.
pub(crate) struct PooledConnection {
    connection: Option<Connection>,
    pools: Arc<Pools>,
    pub(crate) host: usize,
    role: Role,
    _permit: OwnedSemaphorePermit,
}

impl PooledConnection {
    pub(crate) fn connection(&mut self) -> Result<&mut Connection, LdapError> {
        self.connection.as_mut().ok_or(LdapError::ConnectionLost)
    }

    /// Replaces the connection by a new one to the same host.
    pub(crate) async fn reopen(&mut self, deadline: Instant) -> Result<(), LdapError> {
        self.connection = None;
        self.connection = Some(self.pools.open(self.host, self.role, deadline).await?);
        Ok(())
    }

    /// Tells the circuit breaker what an operation that waited this long says about the host.
    pub(crate) fn judge(&self, waited: Duration, error: Option<&LdapError>) {
        self.pools.judge(self.host, Instant::now() - waited, error);
    }

    pub(crate) fn operation_timeout(&self) -> Duration {
        self.pools.operation_timeout
    }

    /// The schema of the server.
    pub(crate) async fn schema(&self, deadline: Instant) -> Result<Arc<Schema>, LdapError> {
        self.pools.schema(self.host, deadline).await
    }

    pub(crate) fn dialect(&self) -> Option<Dialect> {
        self.pools.dialect
    }

    pub(crate) fn page_size(&self) -> u32 {
        self.pools.page_size
    }
}

impl Drop for PooledConnection {
    fn drop(&mut self) {
        let (pools, host, role) = (&self.pools, self.host, self.role);
        if let Some(connection) = self.connection.take()
            && pools.is_fresh(&connection)
            && !pools.connections.is_wanted()
        {
            let mut pool = pools.hosts[host].pool(role).lock();
            let owner = Arc::downgrade(pools);
            let mark = pools.connections.idle(move |mark| {
                if let Some(pools) = owner.upgrade() {
                    pools.close_idle(host, role, mark);
                }
            });
            pool.push(Idle { connection, mark });
        }
    }
}
