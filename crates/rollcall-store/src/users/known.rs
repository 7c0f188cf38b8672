//! What a run compares a directory with: a sync's users, in as little memory as possible.
//!
//! A run reads all of them. Reading a row each through the driver would take longer than the directory takes to send
//! its entries. So the database puts many rows into one text, and this file takes them apart again.

use rollcall_core::id::{TenantId, UserId, UserSyncId, Uuid};
use rollcall_core::plan::Fingerprint;
use rollcall_core::planner::KnownUser;
use rollcall_core::user::UserState;

use crate::db::engine::Engine;
use crate::db::query::scalar;
use crate::error::{Result, StoreError};
use crate::store::Store;
use crate::tables::labels::Label;
use crate::tables::user::external_id;

/// The ids of all users lie between these.
const EVERYBODY: (Uuid, Uuid) = (Uuid::nil(), Uuid::max());

/// From which end of a range of users a page is read.
#[derive(Clone, Copy)]
enum End {
    First,
    Last,
}

/// A page of users as the database sent it.
struct KnownPage(Option<String>);

impl KnownPage {
    /// The lowest and the highest id on the page; `None` if nobody is on it.
    fn bounds(&self) -> Result<Option<(Uuid, Uuid)>> {
        // Hexadecimal digits of one case and one length sort like the numbers that they write.
        let ids = || self.rows().filter_map(|row| row.split(' ').next());
        let id = |text: &str| Uuid::try_parse(text).map_err(|_| malformed());
        match (ids().min(), ids().max()) {
            (Some(lowest), Some(highest)) => Ok(Some((id(lowest)?, id(highest)?))),
            _ => Ok(None),
        }
    }

    /// Whether the page has fewer users than fit on it.
    fn is_short(&self, page_size: u32) -> bool {
        self.rows().count() < page_size as usize
    }

    fn users(&self) -> impl Iterator<Item = Result<KnownUser>> {
        self.rows().map(read)
    }

    fn rows(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flat_map(|rows| rows.split(','))
    }
}

impl Store {
    /// The first users of a sync, at most `limit`, in the order of ids, with what a plan compares.
    pub async fn known_users(
        &self,
        tenant: &TenantId,
        user_sync: &UserSyncId,
        limit: u32,
    ) -> Result<Vec<KnownUser>> {
        let page = self
            .known_page((tenant, user_sync), EVERYBODY, End::First, limit)
            .await?;
        let mut users = page.users().collect::<Result<Vec<_>>>()?;
        // An aggregate promises no order.
        users.sort_unstable_by_key(|user| user.user);
        Ok(users)
    }

    /// All of a sync's users in no particular order, some perhaps twice. A run waits for them, and there may be a
    /// million. So they are read from both ends, in pages of `page_size`, and each page is taken in while the database
    /// makes the next ones.
    pub async fn read_known_users(
        &self,
        tenant: &TenantId,
        user_sync: &UserSyncId,
        page_size: u32,
        mut take: impl FnMut(KnownUser),
    ) -> Result<()> {
        let page = async |range, end| self.known_page((tenant, user_sync), range, end, page_size).await;
        let mut range = EVERYBODY;
        let (mut first, mut last) = (page(range, End::First).await?, None);
        while let Some((_, highest)) = first.bounds()? {
            range.0 = highest;
            if let Some((lowest, _)) = last.as_ref().map_or(Ok(None), KnownPage::bounds)? {
                range.1 = lowest;
            }
            let take_in = async {
                let pages = [Some(&first), last.as_ref()].into_iter().flatten();
                pages.flat_map(KnownPage::users).try_for_each(|user| {
                    take(user?);
                    Ok::<(), StoreError>(())
                })
            };
            // No users are left between the pages, or the pages overlap.
            let is_all =
                first.is_short(page_size) || last.as_ref().is_some_and(|last| last.is_short(page_size));
            if is_all || range.0 >= range.1 {
                return take_in.await;
            }
            let next = async { tokio::try_join!(page(range, End::First), page(range, End::Last)) };
            let (next, taken_in) = tokio::join!(next, take_in);
            taken_in?;
            let (next_first, next_last) = next?;
            (first, last) = (next_first, Some(next_last));
        }
        Ok(())
    }

    /// A page of users between two ids, from one of the two ends.
    async fn known_page(
        &self,
        (tenant, user_sync): (&TenantId, &UserSyncId),
        (after, before): (Uuid, Uuid),
        end: End,
        limit: u32,
    ) -> Result<KnownPage> {
        let order = match end {
            End::First => "ASC",
            End::Last => "DESC",
        };
        let page = format!(
            "SELECT id, external_id, fingerprint, state, id_kind,
                CASE WHEN state_reason IN ('GONE', 'OUT_OF_SCOPE') THEN '1' ELSE '0' END AS has_left FROM users
            WHERE tenant = $1 AND user_sync = $2 AND id > $3 AND id < $4 ORDER BY id {order} LIMIT {limit}"
        );
        // Neither the words of states nor the names of attributes have spaces or commas.
        let sql = match self.inner.database.engine {
            Engine::Sqlite => format!(
                "SELECT group_concat(hex(id) || ' ' || hex(external_id) || ' ' || hex(fingerprint) || ' '
                    || state || ' ' || id_kind || ' ' || has_left, ',') FROM ({page})"
            ),
            Engine::Postgres => format!(
                "SELECT string_agg(encode(uuid_send(id), 'hex') || ' ' || encode(external_id, 'hex') || ' '
                    || encode(coalesce(fingerprint, ''), 'hex') || ' ' || state || ' ' || id_kind || ' '
                    || has_left, ',')
                FROM ({page}) AS page"
            ),
        };
        let values = vec![
            tenant.as_str().into(),
            user_sync.as_str().into(),
            after.into(),
            before.into(),
        ];
        let found: Option<Option<String>> = scalar(&self.inner.database.reader, &sql, values).await?;
        Ok(KnownPage(found.flatten()))
    }
}

fn read(row: &str) -> Result<KnownUser> {
    let mut parts = row.split(' ');
    let mut part = || parts.next().ok_or_else(malformed);
    let (id, bytes, fingerprint, state, kind, left) = (part()?, part()?, part()?, part()?, part()?, part()?);
    let fingerprint = bytes_of(fingerprint)?.try_into().unwrap_or([0; 16]);
    Ok(KnownUser {
        user: UserId(Uuid::try_parse(id).map_err(|_| malformed())?),
        external_id: external_id(kind, &bytes_of(bytes)?)?,
        fingerprint: Fingerprint(fingerprint),
        state: UserState::from_label(state)?,
        left: left == "1",
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
