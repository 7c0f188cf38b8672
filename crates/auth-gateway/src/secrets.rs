//! The secrets with which the gateway proves itself to others, read from the files that its configuration names.

use rollcall_core::error::chain;
use rollcall_runtime::config::{self as shared, Mistakes};
use rollcall_service::configuration::StoreSecrets;

use crate::config;
use crate::worker::Worker;

/// The secrets that the configuration names.
pub struct Secrets {
    /// Those for the store.
    pub of_store: StoreSecrets,
    /// The connection to the worker, made with its token and certificates.
    pub worker: Worker,
}

impl Secrets {
    /// Reads the files that the configuration names. Must be called within a runtime.
    ///
    /// # Errors
    /// Files that cannot be read or used, all of them, and a keyring that is none.
    pub fn read(
        store: shared::Store,
        keyring: shared::Keyring,
        worker: &config::Worker,
    ) -> Result<Self, Mistakes> {
        let mut mistakes = Mistakes::default();
        let of_store = StoreSecrets::read_noting(store, keyring, &mut mistakes);
        let token = worker.token.as_ref();
        let token = token.map(|token| token.resolve(worker.token_file.as_deref()));
        let token = token
            .transpose()
            .map_err(|error| mistakes.add("worker.token_file", chain(&error)));
        let way = Worker::new(worker, token.as_ref().ok().and_then(Option::as_ref)).map_err(|errors| {
            for error in errors {
                mistakes.add(error.key(), chain(&error));
            }
        });
        match (of_store, token, way) {
            (Some(of_store), Ok(_), Ok(worker)) => Ok(Self { of_store, worker }),
            _ => Err(mistakes),
        }
    }
}
