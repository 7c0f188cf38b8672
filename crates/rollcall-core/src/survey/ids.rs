//! What a check says about the ids of the entries.

use super::*;

impl Survey {
    pub(super) fn see_ids(&mut self, entry: &Entry) {
        for kind in self.reader.id_kinds() {
            match ExternalId::from_values(kind.clone(), entry.values(kind.attribute())) {
                Ok(id) => {
                    let first = self.ids.entry(id).or_insert_with(|| entry.dn.clone());
                    if *first != entry.dn {
                        let pair = (first.clone(), entry.dn.clone());
                        self.shared_ids.entry(kind.clone()).or_insert(pair);
                    }
                }
                Err(ExternalIdProblem::Missing) => {}
                Err(_) => {
                    let reader = self.reader.clone().with_id_kind(kind.clone());
                    if let Err(issue) = reader.external_id(entry) {
                        self.bad_ids.entry(kind.clone()).or_insert(*issue);
                    }
                }
            }
        }
    }

    pub(super) fn id_stages(&self, kind: Option<&IdKind>, schema: &Schema) -> Vec<Stage> {
        let entries = self.tally.entries();
        let Some(kind) = kind.filter(|_| entries > 0) else {
            let message = "not tried, since no entry was found";
            return vec![stage(
                StageKind::ExternalId,
                "",
                StageResult::Skipped,
                message,
                "",
            )];
        };
        let about = |result, message: String, hint: &str| {
            stage(StageKind::ExternalId, kind.attribute(), result, message, hint)
        };
        let mut stages = Vec::new();
        let with = self.tally.with(kind);
        let bad = self.bad_ids.get(kind);
        let hint = match bad {
            Some(issue) => issue.hint(),
            None if self.reader.dialect().row().guesses_external_ids && with == 0 => {
                "Let the bind account read the attribute, or set the external id attribute to one that never changes and \
                 is never reused."
            }
            None => "Let the bind account read the attribute on all entries.",
        };
        let why = bad.map_or_else(String::new, |issue| {
            let value = issue.value.as_deref().unwrap_or_default();
            format!(" For example {}: {} ({value:?}).", issue.dn, issue.message)
        });
        if with == 0 {
            let names: Vec<&str> = self.reader.id_kinds().iter().map(IdKind::attribute).collect();
            let message = format!("No entry has a usable stable id in {}.{why}", names.join(" or "));
            return vec![about(StageResult::Fail, message, hint)];
        }
        if with < entries {
            let has = if with == 1 { "has" } else { "have" };
            let others = match entries - with {
                1 => "the other cannot be imported, whatever other ids it has",
                _ => "the others cannot be imported, whatever other ids they have",
            };
            let (of, name) = (entries_of(entries), kind.attribute());
            let message = format!("{with} of {of} {has} a stable id in {name}; {others}.{why}");
            stages.push(about(StageResult::Warn, message, hint));
        }
        if let Some((one, other)) = self.shared_ids.get(kind) {
            let result = match kind {
                IdKind::Other(_) => StageResult::Fail,
                IdKind::ObjectGuid
                | IdKind::EntryUuid
                | IdKind::NsUniqueId
                | IdKind::IpaUniqueId
                | IdKind::Guid => StageResult::Warn,
            };
            let message = format!("The ids are not unique: {one} and {other} have the same.");
            stages.push(about(result, message, IssueKind::DuplicateInDirectory.hint()));
        }
        if may_be_written(kind, self.reader.dialect(), schema) {
            let message =
                "By the server's schema the id is an ordinary attribute, which people may write.".to_owned();
            let hint = "Whoever may write it can become another person. Use an attribute that the server keeps, or make \
                        sure that nobody but administrators can write it.";
            stages.push(about(StageResult::Warn, message, hint));
        }
        if stages.is_empty() {
            let message = format!("All entries have a stable id in {}.", kind.attribute());
            stages.push(about(StageResult::Pass, message, ""));
        }
        stages
    }
}

/// True if the schema says that others than the server write the attribute.
fn may_be_written(kind: &IdKind, dialect: Dialect, schema: &Schema) -> bool {
    !dialect.row().server_written_ids.contains(kind)
        && schema.is_kept_by_server(kind.attribute()) == Some(false)
}
