//! Binding by objectGUID. Active Directory accepts `<GUID=...>` as a DN (MS-ADTS 3.1.1.3.1.2.4), but not every similar
//! server does so in a bind. Such a bind reaches a person who was moved, and never somebody else.
//!
//! The service account finds out whether a host accepts it, by binding as itself with its own GUID: that writes
//! nothing, and touches no other account.

use std::sync::Arc;
use std::time::Duration;

use rollcall_core::dn::Dn;
use rollcall_core::external_id::{ExternalId, IdKind};
use rollcall_core::filter::{Attribute, Comparison, Filter};
use rollcall_core::user_sync::SearchScope;
use tokio::time::Instant;

use crate::connection::Query;
use crate::error::LdapError;
use crate::pool::{Pools, Role};
use crate::result_code::ResultCode;
use crate::root_dse::{self, RootDse};

/// Finding out takes at most this long. Without an answer, a login goes on by DN.
const PROBE_TIME: Duration = Duration::from_secs(1);

/// Whom to bind as.
#[derive(Clone, Copy)]
pub struct BindAs<'a> {
    /// The name: a DN, or another that the server takes.
    pub name: &'a str,
    /// The person's id. On hosts that are proven to accept it, the bind uses the id, wherever the entry is.
    pub id: Option<&'a ExternalId>,
}

impl<'a> From<&'a str> for BindAs<'a> {
    fn from(name: &'a str) -> Self {
        Self { name, id: None }
    }
}

impl<'a> From<&'a String> for BindAs<'a> {
    fn from(name: &'a String) -> Self {
        Self { name, id: None }
    }
}

/// The form of a DN that finds the entry by its GUID.
pub(crate) fn guid_dn(id: &ExternalId) -> String {
    let hex: String = id.bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("<GUID={hex}>")
}

impl Pools {
    /// The name to bind with on this host, and whether it is the id.
    pub(crate) async fn bind_name(
        self: &Arc<Self>,
        host: usize,
        who: BindAs<'_>,
        deadline: Instant,
    ) -> (String, bool) {
        match who.id {
            Some(id) if self.takes_guids(host, id, deadline).await => (guid_dn(id), true),
            _ => (who.name.to_owned(), false),
        }
    }

    /// Whether such a server takes `<GUID=...>` for a DN.
    pub(crate) fn takes_guid_names(&self) -> bool {
        self.dialect.is_some_and(|dialect| dialect.row().takes_guid_names)
    }

    /// Whether this host accepts `<GUID=...>` in a bind. An answer is kept as long as these pools exist. After a
    /// failure the next login asks again.
    async fn takes_guids(self: &Arc<Self>, host: usize, id: &ExternalId, deadline: Instant) -> bool {
        if !self.takes_guid_names() || *id.kind() != IdKind::ObjectGuid {
            return false;
        }
        let deadline = deadline.min(Instant::now() + PROBE_TIME);
        let probed = self
            .guid_binds(host)
            .get_or_try_init(|| self.probe_guid_bind(host, deadline))
            .await;
        probed.is_ok_and(|takes| *takes)
    }

    async fn probe_guid_bind(self: &Arc<Self>, host: usize, deadline: Instant) -> Result<bool, LdapError> {
        let Some(own) = self.own_guid(host, deadline).await? else {
            return Ok(false);
        };
        let mut pooled = self.connection(host, Role::Bind, deadline).await?;
        let bound = pooled
            .connection()?
            .simple_bind(&guid_dn(&own), &self.account().password(), false, deadline)
            .await;
        Ok(bound.map_err(|error| error.error)?.code == ResultCode::SUCCESS)
    }

    /// The service account's own objectGUID; `None` if it is not certain which entry is the account's.
    async fn own_guid(
        self: &Arc<Self>,
        host: usize,
        deadline: Instant,
    ) -> Result<Option<ExternalId>, LdapError> {
        let name = self.account().dn();
        let (base, scope, filter) = match account_filter(name) {
            None => (name.to_owned(), SearchScope::Base, "(objectClass=*)".to_owned()),
            Some(filter) => {
                let root = self.find_on(host, &root_dse::query(), deadline).await?;
                let root = root.entries.first().map(RootDse::from_entry);
                let Some(domain) = root.and_then(|root| root.default_naming_context) else {
                    return Ok(None);
                };
                (domain, SearchScope::Subtree, filter.to_string())
            }
        };
        let attribute = IdKind::ObjectGuid.attribute().to_owned();
        let query = Query {
            base,
            scope,
            filter,
            attributes: vec![attribute.clone()],
            size_limit: 2,
        };
        let found = match self.find_on(host, &query, deadline).await {
            Ok(found) => found,
            Err(LdapError::SearchRefused(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(match found.entries.as_slice() {
            [entry] => ExternalId::from_values(IdKind::ObjectGuid, entry.values(&attribute)).ok(),
            _ => None,
        })
    }
}

/// A filter that finds the account of `user@domain` or `DOMAIN\user`; `None` for a DN.
fn account_filter(name: &str) -> Option<Filter> {
    if Dn::parse(name).is_ok() {
        return None;
    }
    let (attribute, value) = match name.split_once('\\') {
        Some((_, login)) => ("sAMAccountName", login),
        None => ("userPrincipalName", name),
    };
    Some(Filter::Compare {
        attribute: Attribute::parse(attribute)?,
        comparison: Comparison::Equal,
        value: value.as_bytes().to_vec(),
    })
}
