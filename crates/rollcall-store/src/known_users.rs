//! What a run compares a directory with: a sync's users, in as little as it takes.
//!
//! A run reads all of them. A row each through the driver would take longer than it takes the directory to
//! send its entries, so the database puts many rows into one text, and this file takes them apart again.

use rollcall_core::external_id::ExternalId;
use rollcall_core::id::{TenantId, UserId, UserSyncId, Uuid};
use rollcall_core::plan::Fingerprint;
use rollcall_core::user::UserState;

use crate::database::{Engine, scalar};
use crate::entity::user::external_id;
use crate::error::{Result, StoreError};
use crate::store::Store;
use crate::words::Word;

/// A synced user, as far as a plan has to know it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KnownUser {
    /// The user.
    pub user: UserId,
    /// The person's id in the directory.
    pub external_id: ExternalId,
    /// What the sync set on it last. All zero if that is not known, which no content has.
    pub fingerprint: Fingerprint,
    /// Its state.
    pub state: UserState,
}

/// A page of them as the database sent it.
pub struct KnownPage(Option<String>);

impl KnownPage {
    /// The last of the page, by id; `None` if nobody is on it.
    ///
    /// # Errors
    /// What is stored cannot be read.
    pub fn last(&self) -> Result<Option<UserId>> {
        let ids = self.rows().filter_map(|row| row.split(' ').next());
        // Digits of one case and length are in the order of what they stand for.
        let last = ids.max();
        last.map(|id| Uuid::try_parse(id).map(UserId).map_err(|_| malformed()))
            .transpose()
    }

    fn rows(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flat_map(|rows| rows.split(','))
    }

    /// The users of the page, in no order.
    pub fn users(&self) -> impl Iterator<Item = Result<KnownUser>> {
        self.rows().map(read)
    }
}

impl Store {
    /// A sync's users after an id, in the order of ids, with what a plan compares.
    pub async fn known_users(
        &self,
        tenant: &TenantId,
        user_sync: &UserSyncId,
        after: Option<UserId>,
        limit: u32,
    ) -> Result<Vec<KnownUser>> {
        let page = self.known_page(tenant, user_sync, after, limit).await?;
        let mut users = page.users().collect::<Result<Vec<_>>>()?;
        // An aggregate promises no order.
        users.sort_unstable_by_key(|user| user.user);
        Ok(users)
    }

    /// The same, for whoever has something else to do before they are taken apart.
    pub async fn known_page(
        &self,
        tenant: &TenantId,
        user_sync: &UserSyncId,
        after: Option<UserId>,
        limit: u32,
    ) -> Result<KnownPage> {
        let page = format!(
            "SELECT id, external_id, fingerprint, state, id_kind FROM users
            WHERE tenant = $1 AND user_sync = $2 AND id > $3 ORDER BY id LIMIT {limit}"
        );
        // Neither the words of states nor the names of attributes have spaces or commas.
        let sql = match self.inner.database.engine {
            Engine::Sqlite => format!(
                "SELECT group_concat(hex(id) || ' ' || hex(external_id) || ' ' || hex(fingerprint) || ' '
                    || state || ' ' || id_kind, ',') FROM ({page})"
            ),
            Engine::Postgres => format!(
                "SELECT string_agg(encode(uuid_send(id), 'hex') || ' ' || encode(external_id, 'hex') || ' '
                    || encode(coalesce(fingerprint, ''), 'hex') || ' ' || state || ' ' || id_kind, ',')
                FROM ({page}) AS page"
            ),
        };
        let after = after.map_or(Uuid::nil(), |id| id.0);
        let values = vec![tenant.as_str().into(), user_sync.as_str().into(), after.into()];
        let found: Option<Option<String>> = scalar(&self.inner.database.reader, &sql, values).await?;
        Ok(KnownPage(found.flatten()))
    }
}

fn read(row: &str) -> Result<KnownUser> {
    let mut parts = row.split(' ');
    let mut part = || parts.next().ok_or_else(malformed);
    let (id, bytes, fingerprint, state, kind) = (part()?, part()?, part()?, part()?, part()?);
    let fingerprint = bytes_of(fingerprint)?.try_into().unwrap_or([0; 16]);
    Ok(KnownUser {
        user: UserId(Uuid::try_parse(id).map_err(|_| malformed())?),
        external_id: external_id(kind, &bytes_of(bytes)?)?,
        fingerprint: Fingerprint(fingerprint),
        state: UserState::from_word(state)?,
    })
}

fn bytes_of(hex: &str) -> Result<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).ok_or_else(malformed);
    let pairs = hex.as_bytes().chunks(2);
    pairs
        .map(|pair| match pair {
            // Two digits are a byte.
            [high, low] => Ok((digit(*high)? * 16 + digit(*low)?) as u8),
            _ => Err(malformed()),
        })
        .collect()
}

fn malformed() -> StoreError {
    StoreError::corrupt("a user cannot be read")
}
