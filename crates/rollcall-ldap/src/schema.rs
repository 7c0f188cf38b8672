//! The schema of a directory's server: read when an answer cannot be understood without it, then kept.

use std::collections::BTreeSet;
use std::sync::Arc;

use rollcall_core::entry::Entry;
use rollcall_core::naming::Naming;
use rollcall_core::schema::{ATTRIBUTES, Schema};
use rollcall_core::user_sync::SearchScope;
use tokio::time::Instant;

use crate::connection::{Connection, Query};
use crate::error::LdapError;
use crate::lookup::find;
use crate::pool::{Pools, Role};
use crate::root_dse::{self, RootDse};

impl Pools {
    /// The schema; an empty one if the server shows none, or one that is too large.
    ///
    /// # Errors
    /// No answer. The next caller asks again: an attribute must not look absent because a request for the schema was
    /// lost.
    pub(crate) async fn schema(&self, host: usize, deadline: Instant) -> Result<Arc<Schema>, LdapError> {
        let read = || async { self.read_schema(host, deadline).await.map(Arc::new) };
        self.kept_schema().get_or_try_init(read).await.cloned()
    }

    /// The names and OIDs that, by this server's schema, ask for a secret; none if the server shows no schema. The
    /// schema itself is not kept for this.
    ///
    /// # Errors
    /// As [`schema`](Self::schema).
    pub(crate) async fn other_names_of_secrets(
        &self,
        host: usize,
        deadline: Instant,
    ) -> Result<&BTreeSet<String>, LdapError> {
        let read = || async {
            match self.kept_schema().get() {
                Some(schema) => Ok(schema.other_names_of_secrets()),
                None => Ok(self.read_schema(host, deadline).await?.other_names_of_secrets()),
            }
        };
        self.kept_secrets().get_or_try_init(read).await
    }

    /// Puts the values of entries under the names that were asked for.
    pub(crate) async fn rename<'e>(
        &self,
        host: usize,
        asked: &[String],
        entries: impl IntoIterator<Item = &'e mut Entry>,
        deadline: Instant,
    ) -> Result<(), LdapError> {
        let naming = Naming::of(asked);
        let mut entries: Vec<&mut Entry> = entries.into_iter().collect();
        let schema = match entries.iter().any(|entry| naming.needs_schema(entry)) {
            true => self.schema(host, deadline).await?,
            false => Arc::default(),
        };
        let renaming = naming.under(schema);
        entries.iter_mut().for_each(|entry| renaming.apply(entry));
        Ok(())
    }

    /// On a connection of its own: all connections of the pool may be taken by searches that wait for the schema.
    async fn read_schema(&self, host: usize, deadline: Instant) -> Result<Schema, LdapError> {
        let deadline = deadline.min(Instant::now() + self.operation_timeout);
        let mut connection = self.take_or_open(host, Role::Service, deadline).await?;
        let before = Instant::now();
        let read = read_on(&mut connection, deadline).await;
        self.judge(host, before, read.as_ref().err());
        read
    }
}

async fn read_on(connection: &mut Connection, deadline: Instant) -> Result<Schema, LdapError> {
    let root = find(connection, &root_dse::query(), deadline).await;
    let root = match root {
        Ok(found) => found.entries.first().map(RootDse::from_entry),
        Err(LdapError::SearchRefused(code)) if !code.is_infrastructure() => None,
        Err(error) => return Err(error),
    };
    let Some(dn) = root.and_then(|root| root.schema_dn) else {
        return Ok(Schema::default());
    };
    // RFC 4512 section 4.2: the subentry shows itself only to a filter on its class.
    for filter in ["(objectClass=subschema)", "(objectClass=*)"] {
        let query = Query {
            base: dn.clone(),
            scope: SearchScope::Base,
            filter: filter.to_owned(),
            attributes: ATTRIBUTES.map(str::to_owned).to_vec(),
            size_limit: 1,
        };
        match find(connection, &query, deadline).await {
            Ok(found) => {
                if let Some(entry) = found.entries.first() {
                    return Ok(Schema::from_entry(entry));
                }
            }
            Err(LdapError::SearchRefused(code)) if !code.is_infrastructure() => {}
            // It is too large for this crate, or not LDAP. A second attempt would not help.
            Err(LdapError::Protocol(_)) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(Schema::default())
}
