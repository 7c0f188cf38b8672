//! Whether the keyring is the one that this database was used with. A service checks this at its start, so that a
//! missing or wrong key is not first noticed at a login.
//!
//! The check opens no secret. Each secret names the key that sealed it, and each key has left a mark: an empty text
//! that it sealed.

use std::collections::BTreeMap;

use rollcall_core::id::is_resource_id;
use sea_orm::{ConnectionTrait, FromQueryResult};

use crate::db::engine::Engine;
use crate::db::query::{execute, rows};
use crate::error::{KeyMismatch, Result, StoreError};
use crate::keyring::Keyring;
use crate::store::Store;

#[derive(FromQueryResult)]
struct Mark {
    key_id: String,
    sealed: Vec<u8>,
}

#[derive(FromQueryResult)]
struct Use {
    key_id: Option<String>,
    secrets: i64,
}

impl Store {
    /// Checks that the keyring has each key that seals a secret, and that each of its keys is the one that was known by
    /// its id so far. Remembers its new keys. Global by nature.
    ///
    /// # Errors
    /// `KeyringDoesNotFit`, with all that is wrong.
    pub async fn check_keyring(&self) -> Result<()> {
        self.check_fit(&self.inner.keyring()).await
    }

    /// Like [`Store::check_keyring`], for keys that are not in use yet.
    pub(crate) async fn check_fit(&self, keyring: &Keyring) -> Result<()> {
        let database = &self.inner.database;
        let marks = marks(&database.reader).await?;
        let mut mismatches = wrong_keys(keyring, &marks)?;
        let missing = self.key_uses().await?.into_iter();
        let missing = missing.filter(|(key_id, _)| keyring.ids().all(|id| id != key_id));
        mismatches.extend(missing.map(|(key_id, secrets)| KeyMismatch::Missing { key_id, secrets }));
        let is_new = |id: &&str| marks.iter().all(|mark| mark.key_id != *id);
        let new: Vec<&str> = keyring.ids().filter(is_new).collect();
        if mismatches.is_empty() && !new.is_empty() {
            let tx = database.begin().await?;
            for id in new {
                let sql = "INSERT INTO keyring_checks (key_id, sealed) VALUES ($1, $2) ON CONFLICT (key_id) DO NOTHING";
                execute(&tx, sql, vec![id.into(), keyring.mark(id)?.into()]).await?;
            }
            // Another process may have come first, with another key.
            mismatches = wrong_keys(keyring, &self::marks(&tx).await?)?;
            tx.commit().await?;
        }
        match mismatches.is_empty() {
            true => Ok(()),
            false => Err(StoreError::KeyringDoesNotFit(mismatches)),
        }
    }

    /// How many secrets each key seals, the keys of purposes among them. Global by nature.
    pub async fn key_uses(&self) -> Result<BTreeMap<String, u64>> {
        let database = &self.inner.database;
        let key_of = |column| key_id(database.engine, column);
        let sql = format!(
            "SELECT key_id, COUNT(*) AS secrets FROM (
                SELECT {} AS key_id FROM directories WHERE bind_password IS NOT NULL
                UNION ALL SELECT {} FROM directories WHERE pending_bind_password IS NOT NULL
                UNION ALL SELECT {} FROM directories WHERE client_key IS NOT NULL
                UNION ALL SELECT {} FROM purpose_keys
                UNION ALL SELECT {} FROM erasures
            ) AS sealed GROUP BY key_id",
            key_of("bind_password"),
            key_of("pending_bind_password"),
            key_of("client_key"),
            key_of("sealed"),
            key_of("person"),
        );
        let uses = rows::<Use>(&database.reader, &sql, vec![]).await?;
        // A damaged secret names no key. It is reported when somebody opens it.
        let named = uses.into_iter().filter_map(|used| {
            let key_id = used.key_id.filter(|id| is_resource_id(id))?;
            Some((key_id, used.secrets.unsigned_abs()))
        });
        Ok(named.collect())
    }
}

/// The id of the key that sealed the secret in this column; see `keyring.rs` for the form. NULL if the column holds no
/// sealed secret.
pub(crate) fn key_id(engine: Engine, column: &str) -> String {
    match engine {
        Engine::Sqlite => {
            format!("CAST(substr({column}, 3, unicode(CAST(substr({column}, 2, 1) AS TEXT))) AS TEXT)")
        }
        Engine::Postgres => format!(
            "CASE WHEN length({column}) > 1
                THEN encode(substring({column} FROM 3 FOR get_byte({column}, 1)), 'escape') END"
        ),
    }
}

async fn marks(connection: &impl ConnectionTrait) -> Result<Vec<Mark>> {
    rows(connection, "SELECT key_id, sealed FROM keyring_checks", vec![]).await
}

fn wrong_keys(keyring: &Keyring, marks: &[Mark]) -> Result<Vec<KeyMismatch>> {
    let mut wrong = Vec::new();
    for mark in marks {
        let is_here = keyring.ids().any(|id| id == mark.key_id);
        if is_here && !keyring.has_made(&mark.key_id, &mark.sealed)? {
            let key_id = mark.key_id.clone();
            wrong.push(KeyMismatch::Wrong { key_id });
        }
    }
    Ok(wrong)
}
