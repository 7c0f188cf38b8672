//! The entry of a person whose external id is known, wherever it is.

use rollcall_core::dialect::Dialect;
use rollcall_core::dn::is_same_dn;
use rollcall_core::entry::Entry;
use rollcall_core::external_id::{ExternalId, IdKind};
use rollcall_core::person::{self, not_a_person};
use rollcall_core::user_sync::SearchScope;
use tokio::time::Instant;

use super::LdapDirectory;
use super::search::ReadRequest;
use crate::error::{LdapError, Misconfiguration};
use crate::guid_bind::guid_dn;
use crate::result_code::ResultCode;

/// Entries with one external id that are looked at: a person, and aliases with the same value.
const MAX_NAMESAKES: u32 = 8;

impl LdapDirectory {
    /// Finds the person with this external id under any of the bases. If the server accepts a GUID as a DN, the whole
    /// directory is searched, whatever the bases are. An entry that is not a person, such as an alias, is skipped,
    /// whatever id it shows.
    ///
    /// # Errors
    /// Like [`find`](Self::find), but a base that does not exist counts as empty. `Misconfigured` with `SharedId` if
    /// several entries have the id: none of them may pass for the person.
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
                    for entry in people.filter(|entry| not_a_person(dialect, entry).is_none()) {
                        // One base may be below another, so the same entry may come twice.
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

    /// Reads the entry by its GUID instead of its DN, as Active Directory allows (MS-ADTS 3.1.1.3.1.2.4). `None` if the
    /// server, whatever it calls itself, does not answer with this very entry: then the entry has to be searched for.
    async fn read_by_guid(
        &self,
        id: &ExternalId,
        attributes: &[String],
        deadline: Instant,
    ) -> Result<Option<Entry>, LdapError> {
        if !self.pools.takes_guid_names() || *id.kind() != IdKind::ObjectGuid {
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
}
