//! Configuration: built-in defaults < file < environment < command line.
//!
//! [`load`] is a pure function from texts to typed settings; [`from_process`] is the shell around it. The
//! defaults are commented TOML texts and double as the schema: a key that is not there is unknown. Every
//! value is tried alone on top of the defaults, so each mistake is told with its place, and all at once.
//!
//! A service adds its own sections with a type that implements [`Settings`]; the shared ones come as
//! [`Shared`].

mod arguments;
mod cidr;
mod layers;
mod mistake;
mod shared;
mod value;

use serde::de::DeserializeOwned;
use toml::{Table, Value};

pub use arguments::{ConfigArguments, from_process};
pub use cidr::Cidr;
pub use layers::Sources;
pub use mistake::{Mistake, Mistakes};
pub use shared::{
    CallerEntry, Drain, Egress, Health, IdentifierUniqueness, Keyring, LogFormat, Server, Shared, Store,
    Telemetry, TokenEntry, Users,
};
pub use value::{Secret, SecretFileError, duration, optional_address, optional_path};

use layers::Setting;

/// A service's own sections.
pub trait Settings: DeserializeOwned {
    /// Beginning of this service's environment variables, for example `AUTH_GATEWAY`.
    const ENVIRONMENT_PREFIX: &'static str;
    /// The commented defaults of the service's own sections, and of shared keys whose default differs.
    const DEFAULTS: &'static str;
    /// Dotted keys whose values are secret: never printed, not even in a mistake.
    const SECRETS: &'static [&'static str];

    /// Reports values out of range and contradictions.
    fn validate(&self, shared: &Shared, mistakes: &mut Mistakes);
}

/// Settings as loaded and found valid.
pub struct Loaded<T> {
    /// The sections that both services have.
    pub shared: Shared,
    /// The service's own sections.
    pub own: T,
    effective: Table,
}

impl<T: Settings> Loaded<T> {
    /// The settings in effect as TOML, with secrets redacted.
    pub fn to_redacted_toml(&self) -> String {
        let mut table = self.effective.clone();
        for key in secret_keys::<T>() {
            redact(&mut table, key);
        }
        toml::to_string(&table).expect("a parsed table is always printable")
    }
}

/// Loads the settings of one service. The built-in defaults must be valid by themselves.
///
/// # Errors
/// Every mistake in every source.
pub fn load<T: Settings>(sources: &Sources) -> Result<Loaded<T>, Mistakes> {
    let defaults = built_in_defaults::<T>();
    let mut mistakes = Mistakes::default();
    let settings = sources.settings(T::ENVIRONMENT_PREFIX, &defaults, &mut mistakes);

    let mut effective = defaults.clone();
    for setting in &settings {
        match try_alone::<T>(&defaults, setting) {
            Ok(()) => layers::set(&mut effective, &setting.key, setting.value.clone()),
            Err(problems) => {
                for problem in problems {
                    mistakes.at(&setting.place, &setting.key, problem);
                }
            }
        }
    }

    let (shared, own) = read::<T>(&effective).map_err(|error| {
        mistakes.add("settings", error.message());
        std::mem::take(&mut mistakes)
    })?;
    let mut invalid = Mistakes::default();
    shared.validate(&mut invalid);
    own.validate(&shared, &mut invalid);
    mistakes.append(invalid.placed(&settings));
    mistakes.into_result().map(|()| Loaded {
        shared,
        own,
        effective,
    })
}

fn built_in_defaults<T: Settings>() -> Table {
    let mut table: Table = shared::DEFAULTS
        .parse()
        .expect("the built-in defaults are valid TOML");
    let own: Table = T::DEFAULTS
        .parse()
        .expect("the service's built-in defaults are valid TOML");
    layers::merge(&mut table, own);
    table
}

fn read<T: Settings>(table: &Table) -> Result<(Shared, T), toml::de::Error> {
    Ok((table.clone().try_into()?, table.clone().try_into()?))
}

/// Tries one setting on top of the defaults. Elements of an array of tables are tried key by key.
fn try_alone<T: Settings>(defaults: &Table, setting: &Setting) -> Result<(), Vec<String>> {
    let attempt = |value: Value| {
        let mut table = defaults.clone();
        layers::set(&mut table, &setting.key, value);
        read::<T>(&table)
            .map(|_| ())
            .map_err(|error| match is_secret::<T>(&setting.key) {
                true => "is not valid".to_owned(),
                false => first_line(error.message()),
            })
    };
    let Value::Array(elements) = &setting.value else {
        return attempt(setting.value.clone()).map_err(|problem| vec![problem]);
    };
    let mut problems = Vec::new();
    for (index, element) in elements.iter().enumerate() {
        let place = |problem: String| format!("entry {}: {problem}", index + 1);
        match element {
            Value::Table(table) => {
                for (key, value) in table {
                    let alone = Table::from_iter([(key.clone(), value.clone())]);
                    let attempt = attempt(Value::Array(vec![Value::Table(alone)]));
                    problems.extend(attempt.err().map(|problem| place(format!("{key}: {problem}"))));
                }
            }
            scalar => problems.extend(attempt(Value::Array(vec![scalar.clone()])).err().map(place)),
        }
    }
    if problems.is_empty() {
        attempt(setting.value.clone()).map_err(|problem| vec![problem])
    } else {
        Err(problems)
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

fn secret_keys<T: Settings>() -> impl Iterator<Item = &'static str> {
    shared::SECRETS.iter().chain(T::SECRETS).copied()
}

fn is_secret<T: Settings>(key: &str) -> bool {
    secret_keys::<T>().any(|secret| secret == key)
}

fn redact(table: &mut Table, key: &str) {
    let (head, rest) = key
        .split_once('.')
        .map_or((key, None), |(head, rest)| (head, Some(rest)));
    match (table.get_mut(head), rest) {
        (Some(Value::Table(inner)), Some(rest)) => redact(inner, rest),
        (Some(Value::Array(elements)), Some(rest)) => {
            elements
                .iter_mut()
                .filter_map(Value::as_table_mut)
                .for_each(|inner| redact(inner, rest));
        }
        (Some(value), None) if value.as_str() != Some("") => *value = Value::String("[redacted]".into()),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
