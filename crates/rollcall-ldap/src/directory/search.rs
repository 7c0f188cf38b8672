//! Searches: in pages, for one entry, for a few.

use std::collections::BTreeSet;
use std::sync::Arc;

use rollcall_core::entry::Entry;
use rollcall_core::filter::Filter;
use rollcall_core::naming::is_common;
use rollcall_core::schema::Schema;
use rollcall_core::secret_attribute::is_secret;
use rollcall_core::user_sync::SearchScope;
use tokio::time::Instant;

use super::LdapDirectory;
use crate::connection::Query;
use crate::error::{LdapError, Misconfiguration};
use crate::lookup::{Found, find};
use crate::paging::{PagedSearch, SearchRequest};
use crate::pool::{PooledConnection, Pools, Role};
use crate::ranges;
use crate::result_code::ResultCode;
use crate::root_dse::{self, RootDse};

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

impl LdapDirectory {
    /// Starts a search in pages on the first host that can be used; all pages come from that host.
    ///
    /// # Errors
    /// No host can be used, or the service account is refused. Whatever happens later is in the outcome.
    pub async fn search(&self, request: SearchRequest) -> Result<PagedSearch, LdapError> {
        let deadline = Instant::now() + self.pools.endpoint.connect_timeout + self.pools.operation_timeout;
        self.expect_permitted(&request.filter, &request.attributes, deadline)
            .await?;
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
        let query = self.read_query(request, deadline).await?;
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
        self.expect_permitted(filter, attributes, deadline).await?;
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

    pub(super) async fn read_query(
        &self,
        request: &ReadRequest,
        deadline: Instant,
    ) -> Result<Query, LdapError> {
        self.expect_permitted(&request.filter, &request.attributes, deadline)
            .await?;
        Ok(Query {
            base: request.dn.clone(),
            scope: SearchScope::Base,
            filter: request.filter.clone(),
            attributes: request.attributes.clone(),
            size_limit: 0,
        })
    }

    /// Refuses to ask about attributes that hold secrets, by whatever name. New configurations cannot contain names
    /// that say so, but older ones may; and only the server's schema knows which other names mean the same.
    async fn expect_permitted(
        &self,
        filter: &str,
        attributes: &[String],
        deadline: Instant,
    ) -> Result<(), LdapError> {
        let refused = LdapError::Misconfigured(Misconfiguration::SecretAttribute);
        let filter = Filter::parse(filter).map_err(|_| LdapError::Misconfigured(Misconfiguration::Filter))?;
        if filter.check_permitted().is_err() || attributes.iter().any(|attribute| is_secret(attribute)) {
            return Err(refused);
        }
        let name = |description: &String| {
            let name = description.split(';').next().unwrap_or_default();
            name.to_ascii_lowercase()
        };
        let mut asked = filter.attributes();
        asked.extend(attributes.iter().map(name));
        asked.retain(|name| !is_common(name));
        if asked.is_empty() {
            return Ok(());
        }
        match asked.is_disjoint(self.other_names_of_secrets(deadline).await?) {
            true => Ok(()),
            false => Err(refused),
        }
    }

    async fn other_names_of_secrets(&self, deadline: Instant) -> Result<&BTreeSet<String>, LdapError> {
        // If they are known, no host is asked: the request might use up the one probe of a host that had failed.
        if let Some(known) = self.pools.kept_secrets().get() {
            return Ok(known);
        }
        let mut last = LdapError::CircuitOpen;
        for host in self.pools.admitted() {
            match self.pools.other_names_of_secrets(host, deadline).await {
                Err(error) if error.is_host_failure() && Instant::now() < deadline => last = error,
                answer => return answer,
            }
        }
        Err(last)
    }

    pub(super) async fn service_connection(&self, deadline: Instant) -> Result<PooledConnection, LdapError> {
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
    pub(super) async fn read_on(
        self: &Arc<Self>,
        host: usize,
        query: &Query,
        deadline: Instant,
    ) -> Result<Option<Entry>, LdapError> {
        let mut pooled = self.connection(host, Role::Service, deadline).await?;
        self.read_with(&mut pooled, query, deadline).await
    }

    pub(super) async fn read_with(
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

    /// A small search whose entries have the server's attribute names. A pooled connection that turns out to be dead is
    /// replaced once.
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
