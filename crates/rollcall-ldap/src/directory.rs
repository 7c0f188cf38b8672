//! One directory at one revision of its settings: its pools, its limits, and the operations on it.

use std::sync::Arc;

use rollcall_core::dialect::Dialect;
use rollcall_core::dn::is_same_dn;
use rollcall_core::entry::Entry;
use rollcall_core::external_id::{ExternalId, IdKind};
use rollcall_core::filter::Filter;
use rollcall_core::person::{self, nobody};
use rollcall_core::schema::Schema;
use rollcall_core::secret::Password;
use rollcall_core::secret_attribute::is_secret;
use rollcall_core::user_sync::SearchScope;
use tokio::time::Instant;

use crate::bind::BindAnswer;
use crate::circuit_breaker::HostStatus;
use crate::config::DirectoryConfig;
use crate::connection::Query;
use crate::error::{BindError, LdapError, Misconfiguration};
use crate::guid_bind::{BindAs, guid_dn};
use crate::lookup::{Found, find};
use crate::paging::{PagedSearch, SearchRequest};
use crate::pool::{PooledConnection, Pools, Role};
use crate::ranges;
use crate::result_code::ResultCode;
use crate::root_dse::{self, RootDse};

/// Entries with one external id that are looked at: a person, and aliases with the same value.
const MAX_NAMESAKES: u32 = 8;

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
    /// The bind was by id: its answer is about the person, wherever the entry is.
    pub by_id: bool,
    /// The entry; `None` if there is none at that DN, or it does not match.
    pub read: Result<Option<Entry>, LdapError>,
}

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

    /// Starts a search in pages on the first host that can be used; all pages come from that host.
    ///
    /// # Errors
    /// No host can be used, or the service account is refused. Whatever happens later is in the outcome.
    pub async fn search(&self, request: SearchRequest) -> Result<PagedSearch, LdapError> {
        check_permitted(&request.filter, &request.attributes)?;
        let deadline = Instant::now() + self.pools.endpoint.connect_timeout + self.pools.operation_timeout;
        let pooled = self.service_connection(deadline).await?;
        Ok(PagedSearch::new(pooled, request))
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
        let query = read_query(request)?;
        let mut last = LdapError::CircuitOpen;
        for host in self.pools.admitted() {
            match self.pools.read_on(host, &query, deadline).await {
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
        check_permitted(filter, attributes)?;
        let query = Query {
            base: base_dn.to_owned(),
            scope,
            filter: filter.to_owned(),
            attributes: attributes.to_vec(),
            size_limit: max_entries,
        };
        let mut last = LdapError::CircuitOpen;
        for host in self.pools.admitted() {
            match self.pools.find_on(host, &query, deadline).await {
                Err(error) if error.is_host_failure() && Instant::now() < deadline => last = error,
                answer => return answer,
            }
        }
        Err(last)
    }

    /// Finds the person with this external id under any of the bases. Where the server takes a GUID for a DN the whole
    /// directory is searched, whatever the bases are. An entry that is no person, such as an alias, is nobody, whatever id
    /// it shows.
    ///
    /// # Errors
    /// As [`find`](Self::find), but a base that does not exist just holds nothing. `Misconfigured` with `SharedId` if
    /// several entries have it: none of them may pass for the person.
    pub async fn find_by_external_id(
        &self,
        id: &ExternalId,
        base_dns: &[String],
        attributes: &[String],
        deadline: Instant,
    ) -> Result<Option<Entry>, LdapError> {
        if let Some(entry) = self.read_by_guid(id, attributes, deadline).await? {
            return Ok(Some(entry));
        }
        let mut attributes = attributes.to_vec();
        if !attributes
            .iter()
            .any(|name| name.eq_ignore_ascii_case(person::ATTRIBUTE))
        {
            attributes.push(person::ATTRIBUTE.to_owned());
        }
        let dialect = self.pools.dialect.unwrap_or(Dialect::Generic);
        let filter = id.filter().to_string();
        let mut the_entry: Option<Entry> = None;
        for base in base_dns {
            let found = self
                .find(
                    base,
                    SearchScope::Subtree,
                    &filter,
                    &attributes,
                    MAX_NAMESAKES,
                    deadline,
                )
                .await;
            match found {
                Ok(found) => {
                    let mut shared = found.more;
                    let people = found.entries.into_iter();
                    for entry in people.filter(|entry| nobody(dialect, entry).is_none()) {
                        // One base may be below another.
                        shared |= the_entry
                            .as_ref()
                            .is_some_and(|first| !is_same_dn(&first.dn, &entry.dn));
                        the_entry = Some(entry);
                    }
                    if shared {
                        return Err(LdapError::Misconfigured(Misconfiguration::SharedId));
                    }
                    // An id that the server makes is unique; a tenant's own attribute may not be.
                    if the_entry.is_some() && !matches!(id.kind(), IdKind::Other(_)) {
                        break;
                    }
                }
                Err(LdapError::SearchRefused(ResultCode::NO_SUCH_OBJECT)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(the_entry)
    }

    /// The entry by its GUID instead of a DN, as Active Directory has it (MS-ADTS 3.1.1.3.1.2.4). `None` if the server,
    /// whatever it calls itself, does not answer with this very entry: then it has to be searched for.
    async fn read_by_guid(
        &self,
        id: &ExternalId,
        attributes: &[String],
        deadline: Instant,
    ) -> Result<Option<Entry>, LdapError> {
        if self.pools.dialect != Some(Dialect::ActiveDirectory) || *id.kind() != IdKind::ObjectGuid {
            return Ok(None);
        }
        let mut attributes = attributes.to_vec();
        attributes.push(id.kind().attribute().to_owned());
        let request = ReadRequest {
            dn: guid_dn(id),
            filter: "(objectClass=*)".to_owned(),
            attributes,
        };
        match self.read_entry(&request, deadline).await {
            Ok(entry) => Ok(entry.filter(|entry| {
                let values = entry.values(id.kind().attribute());
                ExternalId::from_values(id.kind().clone(), values).as_ref() == Ok(id)
            })),
            Err(LdapError::SearchRefused(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Checks a password by a simple bind, on a connection that does nothing but binds. At most one bind
    /// reaches any server: the next host is tried only if nothing of the bind was sent.
    ///
    /// # Errors
    /// No answer; [`BindError::unsent`] says whether the server may have seen the bind.
    pub async fn verify_password<'a>(
        &self,
        who: impl Into<BindAs<'a>>,
        password: &Password,
        deadline: Instant,
    ) -> Result<BindAnswer, BindError> {
        let who = who.into();
        let mut last = BindError {
            error: LdapError::CircuitOpen,
            unsent: true,
        };
        for host in self.pools.admitted() {
            let (name, _) = self.pools.bind_name(host, who, deadline).await;
            match self.pools.bind_on(host, &name, password, deadline).await {
                Err(error) if error.unsent && error.error.is_host_failure() && Instant::now() < deadline => {
                    last = error;
                }
                answer => return answer,
            }
        }
        Err(last)
    }

    /// Checks a password and reads the entry, both at once and on the same host.
    pub async fn verify_and_read<'a>(
        &self,
        who: impl Into<BindAs<'a>>,
        password: &Password,
        request: &ReadRequest,
        deadline: Instant,
    ) -> Verification {
        let who = who.into();
        let failed = |error: LdapError| Verification {
            bind: Err(BindError {
                error: error.clone(),
                unsent: true,
            }),
            by_id: false,
            read: Err(error),
        };
        let query = match read_query(request) {
            Ok(query) => query,
            Err(error) => return failed(error),
        };
        let mut last = failed(LdapError::CircuitOpen);
        for host in self.pools.admitted() {
            let (name, by_id) = self.pools.bind_name(host, who, deadline).await;
            // Both connections first, so that a host that cannot do the read never sees the bind.
            let both = tokio::try_join!(
                self.pools.connection(host, Role::Service, deadline),
                self.pools.connection(host, Role::Bind, deadline),
            );
            let (mut service, mut bind) = match both {
                Ok(both) => both,
                Err(error) if error.is_host_failure() && Instant::now() < deadline => {
                    last = failed(error);
                    continue;
                }
                Err(error) => return failed(error),
            };
            let (bind, read) = tokio::join!(
                self.pools.bind_with(&mut bind, &name, password, deadline),
                self.pools.read_with(&mut service, &query, deadline),
            );
            match bind {
                Err(error) if error.unsent && error.error.is_host_failure() && Instant::now() < deadline => {
                    last = Verification {
                        bind: Err(error),
                        by_id,
                        read,
                    };
                }
                bind => return Verification { bind, by_id, read },
            }
        }
        last
    }

    /// Finds out whether a password check would come to an answer now: takes the connections that one takes, and asks
    /// for nothing in the root DSE (RFC 4512 section 5.1).
    ///
    /// # Errors
    /// No answer; [`BindError::unsent`] says whether a bind would have been on its way by then.
    pub async fn reach(&self, deadline: Instant) -> Result<(), BindError> {
        let query = Query {
            base: String::new(),
            scope: SearchScope::Base,
            filter: "(objectClass=*)".to_owned(),
            // No attributes (RFC 4511 section 4.5.1.8).
            attributes: vec!["1.1".to_owned()],
            size_limit: 0,
        };
        let mut last = BindError {
            error: LdapError::CircuitOpen,
            unsent: true,
        };
        for host in self.pools.admitted() {
            let both = tokio::try_join!(
                self.pools.connection(host, Role::Service, deadline),
                self.pools.connection(host, Role::Bind, deadline),
            );
            let failure = match both {
                Ok((mut service, _bind)) => {
                    match self.pools.read_with(&mut service, &query, deadline).await {
                        Ok(_) => return Ok(()),
                        // A refusal is an answer.
                        Err(LdapError::SearchRefused(code)) if !code.is_infrastructure() => return Ok(()),
                        Err(error) => BindError {
                            unsent: !matches!(
                                error,
                                LdapError::Timeout
                                    | LdapError::ConnectionLost
                                    | LdapError::Disconnected(_)
                                    | LdapError::Protocol(_)
                            ),
                            error,
                        },
                    }
                }
                Err(error) => BindError { error, unsent: true },
            };
            if !failure.unsent || !failure.error.is_host_failure() || Instant::now() >= deadline {
                return Err(failure);
            }
            last = failure;
        }
        Err(last)
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

    /// What the server knows of attributes and object classes; an empty schema if it does not tell.
    ///
    /// # Errors
    /// As [`read_entry`](Self::read_entry).
    pub async fn schema(&self, deadline: Instant) -> Result<Arc<Schema>, LdapError> {
        let mut last = LdapError::CircuitOpen;
        for host in self.pools.admitted() {
            match self.pools.schema(host, deadline).await {
                Err(error) if error.is_host_failure() && Instant::now() < deadline => last = error,
                answer => return answer,
            }
        }
        Err(last)
    }

    /// What was seen of each host, in the order of the settings.
    pub fn host_status(&self) -> Vec<HostStatus> {
        self.pools.host_status()
    }

    /// Closes connections that are idle for too long, too old or broken. To be called now and then.
    pub fn sweep(&self) {
        self.pools.sweep();
    }

    async fn service_connection(&self, deadline: Instant) -> Result<PooledConnection, LdapError> {
        let mut last = LdapError::CircuitOpen;
        for host in self.pools.admitted() {
            match self.pools.connection(host, Role::Service, deadline).await {
                Err(error) if error.is_host_failure() && Instant::now() < deadline => last = error,
                answer => return answer,
            }
        }
        Err(last)
    }
}

impl Pools {
    async fn bind_on(
        self: &Arc<Self>,
        host: usize,
        name: &str,
        password: &Password,
        deadline: Instant,
    ) -> Result<BindAnswer, BindError> {
        let pooled = self.connection(host, Role::Bind, deadline).await;
        let mut pooled = pooled.map_err(|error| BindError { error, unsent: true })?;
        self.bind_with(&mut pooled, name, password, deadline).await
    }

    async fn bind_with(
        &self,
        pooled: &mut PooledConnection,
        name: &str,
        password: &Password,
        deadline: Instant,
    ) -> Result<BindAnswer, BindError> {
        let before = Instant::now();
        if deadline <= before {
            // Whoever asked may have told already that nothing was sent.
            return Err(BindError {
                error: LdapError::Timeout,
                unsent: true,
            });
        }
        let deadline = deadline.min(before + self.operation_timeout);
        let policy = self.dialect != Some(Dialect::ActiveDirectory);
        let connection = pooled
            .connection()
            .map_err(|error| BindError { error, unsent: true })?;
        let answer = connection.simple_bind(name, password, policy, deadline).await;
        self.judge(
            pooled.host,
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
        let mut pooled = self.connection(host, Role::Service, deadline).await?;
        self.read_with(&mut pooled, query, deadline).await
    }

    async fn read_with(
        &self,
        pooled: &mut PooledConnection,
        query: &Query,
        deadline: Instant,
    ) -> Result<Option<Entry>, LdapError> {
        let entry = match self.find_unnamed(pooled, query, deadline).await {
            Ok(found) => found.entries.into_iter().next(),
            Err(LdapError::SearchRefused(ResultCode::NO_SUCH_OBJECT)) => None,
            Err(error) => return Err(error),
        };
        let Some(entry) = entry else { return Ok(None) };
        let mut entry = ranges::complete(pooled.connection()?, query, entry, deadline).await?;
        self.rename(pooled.host, &query.attributes, [&mut entry], deadline)
            .await?;
        Ok(Some(entry))
    }

    pub(crate) async fn find_on(
        self: &Arc<Self>,
        host: usize,
        query: &Query,
        deadline: Instant,
    ) -> Result<Found, LdapError> {
        let mut pooled = self.connection(host, Role::Service, deadline).await?;
        let mut found = self.find_unnamed(&mut pooled, query, deadline).await?;
        self.rename(host, &query.attributes, &mut found.entries, deadline)
            .await?;
        Ok(found)
    }

    /// A small search, its entries as the server names their attributes. A pooled connection that turns out to be dead
    /// is replaced once.
    async fn find_unnamed(
        &self,
        pooled: &mut PooledConnection,
        query: &Query,
        deadline: Instant,
    ) -> Result<Found, LdapError> {
        let before = Instant::now();
        let deadline = deadline.min(before + self.operation_timeout);
        let mut found = find(pooled.connection()?, query, deadline).await;
        if found == Err(LdapError::ConnectionLost) {
            found = match pooled.reopen(deadline).await {
                Ok(()) => find(pooled.connection()?, query, deadline).await,
                Err(error) => Err(error),
            };
        }
        self.judge(pooled.host, before, found.as_ref().err());
        found
    }
}

fn read_query(request: &ReadRequest) -> Result<Query, LdapError> {
    check_permitted(&request.filter, &request.attributes)?;
    Ok(Query {
        base: request.dn.clone(),
        scope: SearchScope::Base,
        filter: request.filter.clone(),
        attributes: request.attributes.clone(),
        size_limit: 0,
    })
}

/// Refuses to ask about attributes that hold secrets. No new configuration does, but one that was stored before may.
fn check_permitted(filter: &str, attributes: &[String]) -> Result<(), LdapError> {
    let filter = Filter::parse(filter).map_err(|_| LdapError::Misconfigured(Misconfiguration::Filter))?;
    if filter.check_permitted().is_err() || attributes.iter().any(|attribute| is_secret(attribute)) {
        return Err(LdapError::Misconfigured(Misconfiguration::SecretAttribute));
    }
    Ok(())
}
