//! Which part of a filter does not match. The server answers for each part of the filter, so that nobody else has to
//! know how it compares.

use rollcall_core::entry::Entry;
use rollcall_core::filter::Filter;
use rollcall_core::secret_attribute::is_secret;
use rollcall_ldap::{LdapDirectory, LdapError, ReadRequest};
use rollcall_proto::v1::{ClauseAnswer, FilterClause};
use rollcall_service::scope::matches;
use tokio::time::Instant;

use super::step::cut;

/// Parts of a filter that are asked about.
const MAX_CLAUSES: usize = 100;
/// Values of an attribute that are shown, and how many characters of each.
const MAX_VALUES: usize = 5;
const MAX_VALUE_CHARS: usize = 100;

/// The parts of a filter, each with the server's answer for the entry at `dn`.
///
/// Nothing is asked about secrets: settings with such a filter were refused, and the request itself would be.
pub(super) async fn answers(
    ldap: &LdapDirectory,
    dn: &str,
    filter: &Filter,
    deadline: Instant,
) -> Vec<FilterClause> {
    let shown = attributes(ldap, dn, filter, deadline).await;
    let mut answers = Vec::new();
    for clause in filter.clauses().into_iter().take(MAX_CLAUSES) {
        let part = clause.filter;
        let names = match part {
            Filter::And(_) | Filter::Or(_) | Filter::Not(_) => None,
            Filter::Present(_)
            | Filter::Compare { .. }
            | Filter::Substrings { .. }
            | Filter::Extensible { .. } => part.attributes().into_iter().next(),
        };
        answers.push(FilterClause {
            depth: i32::try_from(clause.depth).unwrap_or(i32::MAX),
            clause: part.to_string(),
            answer: ask(ldap, dn, part, deadline).await.into(),
            values: names.map(|name| values(&shown, &name)).unwrap_or_default(),
        });
    }
    answers
}

async fn ask(ldap: &LdapDirectory, dn: &str, part: &Filter, deadline: Instant) -> ClauseAnswer {
    let matches = async |filter: &Filter| matches(ldap, dn, &filter.to_string(), deadline).await;
    match matches(part).await {
        Ok(true) => ClauseAnswer::True,
        Err(_) => ClauseAnswer::Unknown,
        Ok(false) => match matches(&Filter::Not(Box::new(part.clone()))).await {
            Ok(true) => ClauseAnswer::False,
            Ok(false) => ClauseAnswer::Undefined,
            Err(_) => ClauseAnswer::Unknown,
        },
    }
}

/// What the entry shows in the attributes that the filter asks about.
async fn attributes(ldap: &LdapDirectory, dn: &str, filter: &Filter, deadline: Instant) -> Entry {
    let attributes = filter.attributes().into_iter();
    let request = ReadRequest {
        dn: dn.to_owned(),
        filter: "(objectClass=*)".to_owned(),
        attributes: attributes.filter(|name| !is_secret(name)).collect(),
    };
    let read: Result<Option<Entry>, LdapError> = ldap.read_entry(&request, deadline).await;
    read.ok().flatten().unwrap_or_default()
}

fn values(entry: &Entry, attribute: &str) -> Vec<String> {
    let values = entry.values(attribute).iter().take(MAX_VALUES);
    values
        .map(|value| match std::str::from_utf8(value) {
            Ok(text) => cut(text, MAX_VALUE_CHARS),
            Err(_) => format!("{} bytes", value.len()),
        })
        .collect()
}
