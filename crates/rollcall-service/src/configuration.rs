//! What both services make of their shared configuration.

use std::time::Duration;

use rollcall_core::error::chain;
use rollcall_core::identifier::{AllowedCharacters, LoginPolicy};
use rollcall_ldap::EgressPolicy;
use rollcall_runtime::config::{self, Mistakes, Secret};
use rollcall_runtime::exit::Failure;
use rollcall_store::{IdentifierUniqueness, Keyring, Store, StoreError, StoreOptions};
use tokio_util::sync::CancellationToken;

/// The store's address and the keys of its secrets, read from wherever the configuration says.
pub struct StoreSecrets {
    /// Connection URL of the store.
    pub database_url: Secret,
    /// Keys that seal what is secret in the store.
    pub keyring: Keyring,
    /// Where the configuration has them.
    pub keyring_setting: &'static str,
}

impl StoreSecrets {
    /// Reads the files that the configuration names.
    ///
    /// # Errors
    /// A file that cannot be read, and a keyring that is none.
    pub fn read(store: config::Store, keyring: config::Keyring) -> Result<Self, Mistakes> {
        let mut mistakes = Mistakes::default();
        let read = Self::read_noting(store, keyring, &mut mistakes);
        read.ok_or(mistakes)
    }

    /// The same for a service that reads further secrets: `None` if mistakes were added to `mistakes`.
    pub fn read_noting(
        store: config::Store,
        keyring: config::Keyring,
        mistakes: &mut Mistakes,
    ) -> Option<Self> {
        let key = match keyring.key_file {
            Some(_) => "keyring.key_file",
            None => "keyring.key",
        };
        let database_url = store
            .url()
            .map_err(|error| mistakes.add("store.url_file", chain(&error)));
        let text = keyring.text().map_err(|error| mistakes.add(key, chain(&error)));
        let text = text.ok()?;
        let keyring = Keyring::parse(text.expose()).map_err(|error| mistakes.add(key, error.to_string()));
        Some(Self {
            database_url: database_url.ok()?,
            keyring: keyring.ok()?,
            keyring_setting: key,
        })
    }
}

/// Time between two attempts to reach a database that is away.
const RETRY: Duration = Duration::from_secs(2);

/// Waits until the database answers, and logs that it waits. So a server that starts while PostgreSQL is away serves
/// once it is back. False if it is to stop before that.
///
/// # Errors
/// A file of the configuration that cannot be read.
pub async fn await_database(settings: &config::Store, stop: &CancellationToken) -> Result<bool, Failure> {
    let mut is_told = false;
    loop {
        // Read at each attempt, since the operator may be correcting it.
        let url = settings.url().map_err(|error| {
            let mut mistakes = Mistakes::default();
            mistakes.add("store.url_file", chain(&error));
            mistakes
        })?;
        let Some(answer) = stop.run_until_cancelled(Store::answers(url.expose())).await else {
            return Ok(false);
        };
        match answer {
            Ok(()) => return Ok(true),
            Err(error) if is_told => tracing::debug!(error = chain(&error), "the database does not answer"),
            Err(error) => {
                tracing::warn!(
                    error = chain(&error),
                    "the database does not answer; it is tried again until it does"
                );
                is_told = true;
            }
        }
        if stop
            .run_until_cancelled(tokio::time::sleep(RETRY))
            .await
            .is_none()
        {
            return Ok(false);
        }
    }
}

/// Opens the store, whose schema must be this release's, and whose secrets must be sealed with keys of the keyring. `besides`
/// is how many connections to PostgreSQL the process may open beside the pool.
///
/// # Errors
/// A keyring that is not the one of this database is a mistake in the configuration; a store that cannot be used is none.
pub async fn open_store(
    secrets: StoreSecrets,
    options: StoreOptions,
    besides: u32,
) -> Result<Store, Failure> {
    let setting = secrets.keyring_setting;
    let store = Store::open(secrets.database_url.expose(), secrets.keyring, options).await;
    let store = store.map_err(|error| refused(setting, error))?;
    let limit = store.connection_limit().await.map_err(Failure::because)?;
    let wanted = options.max_connections.saturating_add(besides);
    if let Some(limit) = limit.filter(|limit| *limit < wanted) {
        tracing::warn!(
            "PostgreSQL gives all its clients {limit} connections, and this process alone may ask for {wanted}: raise \
             max_connections there, or lower store.max_connections"
        );
    }
    Ok(store)
}

