//! The sources of settings and how each becomes a list of single settings with their place.

use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use super::Mistakes;

/// Where settings come from, already read.
#[derive(Default)]
pub struct Sources {
    /// Name of the file as told by the operator, and its text.
    pub file: Option<(String, String)>,
    /// The environment.
    pub environment: BTreeMap<String, String>,
    /// Dotted key and value of each flag, in order; a later one wins.
    pub flags: Vec<(String, String)>,
}

/// One key that a source sets.
pub(super) struct Setting {
    pub(super) key: String,
    pub(super) value: Value,
    pub(super) place: String,
}

impl Sources {
    /// All settings whose keys exist, lowest source first. Unknown keys are reported.
    pub(super) fn settings(&self, prefix: &str, defaults: &Table, mistakes: &mut Mistakes) -> Vec<Setting> {
        let mut settings = self.of_file(mistakes);
        settings.extend(self.of_environment(prefix, defaults));
        settings.extend(self.flags.iter().map(|(key, text)| Setting {
            key: key.clone(),
            value: typed(text, get(defaults, key)),
            place: format!("--set {key}"),
        }));
        settings.retain(|setting| {
            let known = get(defaults, &setting.key).is_some_and(|value| !value.is_table());
            if !known {
                mistakes.at(&setting.place, &setting.key, unknown(defaults, &setting.key));
            }
            known
        });
        settings
    }

    fn of_file(&self, mistakes: &mut Mistakes) -> Vec<Setting> {
        let Some((name, text)) = &self.file else {
            return Vec::new();
        };
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            // The error's own Display would quote the line, and with it perhaps a secret.
            let line = error.span().map_or(1, |span| line_of(text, span.start));
            mistakes.at(&format!("{name}:{line}"), "syntax", error.message());
        }
        let mut settings = Vec::new();
        if errors.is_empty() {
            flatten(
                table.get_ref(),
                "",
                &|at| format!("{name}:{}", line_of(text, at)),
                &mut settings,
            );
        }
        settings
    }

    fn of_environment(&self, prefix: &str, defaults: &Table) -> impl Iterator<Item = Setting> {
        // Two underscores: for a Service named auth-gateway, Kubernetes sets AUTH_GATEWAY_PORT and the like.
        let prefix = format!("{prefix}__");
        self.environment.iter().filter_map(move |(variable, text)| {
            let key = variable.strip_prefix(&prefix)?.to_lowercase().replace("__", ".");
            Some(Setting {
                value: typed(text, get(defaults, &key)),
                key,
                place: variable.clone(),
            })
        })
    }
}

/// Sets a dotted key.
pub(super) fn set(table: &mut Table, key: &str, value: Value) {
    match key.split_once('.') {
        None => {
            table.insert(key.to_owned(), value);
        }
        Some((head, rest)) => {
            let inner = table.entry(head).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(inner) = inner {
                set(inner, rest, value);
            }
        }
    }
}

/// Lays `upper` over `lower`.
pub(super) fn merge(lower: &mut Table, upper: Table) {
    for (key, value) in upper {
        match (lower.get_mut(&key), value) {
            (Some(Value::Table(lower)), Value::Table(upper)) => merge(lower, upper),
            (_, value) => {
                lower.insert(key, value);
            }
        }
    }
}

/// The dotted keys that have another value in `after` than in `before`.
pub(crate) fn changed_keys(before: &Table, after: &Table) -> Vec<String> {
    let mut changed = Vec::new();
    for (name, value) in after {
        match (before.get(name), value) {
            (Some(Value::Table(before)), Value::Table(after)) => {
                changed.extend(
                    changed_keys(before, after)
                        .into_iter()
                        .map(|key| format!("{name}.{key}")),
                );
            }
            (Some(before), after) if before == after => {}
            _ => changed.push(name.clone()),
        }
    }
    changed
}

/// Gives a dotted key the value that it has in another table.
pub(crate) fn copy_key(from: &Table, to: &mut Table, key: &str) {
    if let Some(value) = get(from, key) {
        set(to, key, value.clone());
    }
}

fn get<'a>(table: &'a Table, key: &str) -> Option<&'a Value> {
    match key.split_once('.') {
        None => table.get(key),
        Some((head, rest)) => get(table.get(head)?.as_table()?, rest),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "of toml: all others hold no keys")]
fn flatten(table: &DeTable<'_>, path: &str, place: &dyn Fn(usize) -> String, settings: &mut Vec<Setting>) {
    for (name, value) in table {
        let key = if path.is_empty() {
            name.get_ref().to_string()
        } else {
            format!("{path}.{}", name.get_ref())
        };
        match value.get_ref() {
            DeValue::Table(inner) => flatten(inner, &key, place, settings),
            leaf => settings.push(Setting {
                key,
                value: plain(leaf),
                place: place(name.span().start),
            }),
        }
    }
}

fn plain(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::String(text.to_string()),
        // Out of i64's range is as wrong as text here, and is then reported as a value of the wrong type.
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| Value::String(number.to_string()), Value::Integer),
        DeValue::Float(number) => number
            .as_str()
            .parse()
            .map_or_else(|_| Value::String(number.to_string()), Value::Float),
        DeValue::Boolean(yes) => Value::Boolean(*yes),
        DeValue::Datetime(time) => Value::Datetime(*time),
        DeValue::Array(elements) => {
            Value::Array(elements.iter().map(|element| plain(element.get_ref())).collect())
        }
        DeValue::Table(table) => Value::Table(
            table
                .iter()
                .map(|(key, value)| (key.get_ref().to_string(), plain(value.get_ref())))
                .collect(),
        ),
    }
}

/// Reads the text of a variable or a flag as the type that the default has. A list may be written as TOML
/// or as words with commas between them.
fn typed(text: &str, default: Option<&Value>) -> Value {
    let as_toml = || {
        format!("value = {text}")
            .parse::<Table>()
            .ok()
            .and_then(|mut table| table.remove("value"))
    };
    match default {
        Some(Value::Array(elements)) if !text.trim_start().starts_with('[') => {
            let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
            Value::Array(words.map(|word| typed(word, elements.first())).collect())
        }
        None | Some(Value::String(_)) => Value::String(text.to_owned()),
        Some(_) => as_toml().unwrap_or_else(|| Value::String(text.to_owned())),
    }
}

fn unknown(defaults: &Table, key: &str) -> String {
    let mut path = key;
    while let Some((parent, _)) = path.rsplit_once('.') {
        if let Some(Value::Table(section)) = get(defaults, parent) {
            let keys: Vec<&str> = section.keys().map(String::as_str).collect();
            return format!("unknown key; [{parent}] has {}", keys.join(", "));
        }
        path = parent;
    }
    match defaults.get(path) {
        Some(Value::Table(_)) => "is a section, not a value".to_owned(),
        _ => {
            let keys: Vec<&str> = defaults.keys().map(String::as_str).collect();
            format!("unknown key; there are {}", keys.join(", "))
        }
    }
}

fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes()
        .iter()
        .take(at)
        .filter(|byte| **byte == b'\n')
        .count()
        + 1
}
