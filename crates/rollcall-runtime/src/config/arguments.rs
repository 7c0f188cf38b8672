//! The command line and the process around [`load`](super::load).

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;

use super::{Loaded, Mistakes, Settings, Sources, tls_acceptor};

/// Flags that every service has. Meant for `#[command(flatten)]`.
#[derive(Args, Clone, Default)]
pub struct ConfigArguments {
    /// Configuration file in TOML
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// Sets one key, for example --set server.listen=127.0.0.1:0; may be repeated
    #[arg(long, value_name = "KEY=VALUE", global = true, value_parser = split_pair)]
    pub set: Vec<(String, String)>,
    /// Address and port to serve gRPC on; the same as --set server.listen=...
    #[arg(long, value_name = "ADDRESS", global = true)]
    pub listen: Option<String>,
    /// Serve without TLS or callers on any address; the same as --set server.insecure=true
    #[arg(long, global = true)]
    pub insecure: bool,
    /// Check the configuration and its files, then exit
    #[arg(long)]
    pub check_config: bool,
    /// Print the configuration in effect, with secrets redacted, then exit
    #[arg(long)]
    pub print_config: bool,
}

impl ConfigArguments {
    fn flags(&self) -> Vec<(String, String)> {
        let listen = self
            .listen
            .iter()
            .map(|address| ("server.listen".to_owned(), address.clone()));
        let insecure = self
            .insecure
            .then(|| ("server.insecure".to_owned(), "true".to_owned()));
        self.set.iter().cloned().chain(listen).chain(insecure).collect()
    }
}

/// Loads the settings of a service from its file, the environment and the command line, and looks whether
/// the TLS files are usable.
///
/// # Errors
/// Every mistake in every source.
pub fn from_process<T: Settings>(arguments: &ConfigArguments) -> Result<Loaded<T>, Mistakes> {
    let mut mistakes = Mistakes::default();
    let environment = environment(T::ENVIRONMENT_PREFIX, &mut mistakes);
    let from_variable = || {
        environment
            .get(&format!("{}_CONFIG", T::ENVIRONMENT_PREFIX))
            .map(PathBuf::from)
    };
    let file = arguments.config.clone().or_else(from_variable).and_then(|path| {
        let name = path.display().to_string();
        match std::fs::read_to_string(&path) {
            Ok(text) => Some((name, text)),
            Err(error) => {
                mistakes.at(&name, "file", format!("cannot be read: {error}"));
                None
            }
        }
    });
    let loaded = super::load::<T>(&Sources {
        file,
        environment,
        flags: arguments.flags(),
    });
    match loaded {
        Ok(loaded) => {
            if let Err(error) = tls_acceptor(&loaded.shared) {
                mistakes.add(error.key(), error.to_string());
            }
            mistakes.into_result().map(|()| loaded)
        }
        Err(more) => {
            mistakes.append(more);
            Err(mistakes)
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is where the configuration reads the environment"
)]
fn environment(prefix: &str, mistakes: &mut Mistakes) -> BTreeMap<String, String> {
    let mut environment = BTreeMap::new();
    for (name, value) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        match value.into_string() {
            Ok(value) => drop(environment.insert(name, value)),
            Err(_) if name.starts_with(prefix) => mistakes.at(&name, "variable", "is not valid UTF-8"),
            Err(_) => {}
        }
    }
    environment
}

fn split_pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("must have the form key=value")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}
