//! What a service adds to the shared configuration, and how both are read.

use std::path::PathBuf;

use serde::de::DeserializeOwned;
use toml::Table;

use super::mistake::Mistakes;
use super::shared::{self, Shared};

/// A service's own sections.
pub trait Settings: DeserializeOwned {
    /// Beginning of this service's environment variables, for example `AUTH_GATEWAY`.
    const ENVIRONMENT_PREFIX: &'static str;
    /// The commented defaults of the service's own sections, and of shared keys whose default differs.
    const DEFAULTS: &'static str;
    /// Dotted keys whose values are secret: never printed, not even in a mistake.
    const SECRETS: &'static [&'static str];
    /// Dotted keys that the service takes up anew at a reload.
    const RELOADED: &'static [&'static str] = &[];

    /// Reports values out of range and contradictions.
    fn validate(&self, shared: &Shared, mistakes: &mut Mistakes);

    /// Keys that name files with certificates of the calls that the service makes, and the files.
    fn certificates(&self) -> Vec<(&'static str, PathBuf)> {
        Vec::new()
    }

    /// The files that [`Settings::RELOADED`] name.
    fn files(&self) -> Vec<PathBuf> {
        Vec::new()
    }
}

/// Reads both kinds of sections.
pub(super) fn read<T: Settings>(table: &Table) -> Result<(Shared, T), toml::de::Error> {
    Ok((table.clone().try_into()?, table.clone().try_into()?))
}

pub(super) fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

pub(super) fn secret_keys<T: Settings>() -> impl Iterator<Item = &'static str> {
    shared::SECRETS.iter().chain(T::SECRETS).copied()
}

pub(super) fn is_secret<T: Settings>(key: &str) -> bool {
    secret_keys::<T>().any(|secret| secret == key)
}
