//! The store as a whole. Its methods are in one file per repository.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use chrono::{DateTime, Utc};
use parking_lot::RwLock;
use rollcall_core::id::TenantId;
use tokio::sync::Semaphore;

use crate::db::database::Database;
use crate::db::engine::Engine;
use crate::db::query::scalar;
use crate::db::timestamp::from_micros;
use crate::error::{Result, StoreError};
use crate::keyring::Keyring;
use crate::purpose::{self, PurposeKeys};
use crate::schema;

/// The set of users within which logins and e-mail addresses are unique. It never changes during a deployment's life:
/// the stored identifiers belong to one of the two.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum IdentifierUniqueness {
    /// Within each tenant.
    #[default]
    Tenant,
    /// Within the deployment.
    Global,
}

/// Of this many connections, one may be used for a chunk that is started early.
const CONNECTIONS_FOR_A_START: usize = 4;

/// How the store works.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StoreOptions {
    /// The set of users within which logins and e-mail addresses are unique.
    pub identifier_uniqueness: IdentifierUniqueness,
    /// Most connections to PostgreSQL, beside the two of the [`LoginStore`](crate::LoginStore). On SQLite one connection writes and
    /// a few read, beside those two.
    pub max_connections: u32,
    /// How long a call waits for a connection before it fails as unavailable.
    pub acquire_timeout: Duration,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            identifier_uniqueness: IdentifierUniqueness::default(),
            max_connections: 8,
            acquire_timeout: Duration::from_secs(5),
        }
    }
}

/// The store. Cheap to clone; all clones share their connections.
///
/// Every method takes the tenant first, or a key that holds it, unless it is by nature global and says so:
/// what it returns and changes is that tenant's alone.
#[derive(Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) database: Arc<Database>,
    keyring: RwLock<Arc<Keyring>>,
    pub(crate) keys: OnceLock<PurposeKeys>,
    pub(crate) uniqueness: IdentifierUniqueness,
    /// Permits for chunks that are started early. Each such chunk has a connection.
    pub(crate) starts: Arc<Semaphore>,
}

impl Inner {
    pub(crate) fn keyring(&self) -> Arc<Keyring> {
        Arc::clone(&self.keyring.read())
    }
}

impl Store {
    /// Connects to `sqlite:PATH`, which is created for this account alone if it is missing, or to
    /// `postgres://…`. Does not look at the schema: call [`Store::migrate`] or [`Store::check_schema`] next.
    ///
    /// # Errors
    /// `Unavailable` if the database cannot be reached.
    pub async fn connect(url: &str, keyring: Keyring, options: StoreOptions) -> Result<Self> {
        let database =
            Arc::new(Database::connect(url, options.max_connections, options.acquire_timeout).await?);
        Ok(Self {
            inner: Arc::new(Inner {
                database,
                keyring: RwLock::new(Arc::new(keyring)),
                keys: OnceLock::new(),
                uniqueness: options.identifier_uniqueness,
                starts: Arc::new(Semaphore::new(
                    options.max_connections as usize / CONNECTIONS_FOR_A_START,
                )),
            }),
        })
    }

    /// Whether PostgreSQL takes a connection with this URL, which is ended again. On SQLite there is nothing to wait for.
    ///
    /// # Errors
    /// `Unavailable`, with what is wrong.
    pub async fn answers(url: &str) -> Result<()> {
        Database::answers(url).await
    }

    /// Connects, checks the schema without changing it and the keyring, and reads the keys of all purposes.
    ///
    /// # Errors
    /// As [`Store::connect`], [`Store::check_schema`] and [`Store::check_keyring`].
    pub async fn open(url: &str, keyring: Keyring, options: StoreOptions) -> Result<Self> {
        let store = Self::connect(url, keyring, options).await?;
        store.check_schema().await?;
        store.read_keys().await?;
        Ok(store)
    }

    /// Brings the schema up to date, under a lock: of several processes one migrates and the others wait. Then goes on
    /// as [`Store::open`] does.
    ///
    /// # Errors
    /// `SchemaUnknown` if a newer release migrated this database; `KeyringDoesNotFit`.
    pub async fn migrate(&self) -> Result<()> {
        schema::migrate(&self.inner.database).await?;
        self.read_keys().await
    }

