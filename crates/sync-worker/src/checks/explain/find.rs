//! Finds the entries that a question is about.

use rollcall_core::check::StageResult;
use rollcall_core::dn::is_same_dn;
use rollcall_core::entry::Entry;
use rollcall_core::external_id::ExternalId;
use rollcall_core::filter::Filter;
use rollcall_core::user_sync::SearchScope;
use rollcall_ldap::{LdapError, ReadRequest, ResultCode};
use rollcall_proto::convert::explain::PersonAsked;
use rollcall_proto::v1;

use super::explainer::Explainer;
use super::step::{Kind, step};
use crate::run::Source;
use crate::run::lookups::absences::find_entries;

/// Entries with one identifier that are explained. A hostile directory may send many.
const MAX_ENTRIES: usize = 10;

/// What was found.
#[derive(Default)]
pub(super) struct Found {
    pub(super) entries: Vec<Entry>,
    /// There are more entries than are here.
    pub(super) more: bool,
    /// Where the entries were looked for, in words.
    looked: String,
    /// Candidates of login and e-mail address for which no search is possible.
    unsearchable: Vec<String>,
}

/// Finds the entries.
///
/// # Errors
/// The directory does not answer.
pub(super) async fn find(source: &Source, x: &Explainer<'_>) -> Result<Found, LdapError> {
    let mut found = Found::default();
    // A DN says where the entry is. Everything else is searched for.
    let directory = &x.subject.settings.directory;
    let known = x.user.and_then(|user| user.origin.as_ref());
    let known = known.filter(|origin| origin.directory == *directory);
    match x.person {
        PersonAsked::Dn(dn) => {
            found.looked = "at this name".to_owned();
            let request = ReadRequest {
                dn: dn.clone(),
                filter: "(objectClass=*)".to_owned(),
                attributes: source.reader.attributes(),
            };
            match source.ldap.read_entry(&request, x.end).await {
                Ok(entry) => found.add(entry),
                // The server does not know this DN.
                Err(LdapError::SearchRefused(_)) => {}
                Err(error) => return Err(error),
            }
        }
        PersonAsked::ExternalId(text) => {
            let kinds = source.reader.id_kinds().iter();
            let ids: Vec<ExternalId> = kinds
                .filter_map(|kind| ExternalId::parse(kind.clone(), text).ok())
                .collect();
            let kinds: Vec<&str> = source
                .reader
                .id_kinds()
                .iter()
                .map(|kind| kind.attribute())
                .collect();
            found.looked = format!("by {}", kinds.join(", "));
            found.by_ids(source, &ids).await?;
        }
        PersonAsked::User(_) => {
            if let Some(origin) = known {
                found.looked = format!("by the user's {}", origin.external_id.kind().attribute());
                found
                    .by_ids(source, std::slice::from_ref(&origin.external_id))
                    .await?;
            }
        }
        PersonAsked::Identifier(text) => {
            if let Some(origin) = known {
                found
                    .by_ids(source, std::slice::from_ref(&origin.external_id))
                    .await?;
            }
            found.by_value(source, x, text).await?;
        }
    }
    Ok(found)
}

/// A filter that finds entries with one of these values in what login and e-mail address are mapped to; `None` if no
/// search can. Also returns the candidates that the filter leaves out.
pub(super) fn having(source: &Source, values: &[String]) -> (Option<Filter>, Vec<String>) {
    let (mut parts, mut left_out) = (Vec::new(), Vec::new());
    for (path, templates) in source.reader.mapping().fields() {
        if path != "login" && path != "email" {
            continue;
        }
        for template in templates {
            match template.attribute() {
                Some(attribute) => parts.extend(
                    values
                        .iter()
                        .map(|value| Filter::equality(attribute.clone(), value.as_bytes())),
                ),
                None => left_out.push(template.as_str().to_owned()),
            }
        }
    }
    let mut unique: Vec<Filter> = Vec::with_capacity(parts.len());
    parts.into_iter().for_each(|part| {
        if !unique.contains(&part) {
            unique.push(part);
        }
    });
    ((!unique.is_empty()).then(|| Filter::or(unique)), left_out)
}

impl Found {
    fn add(&mut self, entries: impl IntoIterator<Item = Entry>) {
        for entry in entries {
            if self.entries.iter().any(|known| is_same_dn(&known.dn, &entry.dn)) {
                continue;
            }
            match self.entries.len() < MAX_ENTRIES {
                true => self.entries.push(entry),
                false => self.more = true,
            }
        }
    }

    async fn by_ids(&mut self, source: &Source, ids: &[ExternalId]) -> Result<(), LdapError> {
        if ids.is_empty() {
            return Ok(());
        }
        let found = find_entries(source, ids, &source.reader.attributes()).await?;
        self.add(found.into_iter().map(|(_, entry)| entry));
        Ok(())
    }

    async fn by_value(&mut self, source: &Source, x: &Explainer<'_>, value: &str) -> Result<(), LdapError> {
        let (filter, left_out) = having(source, &[value.to_owned()]);
        self.unsearchable = left_out;
        let Some(filter) = filter else {
            return Ok(());
        };
        let filter = filter.to_string();
        self.looked = format!("in the whole directory, by {filter}");
        // People ask most about entries outside of the searches.
        let mut bases = source.naming_contexts().await?.to_vec();
        if bases.is_empty() {
            bases = x
                .subject
                .settings
                .searches
                .iter()
                .map(|search| search.base_dn.clone())
                .collect();
            self.looked = format!("below the bases of the searches, by {filter}");
        }
        for base in &bases {
            let limit = u32::try_from(MAX_ENTRIES).unwrap_or(u32::MAX);
            let attributes = source.reader.attributes();
            let found = source
                .ldap
                .find(base, SearchScope::Subtree, &filter, &attributes, limit, x.end)
                .await;
            match found {
                Ok(found) => {
                    self.more |= found.more;
                    self.add(found.entries);
                }
                Err(LdapError::SearchRefused(ResultCode::NO_SUCH_OBJECT)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The step about a person without an entry.
    pub(super) fn absence(&self) -> v1::ExplanationStep {
        let mut message = match self.looked.is_empty() {
            true => "There is no entry to look for.".to_owned(),
            false => format!("No entry was found {}.", self.looked),
        };
        if !self.unsearchable.is_empty() {
            message += &format!(
                " Nobody can search for what is put together, as login and email are from {}: ask by the entry's name.",
                self.unsearchable.join(", ")
            );
        }
        let hint = "If the person is in the directory, the value is spelled differently there, or the bind account may not \
                    see the entry or the attribute. A LOCAL user has no entry.";
        step(Kind::Entry, StageResult::Fail, "", message, hint)
    }
}
