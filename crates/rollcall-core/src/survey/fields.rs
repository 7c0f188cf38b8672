//! What a check says about the mapped fields and the attributes that they read.

use super::*;
use crate::template::{Template, as_written};
use crate::text_form::{has_text_form, is_known_binary};

impl Survey {
    pub(super) fn see_fields(&mut self, entry: &Entry) {
        let mapping = self.reader.mapping();
        for attribute in mapping.attributes() {
            let values = entry.values(&attribute);
            if values.iter().any(|value| !value.is_empty()) {
                *self.with_attribute.entry(attribute.clone()).or_default() += 1;
            }
            if values.iter().any(|value| text_form(&attribute, value).is_none()) {
                *self.undecodable.entry(attribute).or_default() += 1;
            }
        }
        // What cannot be decoded fills nothing.
        let has = |name: &String| {
            let values = entry.values(name).iter();
            values
                .filter_map(|value| text_form(name, value))
                .any(|text| !text.is_empty())
        };
        for (field, candidates) in mapping.fields() {
            if candidates
                .iter()
                .any(|candidate| candidate.attributes().iter().all(has))
            {
                *self.filled.entry(field).or_default() += 1;
            }
        }
        for name in entry.attributes.keys() {
            let base = name.split(';').next().unwrap_or_default();
            if !self.asked.contains(base) && self.strangers.len() < MAX_STRANGERS {
                self.strangers
                    .entry(name.clone())
                    .or_insert_with(|| entry.dn.clone());
            }
        }
    }

    /// One for each field, with its candidates as they are written.
    pub(super) fn field_stages(&self, schema: &Schema, answered: &BTreeMap<String, String>) -> Vec<Stage> {
        let fields = self.reader.mapping().fields();
        fields
            .filter(|(_, candidates)| !candidates.is_empty())
            .map(|(field, candidates)| self.field_stage(&field, candidates, schema, answered))
            .collect()
    }

    fn field_stage(
        &self,
        field: &str,
        candidates: &[Template],
        schema: &Schema,
        answered: &BTreeMap<String, String>,
    ) -> Stage {
        let subject: Vec<&str> = candidates.iter().map(Template::as_str).collect();
        let subject = subject.join(", ");
        let about = |result, message: String, hint: &str| {
            stage(StageKind::FieldMappings, &*subject, result, message, hint)
        };
        let attributes: BTreeSet<String> = candidates.iter().flat_map(Template::attributes).collect();
        for attribute in &attributes {
            let shown = as_written(&subject, attribute);
            if let Some((message, hint)) = self.refusal(shown, attribute, schema, answered) {
                return about(StageResult::Fail, format!("{field}: {message}"), &hint);
            }
        }
        let unknown: Vec<&str> = attributes
            .iter()
            .filter(|name| !schema.is_empty() && !schema.defines(name))
            .map(|name| as_written(&subject, name))
            .collect();
        let (unknown, spelling) = match unknown.is_empty() {
            true => (String::new(), ""),
            false => (
                format!(" The server does not know {}.", unknown.join(", ")),
                "Check the spelling. ",
            ),
        };
        let entries = self.tally.entries();
        if entries == 0 {
            let (result, message) = match unknown.is_empty() {
                true => (
                    StageResult::Skipped,
                    "not tried, since no entry was found".to_owned(),
                ),
                false => (StageResult::Warn, format!("{field}:{unknown}")),
            };
            return about(result, message, spelling.trim_end());
        }
        let filled = self.filled.get(field).copied().unwrap_or(0);
        let percent = match (filled * 100 / entries, filled) {
            (0, 1..) => "Less than 1".to_owned(),
            (percent, _) => percent.to_string(),
        };
        let of_all = counted(entries, "entry has", "entries have");
        let mut message = format!("{field}: {percent} % of {of_all} a value.{unknown}");
        let undecodable: Vec<String> = attributes
            .iter()
            .filter_map(|name| {
                let count = self.undecodable.get(name)?;
                let entries = counted(*count, "entry has", "entries have");
                let shown = as_written(&subject, name);
                Some(format!(" {entries} a value of {shown} that cannot be decoded."))
            })
            .collect();
        message.push_str(&undecodable.concat());
        let (result, hint) = match (field, filled) {
            ("login", 0) => (
                StageResult::Fail,
                "Nobody would become a user. Map the login to an attribute that the entries have, and let the bind account \
                 read it.",
            ),
            (_, 0) => (
                StageResult::Warn,
                "The attribute may be empty, or the bind account may not read it. Map another one, or give the right.",
            ),
            _ if !undecodable.is_empty() => (StageResult::Warn, IssueKind::UndecodableEntry.hint()),
            ("login", some) if some < entries => (StageResult::Warn, IssueKind::MissingRequiredField.hint()),
            _ => (StageResult::Pass, ""),
        };
        about(
            result,
            message,
            &format!("{}{hint}", if hint.is_empty() { "" } else { spelling }),
        )
    }

    /// Why no field can be mapped to an attribute, and what to do; `None` if one can.
    fn refusal(
        &self,
        shown: &str,
        attribute: &str,
        schema: &Schema,
        answered: &BTreeMap<String, String>,
    ) -> Option<(String, String)> {
        let text = has_text_form(attribute) || schema.name_of(attribute).is_some_and(has_text_form);
        if is_known_binary(attribute) || (!text && schema.is_binary(attribute) == Some(true)) {
            let hint = "Map the field to an attribute of text.".to_owned();
            return Some((
                format!("{shown} holds bytes and no text, so no field can have its value."),
                hint,
            ));
        }
        if let Some(other) = answered.get(attribute) {
            let hint = format!("Write {other} instead, or let the bind account read the server's schema.");
            return Some((
                format!("The server answers {other} when it is asked for {shown}."),
                hint,
            ));
        }
        if schema.has_subtypes(attribute) && self.with(attribute) == 0 {
            let message = format!(
                "{shown} is what several attributes have in common, such as cn and sn have name. A server answers with \
                 those, and no entry has {shown} itself."
            );
            return Some((message, "Map one of them.".to_owned()));
        }
        None
    }
}