    /// Checks that the schema is exactly this release's.
    ///
    /// # Errors
    /// `SchemaOutdated` or `SchemaUnknown`.
    pub async fn check_schema(&self) -> Result<()> {
        schema::check(&self.inner.database).await
    }

    /// The keys of all purposes. Global by nature.
    ///
    /// # Errors
    /// `Corrupt` on a store that was connected and neither opened nor migrated.
    pub fn keys(&self) -> Result<&PurposeKeys> {
        let keys = self.inner.keys.get();
        keys.ok_or_else(|| StoreError::corrupt("the keys of the store were not read"))
    }

    /// Not read only when one is needed: that may be within a transaction which has the only connection.
    async fn read_keys(&self) -> Result<()> {
        self.check_keyring().await?;
        let (database, keyring) = (&self.inner.database, self.inner.keyring());
        let keys = purpose::read_or_make(database, &keyring).await?;
        // If it is set already, it has the same keys: they never change.
        let _ = self.inner.keys.set(keys);
        Ok(())
    }

    /// How many connections PostgreSQL gives to all its clients but superusers; `None` on SQLite.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn connection_limit(&self) -> Result<Option<u32>> {
        if self.inner.database.engine == Engine::Sqlite {
            return Ok(None);
        }
        let sql = "SELECT CAST(current_setting('max_connections') AS BIGINT)
            - CAST(current_setting('superuser_reserved_connections') AS BIGINT)";
        let limit = scalar::<i64>(&self.inner.database.reader, sql, vec![]).await?;
        Ok(limit.and_then(|limit| u32::try_from(limit).ok()))
    }

    /// The keys that seal secrets.
    pub fn keyring(&self) -> Arc<Keyring> {
        self.inner.keyring()
    }

    /// Seals with these keys from now on, and opens with them. Calls under way end with the former keys.
    ///
    /// # Errors
    /// `KeyringDoesNotFit`, with all that is wrong; what the store says.
    pub async fn replace_keyring(&self, keyring: Keyring) -> Result<()> {
        self.check_fit(&keyring).await?;
        *self.inner.keyring.write() = Arc::new(keyring);
        Ok(())
    }

    /// Tries to connect with the user and password of this URL, and uses them from then on. Open connections stay. On
    /// SQLite, which has neither, nothing changes.
    ///
    /// # Errors
    /// `Unavailable` if that fails, or if the URL names another database: changing databases takes a restart, so that a
    /// process never works with two.
    pub async fn replace_credentials(&self, url: &str) -> Result<()> {
        self.inner.database.replace_credentials(url).await
    }

    /// Asks the database for an answer, for health. PostgreSQL that takes no writes, as a standby does, is of no use either: no
    /// login is answered without its record.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn ping(&self) -> Result<()> {
        let database = &self.inner.database;
        let sql = match database.engine {
            Engine::Sqlite => "SELECT CAST(0 AS BIGINT)",
            Engine::Postgres => {
                "SELECT CAST(CASE current_setting('transaction_read_only') WHEN 'on' THEN 1 ELSE 0 END AS BIGINT)"
            }
        };
        match scalar::<i64>(&database.reader, sql, vec![]).await? {
            Some(0) => Ok(()),
            _ => Err(StoreError::Unavailable(ReadOnly.into())),
        }
    }

    /// The time by the database's clock; `None` on SQLite, which has none but this host's.
    pub async fn time(&self) -> Result<Option<DateTime<Utc>>> {
        let database = &self.inner.database;
        let sql = format!("SELECT {}", database.engine.now());
        match database.engine {
            Engine::Sqlite => Ok(None),
            Engine::Postgres => scalar::<i64>(&database.reader, &sql, vec![])
                .await?
                .map(from_micros)
                .transpose(),
        }
    }

    /// Closes the connections; later calls fail as unavailable. Close the [`LoginStore`](crate::LoginStore) first.
    pub async fn close(&self) {
        // Closing cannot fail in a way that anybody could act on.
        let _ = self.inner.database.reader.close_by_ref().await;
        let _ = self.inner.database.writer.close_by_ref().await;
    }

    /// The value of `scope` that a tenant's identifiers are unique in: the tenant, or the whole deployment.
    pub(crate) fn scope<'t>(&self, tenant: &'t TenantId) -> &'t str {
        match self.inner.uniqueness {
            IdentifierUniqueness::Tenant => tenant.as_str(),
            IdentifierUniqueness::Global => "",
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the database takes no writes")]
struct ReadOnly;
