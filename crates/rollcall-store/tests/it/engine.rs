//! The two engines, each with a database of the test's own.

use std::fs::File;
use std::io::Write;
use std::ops::Deref;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use rollcall_store::{IdentifierUniqueness, Keyring, LoginStore, Store, StoreOptions};
use rollcall_testkit::TestDatabase;
use sea_orm::ConnectionTrait;
use tempfile::TempDir;

/// Runs each of these functions, which take an [`Engine`], on both engines: on one with this release's schema, or with
/// `empty:` in front on one without any.
macro_rules! on_both {
    (empty: $($test:ident,)*) => {
        $crate::engine::on_both!(empty_sqlite, empty_postgres: $($test,)*);
    };
    ($sqlite:ident, $postgres:ident: $($test:ident,)*) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test($crate::engine::Engine::$sqlite()).await;
            })*
        }

        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test($crate::engine::Engine::$postgres()).await;
            })*
        }
    };
    ($($test:ident,)*) => {
        $crate::engine::on_both!(sqlite, postgres: $($test,)*);
    };
}

pub(crate) use on_both;

/// 32 bytes in base64.
pub(crate) const KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
pub(crate) const OTHER_KEY: &str = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";

/// A replica of the gateway: a store that logins use too.
#[derive(Clone)]
pub(crate) struct Gateway {
    store: Store,
    pub(crate) logins: LoginStore,
}

impl Gateway {
    pub(crate) fn of(store: Store) -> Self {
        let logins = LoginStore::open(&store);
        Self { store, logins }
    }

    pub(crate) async fn close(&self) {
        self.logins.close().await;
        self.store.close().await;
    }
}

impl Deref for Gateway {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.store
    }
}

/// A database of the test's own, gone when dropped.
pub(crate) enum Engine {
    Sqlite(TempDir),
    Postgres(TestDatabase),
}

/// Databases with this release's schema and nothing else. Most tests begin with a copy: to migrate a database of its own
/// would take each of them longer than all that it tests.
static POSTGRES_WITH_SCHEMA: LazyLock<Engine> = LazyLock::new(|| Engine::empty_postgres().with_schema());
/// The bytes of the file: a directory would be left behind when the process ends.
static SQLITE_WITH_SCHEMA: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let made = Engine::empty_sqlite().with_schema();
    std::fs::read(made.sqlite_file()).unwrap()
});

impl Engine {
    pub(crate) fn sqlite() -> Self {
        let engine = Self::empty_sqlite();
        let mut file = File::options();
        let file = file.write(true).create_new(true).mode(0o600);
        let mut file = file.open(engine.sqlite_file()).unwrap();
        file.write_all(&SQLITE_WITH_SCHEMA).unwrap();
        engine
    }

    pub(crate) fn postgres() -> Self {
        POSTGRES_WITH_SCHEMA.back_up()
    }

    pub(crate) fn empty_sqlite() -> Self {
        Self::Sqlite(tempfile::tempdir().unwrap())
    }

    pub(crate) fn empty_postgres() -> Self {
        Self::Postgres(TestDatabase::new().unwrap())
    }

    /// Migrates the database, and forgets the keys that it was migrated with.
    fn with_schema(self) -> Self {
        // A test has a runtime already, which cannot wait for this.
        let made = std::thread::spawn(move || {
            tokio::runtime::Runtime::new().unwrap().block_on(async {
                self.store().await.close().await;
                self.forget_keys().await;
            });
            self
        });
        made.join().unwrap()
    }

    fn sqlite_file(&self) -> PathBuf {
        let Engine::Sqlite(dir) = self else {
            unreachable!("of SQLite alone")
        };
        dir.path().join("rollcall.db")
    }

    pub(crate) fn url(&self) -> String {
        match self {
            Engine::Sqlite(_) => format!("sqlite:{}", self.sqlite_file().display()),
            Engine::Postgres(database) => database.url().to_owned(),
        }
    }