/// Makes `store` use these secrets from now on.
///
/// # Errors
/// As [`open_store`]; the store then keeps its present secrets.
pub async fn renew_store(store: &Store, secrets: StoreSecrets) -> Result<(), Failure> {
    let setting = secrets.keyring_setting;
    let replaced = store.replace_keyring(secrets.keyring).await;
    replaced.map_err(|error| refused(setting, error))?;
    let credentials = store.replace_credentials(secrets.database_url.expose()).await;
    credentials.map_err(Failure::because)
}

/// Why the store is not opened.
pub fn refused(keyring_setting: &'static str, error: StoreError) -> Failure {
    let StoreError::KeyringDoesNotFit(mismatches) = error else {
        return Failure::because(error);
    };
    let mut mistakes = Mistakes::default();
    for mismatch in mismatches {
        mistakes.add(keyring_setting, mismatch.to_string());
    }
    mistakes.into()
}

/// Options of the store.
pub fn store_options(store: &config::Store, users: &config::Users) -> StoreOptions {
    StoreOptions {
        identifier_uniqueness: match users.identifier_uniqueness {
            config::IdentifierUniqueness::Tenant => IdentifierUniqueness::Tenant,
            config::IdentifierUniqueness::Global => IdentifierUniqueness::Global,
        },
        max_connections: store.max_connections,
        acquire_timeout: store.acquire_timeout,
    }
}

/// Where directories may be.
pub fn egress_policy(egress: &config::Egress) -> EgressPolicy {
    EgressPolicy::new(egress.allow_cidrs.clone(), egress.allow_ports.clone())
}

/// Which logins are acceptable.
///
/// # Errors
/// A character that no login may hold.
pub fn login_policy(users: &config::Users) -> Result<LoginPolicy, Mistakes> {
    let allowed = AllowedCharacters::with_punctuation(&users.login_characters).map_err(|character| {
        let mut mistakes = Mistakes::default();
        mistakes.add(
            "users.login_characters",
            format!("{character:?} can be in no login"),
        );
        mistakes
    })?;
    Ok(LoginPolicy {
        allowed,
        ..LoginPolicy::default()
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rollcall_runtime::config::{Loaded, Settings, Shared, Sources, load};
    use serde::Deserialize;

    use super::*;

    /// A service without settings of its own.
    #[derive(Deserialize)]
    struct Nothing {}

    impl Settings for Nothing {
        const ENVIRONMENT_PREFIX: &'static str = "NOTHING";
        const DEFAULTS: &'static str = "";
        const SECRETS: &'static [&'static str] = &[];

        fn validate(&self, _: &Shared, _: &mut Mistakes) {}
    }

    fn load_with(flags: &[(&str, &str)]) -> Result<Loaded<Nothing>, Mistakes> {
        let flags = flags
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        load(&Sources {
            flags,
            ..Sources::default()
        })
    }

    #[test]
    fn the_defaults_can_be_used() {
        let loaded = load_with(&[]).map_err(|mistakes| mistakes.to_string()).unwrap();
        assert!(login_policy(&loaded.shared.users).is_ok());
    }

    #[test]
    fn missing_secrets_are_all_told() {
        let flags = [
            ("store.url_file", "/does/not/exist"),
            ("keyring.key_file", "/nor/this"),
        ];
        let loaded = load_with(&flags)
            .map_err(|mistakes| mistakes.to_string())
            .unwrap();
        let Err(mistakes) = StoreSecrets::read(loaded.shared.store, loaded.shared.keyring) else {
            unreachable!("there are no such files")
        };
        assert_eq!(mistakes.iter().count(), 2, "{mistakes}");
    }

    #[test]
    fn six_replicas_and_a_run_of_what_is_due_fit_a_postgresql_as_it_comes() {
        let loaded = load_with(&[]).map_err(|mistakes| mistakes.to_string()).unwrap();
        let worker = loaded.shared.store.max_connections;
        let gateway = worker + rollcall_store::LoginStore::MOST_CONNECTIONS;
        // One gateway more while they are replaced. PostgreSQL keeps three of its 100 for superusers.
        assert!(4 * gateway + 3 * worker + worker <= 97);
    }

    #[test]
    fn what_the_operator_opens_is_opened() {
        let loaded = load_with(&[
            ("egress.allow_cidrs", "10.20.0.0/16"),
            ("egress.allow_ports", "1389"),
        ]);
        let policy = egress_policy(
            &loaded
                .map_err(|mistakes| mistakes.to_string())
                .unwrap()
                .shared
                .egress,
        );
        assert!(policy.allows("10.20.1.1:1389".parse().unwrap()));
        assert!(!policy.allows("10.21.1.1:1389".parse().unwrap()));
        assert!(
            !policy.allows("10.20.1.1:389".parse().unwrap()),
            "the list is the whole list"
        );
    }
}
