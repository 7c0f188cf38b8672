//! Configuration: built-in defaults < file < environment < command line.
//!
//! [`load`] is a pure function from texts to typed settings; [`from_process`] is the shell around it. The defaults are
//! commented TOML texts and double as the schema: a key that is not there is unknown. Every value is tried alone on top
//! of the defaults, so each mistake is reported with its place, and all are reported at once.
//!
//! A service adds its own sections with a type that implements [`Settings`]; the shared ones come as [`Shared`].

mod arguments;
mod cidr;
mod layers;
mod mistake;
mod settings;
mod shared;
mod tls;
mod token;
mod trial;
mod value;

use std::path::PathBuf;

use rollcall_metrics::Expiring;
use toml::{Table, Value};

use crate::expiry;

pub use arguments::{ConfigArguments, from_process};
pub use layers::Sources;
pub use mistake::{Mistake, Mistakes};
pub use settings::Settings;
use settings::{read, secret_keys};
pub(crate) use shared::certificate_is_optional;
pub use shared::{
    CallerEntry, Drain, Egress, Health, IdentifierUniqueness, Keyring, LogFormat, Server, Shared, Store,
    Telemetry, TokenEntry, Users,
};
pub(crate) use tls::{HTTP_1, SharedTls, TlsError, tls_acceptor};
pub use tls::{certificate_problem, private_key_problem};
pub(crate) use token::{parse_sha256, parse_time};
pub(crate) use value::warn_if_open;
pub use value::{Secret, SecretFileError, duration, optional_path};

pub(crate) use layers::{changed_keys, copy_key};
use trial::Trial;

/// Settings as loaded and found valid.
pub struct Loaded<T> {
    /// The sections that both services have.
    pub shared: Shared,
    /// The service's own sections.
    pub own: T,
    effective: Table,
    file: Option<PathBuf>,
}

impl<T: Settings> Loaded<T> {
    /// All keys with their values.
    pub(crate) fn effective(&self) -> &Table {
        &self.effective
    }

    /// The files that a reload reads.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let server = &self.shared.server;
        let named = [
            &server.tls_certificate_file,
            &server.tls_key_file,
            &server.client_ca_file,
            &self.shared.store.url_file,
            &self.shared.keyring.key_file,
            &self.file,
        ];
        let mut files: Vec<PathBuf> = named.into_iter().flatten().cloned().collect();
        files.extend(self.own.files());
        files
    }

    /// Says which of the certificates that are configured have ended, or end soon.
    pub fn warn_of_endings(&self) {
        let server = &self.shared.server;
        for (key, path) in [
            ("server.tls_certificate_file", &server.tls_certificate_file),
            ("server.client_ca_file", &server.client_ca_file),
        ] {
            if let Some(path) = path {
                tls::told_end(key, path);
            }
        }
        let outgoing = self.own.certificates();
        let ends = outgoing.iter().filter_map(|(key, path)| tls::told_end(key, path));
        expiry::note(Expiring::OutgoingCertificate, ends);
    }

    /// The settings in effect as TOML, with secrets redacted.
    #[expect(clippy::expect_used, reason = "what was parsed can be printed")]
    pub(crate) fn to_redacted_toml(&self) -> String {
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
    let mut told = Vec::new();
    for setting in &settings {
        let tried = Trial::<T>::of(&defaults, setting);
        for problem in tried.problems {
            mistakes.at(&setting.place, &setting.key, problem.text);
            told.push(problem.key);
        }
        if let Some(value) = tried.usable {
            layers::set(&mut effective, &setting.key, value);
        }
    }

    let (shared, own) = read::<T>(&effective).map_err(|error| {
        mistakes.add("settings", error.message());
        std::mem::take(&mut mistakes)
    })?;
    let mut invalid = Mistakes::default();
    shared.validate(&mut invalid);
    own.validate(&shared, &mut invalid);
    // What is said already of a part is not said again of what is left without it.
    mistakes.append(invalid.without(&told).placed(|key| {
        let last = settings.iter().rev().find(|setting| setting.key == key);
        last.map(|setting| setting.place.clone())
    }));
    mistakes.into_result().map(|()| Loaded {
        shared,
        own,
        effective,
        file: sources.file.as_ref().map(|(name, _)| PathBuf::from(name)),
    })
}

#[expect(
    clippy::expect_used,
    reason = "constants of the program, which every test reads"
)]
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
