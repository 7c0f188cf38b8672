//! Ids that a pull met under two DNs. An entry that was moved while the pull went on is one person; two entries with one
//! id are nobody, since the id attribute that a tenant vouched for, or a broken server, does not tell who is who.

use std::collections::{HashMap, HashSet};

use rollcall_core::error::{Error, Reason};
use rollcall_core::external_id::ExternalId;
use rollcall_core::issue::{Issue, IssueKind};

use super::absences::{BATCH_IDS, find_anywhere};
use super::source::Source;

/// With more of them, the attribute is no id.
const MAX_DISPUTES: usize = 1000;
/// Ids asked for at a time, so few that each may be that of several entries.
const BATCH: usize = BATCH_IDS / 2;

/// Ids that were met under two DNs, with the second one.
#[derive(Debug, Default)]
pub(super) struct Disputes(HashMap<ExternalId, String>);

/// Ids that several entries have.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) ids: HashSet<ExternalId>,
    pub(super) issues: Vec<Issue>,
}

impl Disputes {
    /// # Errors
    /// `DIRECTORY_MISCONFIGURED` if there are too many.
    pub(super) fn note(&mut self, id: ExternalId, dn: &str) -> Result<(), Error> {
        self.0.insert(id, dn.to_owned());
        if self.0.len() <= MAX_DISPUTES {
            return Ok(());
        }
        let message = format!(
            "more than {MAX_DISPUTES} ids belong to several entries each: set external_id_attribute to an attribute \
             whose values are unique"
        );
        Err(Error::new(Reason::DirectoryMisconfigured, message))
    }

    /// Asks the directory which of the ids several entries have. Those that it does not tell of count as such.
    pub(super) async fn shared(self, source: &Source) -> Shared {
        let mut disputed: Vec<(ExternalId, String)> = self.0.into_iter().collect();
        disputed.sort_unstable();
        let mut shared = Shared::default();
        for batch in disputed.chunks(BATCH) {
            let ids: Vec<ExternalId> = batch.iter().map(|(id, _)| id.clone()).collect();
            let found = find_anywhere(source, &ids).await;
            let mut dns: HashMap<ExternalId, HashSet<String>> = HashMap::new();
            for (id, dn) in found.unwrap_or_default() {
                dns.entry(id).or_default().insert(dn);
            }
            for (id, second) in batch {
                let found = dns.remove(id).unwrap_or_default();
                if found.len() == 1 {
                    continue;
                }
                let mut entries: Vec<String> = found.into_iter().collect();
                if entries.is_empty() {
                    entries.push(second.clone());
                }
                entries.sort_unstable();
                shared.issues.extend(entries.iter().map(|dn| issue(id, dn)));
                shared.ids.insert(id.clone());
            }
        }
        shared
    }
}

/// The issue of an entry whose id others have too.
pub(super) fn issue(id: &ExternalId, dn: &str) -> Issue {
    let message = "several entries have this id, so nobody can tell which of them is the person; none of them was taken";
    Issue::new(IssueKind::DuplicateInDirectory, dn, message).about(id.kind().attribute(), &id.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rollcall_core::external_id::IdKind;

    use super::*;

    #[test]
    fn an_attribute_with_too_many_shared_values_is_no_id() {
        let id = |number: usize| {
            ExternalId::from_bytes(IdKind::EntryUuid, &(number as u128).to_be_bytes()).unwrap()
        };
        let mut disputes = Disputes::default();
        for number in 0..MAX_DISPUTES {
            disputes.note(id(number), "cn=second").unwrap();
            disputes.note(id(number), "cn=third").unwrap();
        }
        let error = disputes.note(id(MAX_DISPUTES), "cn=second").unwrap_err();
        assert_eq!(error.reason, Reason::DirectoryMisconfigured);
    }
}
