//! Whether a changed endpoint is still the directory that its users came from: whether it knows their ids.

use rollcall_core::check::{Stage, StageKind, StageResult};
use rollcall_core::directory::Directory;
use rollcall_core::error::Error;
use rollcall_core::external_id::ExternalId;
use rollcall_ldap::{ConnectionCheck, LdapDirectory, LdapError};
use rollcall_proto::{resource_name, v1};
use rollcall_store::StoreError;

use super::Span;
use crate::report::Confirmation;
use crate::worker::Worker;
use rollcall_service::record::Author;
use rollcall_service::resource::about;

/// Known people looked for, over all user syncs of the directory.
const SAMPLE: usize = 20;

/// How many of the sampled people were found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Sighting {
    found: usize,
    of: usize,
}

impl Sighting {
    /// Some people leave between two runs, but not half of them.
    fn is_proof(self) -> bool {
        self.of > 0 && self.found * 2 >= self.of
    }
}

impl Worker {
    /// Looks for known people under the new endpoint, and confirms it if they are there.
    pub(super) async fn confirm_endpoint(
        &self,
        author: &Author,
        directory: &Directory,
        check: &ConnectionCheck,
        span: Span,
    ) -> Result<Stage, Error> {
        let before = span.left();
        let stage = |result, message: String, hint: &str| Stage {
            kind: StageKind::ExternalId,
            subject: String::new(),
            result,
            duration: before.saturating_sub(span.left()),
            message,
            hint: hint.to_owned(),
        };
        let Some(root) = check.root_dse() else {
            let message = "not tried, since no host could be read".to_owned();
            return Ok(stage(StageResult::Skipped, message, ""));
        };
        let handle = self.directories.open(directory).await?.ldap.clone();
        let (known, mut bases) = self.known_people(directory).await?;
        bases.extend(root.data_naming_contexts());
        let seen = match look_for(&handle, &known, &bases, span).await {
            Ok(seen) => seen,
            Err(error) => {
                let hint = "Let the bind account read the entries with their ids, then check again.";
                return Ok(stage(
                    StageResult::Fail,
                    format!("known people cannot be looked for: {error}"),
                    hint,
                ));
            }
        };
        let Sighting { found, of } = seen;
        if !seen.is_proof() {
            let message = format!(
                "{found} of {of} known people are in the directory at the new endpoint: logins and runs wait"
            );
            let hint = "Correct the endpoint. If it is another directory on purpose, send UpdateDirectory with \
                        confirm_new_directory, then run its user syncs in mode RELINK.";
            return Ok(stage(StageResult::Fail, message, hint));
        }
        let (tenant, id, name) = (
            &directory.tenant,
            &directory.id,
            resource_name::directory(&directory.tenant, &directory.id),
        );
        let record = author.change::<_, v1::Directory>(tenant, &name, Vec::new());
        match self
            .store
            .confirm_endpoint(tenant, id, directory.revision, record)
            .await
        {
            Ok(confirmed) => {
                self.reports()
                    .tell_of_endpoint(
                        author.caller().name(),
                        &confirmed,
                        Confirmation::SamePeople,
                        self.now(),
                    )
                    .await?;
            }
            Err(StoreError::RevisionMismatch) => {
                let message = "the directory was changed while it was checked: check it again".to_owned();
                return Ok(stage(StageResult::Fail, message, ""));
            }
            Err(error) => return Err(about(&name)(error)),
        }
        let message =
            format!("{found} of {of} known people are in the directory at the new endpoint: it is confirmed");
        Ok(stage(StageResult::Pass, message, ""))
    }

    /// Ids of people known from the directory, and the bases under which its user syncs look for them.
    async fn known_people(&self, directory: &Directory) -> Result<(Vec<ExternalId>, Vec<String>), Error> {
        let syncs = self
            .store
            .user_syncs_of_directory(&directory.tenant, &directory.id)
            .await?;
        let (mut ids, mut bases) = (Vec::new(), Vec::new());
        for sync in syncs {
            let limit = u32::try_from(SAMPLE - ids.len()).unwrap_or(0);
            if limit > 0 {
                let known = self.store.known_users(&directory.tenant, &sync.id, limit).await?;
                ids.extend(known.into_iter().map(|known| known.external_id));
            }
            bases.extend(sync.settings.searches.into_iter().map(|search| search.base_dn));
        }
        bases.sort_unstable();
        bases.dedup();
        Ok((ids, bases))
    }
}

async fn look_for(
    handle: &LdapDirectory,
    known: &[ExternalId],
    bases: &[String],
    span: Span,
) -> Result<Sighting, LdapError> {
    let deadline = tokio::time::Instant::now() + span.left();
    let mut seen = Sighting {
        found: 0,
        of: known.len(),
    };
    for id in known {
        let attributes = [id.kind().attribute().to_owned()];
        let entry = handle
            .find_by_external_id(id, bases, &attributes, deadline)
            .await?;
        // A server that ignores filters must not pass for one that knows all ids, so the id of the entry is compared.
        let is_it = entry.is_some_and(|entry| {
            ExternalId::from_values(id.kind().clone(), entry.values(id.kind().attribute()))
                .is_ok_and(|read| read == *id)
        });
        seen.found += usize::from(is_it);
    }
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_known_people_are_proof_and_nobody_is_none() {
        for (found, of, proof) in [
            (0, 0, false),
            (0, 20, false),
            (9, 20, false),
            (10, 20, true),
            (1, 1, true),
        ] {
            assert_eq!(Sighting { found, of }.is_proof(), proof, "{found} of {of}");
        }
    }
}