    /// A store on the database, migrated. Every call is another replica.
    pub(crate) async fn store(&self) -> Store {
        self.store_with(&format!("k1 {KEY}"), IdentifierUniqueness::Tenant)
            .await
    }

    /// A gateway on the database, migrated. Every call is another replica.
    pub(crate) async fn gateway(&self) -> Gateway {
        Gateway::of(self.store().await)
    }

    pub(crate) async fn store_with(&self, keys: &str, identifier_uniqueness: IdentifierUniqueness) -> Store {
        let options = StoreOptions {
            identifier_uniqueness,
            ..StoreOptions::default()
        };
        let store = Store::connect(&self.url(), keyring(keys), options).await.unwrap();
        store.migrate().await.unwrap();
        store
    }

    /// A store on the database, which was migrated before, as a service opens it.
    pub(crate) async fn open(&self, keys: &str) -> rollcall_store::Result<Store> {
        Store::open(&self.url(), keyring(keys), StoreOptions::default()).await
    }

    /// Forgets which keys were used here.
    pub(crate) async fn forget_keys(&self) {
        for table in ["keyring_checks", "purpose_keys"] {
            self.sql(&format!("DELETE FROM {table}")).await;
        }
    }

    /// A copy of the database as it is now, for [`Engine::restore`]. All stores on it must be closed.
    pub(crate) fn back_up(&self) -> Self {
        match self {
            Engine::Sqlite(dir) => {
                let copy = tempfile::tempdir().unwrap();
                copy_files(dir.path(), copy.path());
                Engine::Sqlite(copy)
            }
            Engine::Postgres(database) => Engine::Postgres(database.copy().unwrap()),
        }
    }

    /// Puts a copy in the place of the database, as an operator does after a disaster. All stores on it must be closed.
    pub(crate) fn restore(&self, copy: &Self) {
        match (self, copy) {
            (Engine::Sqlite(dir), Engine::Sqlite(copy)) => {
                for file in std::fs::read_dir(dir.path()).unwrap() {
                    std::fs::remove_file(file.unwrap().path()).unwrap();
                }
                copy_files(copy.path(), dir.path());
            }
            (Engine::Postgres(database), Engine::Postgres(copy)) => database.restore(copy).unwrap(),
            _ => unreachable!("a copy is of the same engine"),
        }
    }

    /// Executes SQL beside the store.
    pub(crate) async fn sql(&self, sql: &str) {
        self.try_sql(sql).await.unwrap();
    }

    /// The same, where it may be refused.
    pub(crate) async fn try_sql(&self, sql: &str) -> Result<(), sea_orm::DbErr> {
        let connection = sea_orm::Database::connect(self.url()).await.unwrap();
        let done = connection.execute_unprepared(sql).await;
        connection.close().await.unwrap();
        done.map(drop)
    }

    /// All bytes that are stored for these columns of a table, as they are at rest.
    pub(crate) fn bytes_at_rest(&self, table: &str) -> Vec<u8> {
        match self {
            Engine::Sqlite(dir) => {
                let files = std::fs::read_dir(dir.path()).unwrap();
                files
                    .flat_map(|file| std::fs::read(file.unwrap().path()).unwrap())
                    .collect()
            }
            Engine::Postgres(database) => {
                database.sql("CHECKPOINT").unwrap();
                let sql = format!(
                    "SELECT encode(pg_read_binary_file(pg_relation_filepath('{table}')), 'escape')
                    UNION ALL SELECT encode(pg_read_binary_file(pg_relation_filepath(reltoastrelid)), 'escape')
                    FROM pg_class WHERE relname = '{table}' AND reltoastrelid <> 0"
                );
                database.sql(&sql).unwrap().into_bytes()
            }
        }
    }
}

fn copy_files(from: &Path, to: &Path) {
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

pub(crate) fn keyring(lines: &str) -> Keyring {
    Keyring::parse(lines).ok().unwrap()
}
