//! Attributes with more values than the server sends at once (MS-ADTS 3.1.1.3.1.3.3): `member;range=0-1499`
//! stands for the first 1,500, `member;range=1500-*` asks for the rest.

use rollcall_core::entry::Entry;
use tokio::time::Instant;

use crate::connection::{Connection, Query};
use crate::entry;
use crate::error::LdapError;
use crate::lookup::find;
use crate::protocol_violation::ProtocolViolation;

/// Most values that are collected of one attribute.
const MAX_VALUES: usize = 1_000_000;

/// Reads the ranged attributes of an entry to their end and puts the values under the plain name. The entry
/// must come from a base search with `query`.
///
/// # Errors
/// Those of the searches; a range that does not go on where the last one ended.
pub(crate) async fn complete(
    connection: &mut Connection,
    query: &Query,
    mut whole: Entry,
    deadline: Instant,
) -> Result<Entry, LdapError> {
    let ranged: Vec<String> = whole
        .attributes
        .keys()
        .filter(|name| entry::range(name).is_some())
        .cloned()
        .collect();
    for name in ranged {
        let Some((attribute, mut last)) = entry::range(&name) else {
            continue;
        };
        let mut values = whole.attributes.remove(&name).unwrap_or_default();
        while let Some(high) = last {
            if high as usize + 1 != values.len() || values.len() > MAX_VALUES {
                return Err(LdapError::Protocol(ProtocolViolation::Range));
            }
            let next = Query {
                attributes: vec![format!("{attribute};range={}-*", values.len())],
                ..query.clone()
            };
            let found = find(connection, &next, deadline).await?;
            let part = found.entries.into_iter().next().unwrap_or_default();
            let range = part.attributes.into_iter().find_map(|(name, values)| {
                let (of, high) = entry::range(&name)?;
                (of == attribute).then_some((high, values))
            });
            // Values may have been removed meanwhile, so that no value follows this range.
            let Some((high, more)) = range.filter(|(_, more)| !more.is_empty()) else {
                break;
            };
            values.extend(more);
            last = high;
        }
        whole.attributes.insert(attribute.to_owned(), values);
    }
    Ok(whole)
}
