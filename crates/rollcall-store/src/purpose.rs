//! The keys with which Rollcall hashes and signs: one for each purpose. A key is random, made at the first start, and
//! never changes. Rotating the keyring only seals it anew, so that earlier hashes and signatures still fit.
//!
//! All replicas read the same keys. A thief who has the database but not the keyring can neither make a hash nor test
//! guesses against one.

use ring::rand::{SecureRandom, SystemRandom};
use rollcall_core::mac::MacKey;
use sea_orm::{ConnectionTrait, FromQueryResult};
use zeroize::Zeroizing;

use crate::db::database::Database;
use crate::db::query::{execute, rows};
use crate::error::{Result, StoreError};
use crate::keyring::{Keyring, SealedFor};

/// What a key is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// Hashes logins that name nobody, in the soft lock and in the audit log, because people type passwords into the login
    /// field; request ids of logins; and addresses from which a user logged in lately, in the soft lock.
    Logins,
    /// Recognises a repeat of a call that creates something, whose content may hold a secret.
    CreateRequests,
    /// Shows that a page token is Rollcall's own, and made for this request.
    PageTokens,
    /// Shows that a cursor is Rollcall's own, and of this feed.
    FeedCursors,
    /// Chains and signs the audit record.
    AuditRecord,
    /// Hashes the external ids of people who were erased and must not be taken from the directory again.
    ExclusionList,
}

impl Purpose {
    /// All, in the order of their declaration.
    pub const ALL: [Self; 6] = [
        Self::Logins,
        Self::CreateRequests,
        Self::PageTokens,
        Self::FeedCursors,
        Self::AuditRecord,
        Self::ExclusionList,
    ];

    /// As the store names it, which never changes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Logins => "logins",
            Self::CreateRequests => "create-requests",
            Self::PageTokens => "page-tokens",
            Self::FeedCursors => "feed-cursors",
            Self::AuditRecord => "audit-record",
            Self::ExclusionList => "exclusion-list",
        }
    }
}

/// The keys of all purposes.
pub struct PurposeKeys([MacKey; Purpose::ALL.len()]);

impl PurposeKeys {
    /// The key for this purpose.
    pub fn of(&self, purpose: Purpose) -> &MacKey {
        &self.0[purpose as usize]
    }
}

/// A key as it is stored.
#[derive(FromQueryResult)]
pub(crate) struct Stored {
    pub(crate) purpose: String,
    pub(crate) sealed: Vec<u8>,
}

/// All that are stored, those of a newer release among them.
pub(crate) async fn stored(connection: &impl ConnectionTrait) -> Result<Vec<Stored>> {
    rows(
        connection,
        "SELECT purpose, sealed FROM purpose_keys ORDER BY purpose",
        vec![],
    )
    .await
}

/// The owner that the key of a purpose is sealed for.
pub(crate) fn sealed_for(purpose: &str) -> SealedFor<'_> {
    SealedFor {
        tenant: "",
        directory: purpose,
        kind: "purpose key",
    }
}

/// Reads all keys, and makes those that are missing. If several processes do so at once, one of them makes the keys,
/// and all read the same.
pub(crate) async fn read_or_make(database: &Database, keyring: &Keyring) -> Result<PurposeKeys> {
    if let Some(keys) = read(&database.reader, keyring).await? {
        return Ok(keys);
    }
    let tx = database.begin().await?;
    for purpose in Purpose::ALL {
        let mut key = Zeroizing::new([0; 32]);
        SystemRandom::new()
            .fill(key.as_mut())
            .map_err(|_| StoreError::corrupt("the system gives no random numbers"))?;
        let sql =
            "INSERT INTO purpose_keys (purpose, sealed) VALUES ($1, $2) ON CONFLICT (purpose) DO NOTHING";
        let sealed = keyring.seal(sealed_for(purpose.name()), key.as_ref())?;
        execute(&tx, sql, vec![purpose.name().into(), sealed.into()]).await?;
    }
    let keys = read(&tx, keyring).await?;
    tx.commit().await?;
    keys.ok_or_else(|| StoreError::corrupt("a key that was just made is missing"))
}

/// `None` if one is missing.
async fn read(connection: &impl ConnectionTrait, keyring: &Keyring) -> Result<Option<PurposeKeys>> {
    let stored = stored(connection).await?;
    let open = |purpose: Purpose| {
        let stored = stored.iter().find(|stored| stored.purpose == purpose.name())?;
        let key = keyring.open(sealed_for(purpose.name()), &stored.sealed);
        Some(key.map(|key| MacKey::new(&key)))
    };
    let keys: Option<Result<Vec<MacKey>>> = Purpose::ALL.into_iter().map(open).collect();
    let Some(keys) = keys.transpose()? else {
        return Ok(None);
    };
    Ok(keys.try_into().ok().map(PurposeKeys))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_purpose_has_a_place_and_a_name_of_its_own() {
        for (index, purpose) in Purpose::ALL.into_iter().enumerate() {
            assert_eq!(purpose as usize, index);
            let alike = Purpose::ALL.iter().filter(|other| other.name() == purpose.name());
            assert_eq!(alike.count(), 1, "{}", purpose.name());
        }
    }
}
