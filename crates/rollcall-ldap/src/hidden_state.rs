//! Which attributes of an account's state may the service account not read? LDAP does not tell: an attribute that may
//! not be read looks absent. So the server is asked about a few entries, by reading only.

use rollcall_core::dialect::{Dialect, HiddenState};
use rollcall_core::entry::Entry;
use rollcall_core::filter::{Attribute, Filter};
use tokio::time::Instant;

use crate::directory::{LdapDirectory, ReadRequest};
use crate::error::LdapError;
use crate::result_code::ResultCode;

/// Bytes of an objectGUID. A gateway that only looks like Active Directory shows others.
const GUID_BYTES: usize = 16;

impl LdapDirectory {
    /// The attributes that decide whether an account is enabled and that this server may have. `None` if it does not tell.
    ///
    /// # Errors
    /// No answer.
    pub async fn deciding_attributes(
        &self,
        dialect: Dialect,
        deadline: Instant,
    ) -> Result<Option<Vec<&'static str>>, LdapError> {
        let names = dialect.deciding_attributes();
        match dialect.row().hidden_state {
            HiddenState::AbsentFromAll => Ok(Some(names.collect())),
            HiddenState::UndefinedInFilters => {
                // A filter on an attribute that the server does not know is undefined too.
                let schema = self.schema(deadline).await?;
                let known = names.filter(|name| schema.defines(name)).collect();
                Ok((!schema.is_empty()).then_some(known))
            }
            HiddenState::Untold => Ok(None),
        }
    }

    /// Which of the [attributes](Self::deciding_attributes) that decide whether an account is enabled the service account may
    /// not read of these entries. `None` if the server does not tell.
    ///
    /// # Errors
    /// No answer.
    pub async fn hidden_state(
        &self,
        dialect: Dialect,
        dns: &[String],
        deadline: Instant,
    ) -> Result<Option<Vec<&'static str>>, LdapError> {
        let Some(names) = self.deciding_attributes(dialect, deadline).await? else {
            return Ok(None);
        };
        match dialect.row().hidden_state {
            _ if names.is_empty() => Ok(Some(names)),
            HiddenState::AbsentFromAll => self.absent_from_all(names, dns, deadline).await,
            HiddenState::UndefinedInFilters => self.undefined_in_filters(names, dns, deadline).await,
            HiddenState::Untold => Ok(None),
        }
    }

    /// If every user has these attributes and no entry shows one, it is hidden.
    async fn absent_from_all(
        &self,
        names: Vec<&'static str>,
        dns: &[String],
        deadline: Instant,
    ) -> Result<Option<Vec<&'static str>>, LdapError> {
        let mut absent: Option<Vec<&'static str>> = None;
        let attributes: Vec<&str> = names.iter().copied().chain(["objectGUID"]).collect();
        for dn in dns {
            let entry = self
                .read_if("(objectClass=user)", dn, &attributes, deadline)
                .await?;
            let is_user = |entry: &Entry| {
                let guid = entry.values("objectGUID").first();
                guid.is_some_and(|guid| guid.len() == GUID_BYTES)
            };
            if let Some(entry) = entry.filter(is_user) {
                let absent = absent.get_or_insert_with(|| names.clone());
                absent.retain(|name| entry.values(name).is_empty());
            }
        }
        Ok(absent)
    }

    /// On other servers a filter on an attribute that may not be searched is neither true nor false (RFC 4511 section
    /// 4.5.1.7), so neither `(a=*)` nor `(!(a=*))` finds the entry.
    async fn undefined_in_filters(
        &self,
        names: Vec<&'static str>,
        dns: &[String],
        deadline: Instant,
    ) -> Result<Option<Vec<&'static str>>, LdapError> {
        let mut hidden: Option<Vec<&'static str>> = None;
        for dn in dns {
            // Usually nothing is hidden, which one request shows.
            if self.undefined_of(dn, &names, deadline).await?.is_empty() {
                hidden.get_or_insert_default();
                continue;
            }
            if self
                .read_if("(objectClass=*)", dn, &[], deadline)
                .await?
                .is_none()
            {
                continue;
            }
            let hidden = hidden.get_or_insert_default();
            for name in &names {
                if !hidden.contains(name) {
                    hidden.extend(self.undefined_of(dn, &[name], deadline).await?);
                }
            }
        }
        let hidden = hidden.map(|hidden| names.into_iter().filter(|name| hidden.contains(name)).collect());
        Ok(hidden)
    }

    /// These names if one of them is hidden, and none otherwise.
    async fn undefined_of(
        &self,
        dn: &str,
        names: &[&'static str],
        deadline: Instant,
    ) -> Result<Vec<&'static str>, LdapError> {
        let present = names
            .iter()
            .filter_map(|name| Attribute::parse(name))
            .map(Filter::present);
        let decided = present.clone().map(|present| {
            let absent = Filter::Not(Box::new(present.clone()));
            Filter::or(vec![present, absent])
        });
        let decided = Filter::and(decided.collect());
        let Some(entry) = self.read_if(&decided.to_string(), dn, names, deadline).await? else {
            return Ok(names.to_vec());
        };
        // An attribute that may be searched may still not be shown.
        let unshown = names
            .iter()
            .zip(present)
            .filter(|(name, _)| entry.values(name).is_empty());
        let unshown: Vec<Filter> = unshown.map(|(_, present)| present).collect();
        if unshown.is_empty() {
            return Ok(Vec::new());
        }
        let unshown = Filter::or(unshown).to_string();
        Ok(match self.read_if(&unshown, dn, &[], deadline).await? {
            Some(_) => names.to_vec(),
            None => Vec::new(),
        })
    }

    async fn read_if(
        &self,
        filter: &str,
        dn: &str,
        attributes: &[&str],
        deadline: Instant,
    ) -> Result<Option<Entry>, LdapError> {
        let attributes = match attributes {
            [] => vec!["1.1".to_owned()],
            names => names.iter().map(|name| (*name).to_owned()).collect(),
        };
        let request = ReadRequest {
            dn: dn.to_owned(),
            filter: filter.to_owned(),
            attributes,
        };
        match self.read_entry(&request, deadline).await {
            Err(LdapError::SearchRefused(ResultCode::NO_SUCH_OBJECT)) => Ok(None),
            answer => answer,
        }
    }
}
