//! Plans, in chunks.

use rollcall_core::id::{RunId, UserSyncKey};
use rollcall_core::plan::{CHUNK_CHANGES, Change, ChangeKind};
use rollcall_core::run::{RunCounts, RunState};
use sea_orm::{ConnectionTrait, FromQueryResult};

use crate::database::{execute, rows, scalar};
use crate::entity;
use crate::error::{Result, StoreError};
use crate::leases::{LeaseToken, require_lease};
use crate::page::{Page, PageRequest};
use crate::run_changes::in_state;
use crate::runs::{find, key_values};
use crate::saved::plan::{pack, unpack};
use crate::store::Store;

/// What becomes of a plan that is complete.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PlanOutcome {
    /// It was a preview and waits.
    Planned,
    /// The guard holds it, for these reasons.
    Held(Vec<String>),
    /// It is applied at once.
    Apply,
}

/// A plan that is complete.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlanResult {
    /// What becomes of it.
    pub outcome: PlanOutcome,
    /// What it would do.
    pub counts: RunCounts,
    /// True if every search ended Complete.
    pub complete: bool,
}

/// How long a plan is and how far it was applied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PlanExtent {
    /// Chunks that it has.
    pub chunks: u32,
    /// Chunks that were applied; the index of the next.
    pub applied_chunks: u32,
}

#[derive(FromQueryResult)]
struct ChunkRow {
    chunk: i64,
    changes: Vec<u8>,
}

impl Store {
    /// Adds a chunk to the plan of a PULLING run. Indexes count up from 0; at most [`CHUNK_CHANGES`] changes.
    /// Chunks are applied in this order, but those that hold nothing but removals go first: whoever left loses
    /// access before anything else happens. A removal that comes with a new login or e-mail address stays where it
    /// is, since that may have to be released by another change.
    ///
    /// # Errors
    /// `LeaseLost`; `NotFound`; `NotInState`, also when `index` is not the next one or the chunk too large.
    pub async fn append_chunk(
        &self,
        lease: &LeaseToken,
        key: &UserSyncKey,
        id: RunId,
        index: u32,
        changes: &[Change],
    ) -> Result<()> {
        let packed = pack(changes)?;
        let kinds = kind_bits(changes);
        let tx = self.inner.database.begin().await?;
        require_lease(&tx, lease, key).await?;
        let mut model = in_state(&tx, key, id, &[RunState::Pulling]).await?;
        if model.chunks != i64::from(index) || changes.len() > CHUNK_CHANGES {
            return Err(StoreError::NotInState);
        }
        model.chunks += 1;
        let sql = "INSERT INTO sync_plan_chunks (tenant, user_sync, run, chunk, kinds, changes)
            VALUES ($1, $2, $3, $4, $5, $6)";
        let mut values = Vec::from(key_values(key, id));
        values.extend([rank(index, changes).into(), kinds.into(), packed.into()]);
        execute(&tx, sql, values).await?;
        entity::update(&tx, model).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Takes changes out of the plan of a PULLING run, and returns them. Its chunks stay where they are.
    ///
    /// # Errors
    /// `LeaseLost`; `NotFound`; `NotInState`.
    pub async fn withdraw_changes(
        &self,
        lease: &LeaseToken,
        key: &UserSyncKey,
        id: RunId,
        concerns: impl Fn(&Change) -> bool,
    ) -> Result<Vec<Change>> {
        let tx = self.inner.database.begin().await?;
        require_lease(&tx, lease, key).await?;
        in_state(&tx, key, id, &[RunState::Pulling]).await?;
        let mut withdrawn = Vec::new();
        let mut next = i64::MIN;
        while let Some(row) = chunk_from(&tx, key, id, next, -1).await? {
            next = row.chunk + 1;
            let (out, kept): (Vec<Change>, Vec<Change>) =
                unpack(&row.changes)?.into_iter().partition(&concerns);
            if out.is_empty() {
                continue;
            }
            let sql = "UPDATE sync_plan_chunks SET kinds = $5, changes = $6
                WHERE tenant = $1 AND user_sync = $2 AND run = $3 AND chunk = $4";
            let mut values = Vec::from(key_values(key, id));
            values.extend([row.chunk.into(), kind_bits(&kept).into(), pack(&kept)?.into()]);
            execute(&tx, sql, values).await?;
            withdrawn.extend(out);
        }
        tx.commit().await?;
        Ok(withdrawn)
    }

    /// How long a run's plan is and how far it was applied.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn plan_extent(&self, key: &UserSyncKey, id: RunId) -> Result<PlanExtent> {
        let model = find(&self.inner.database.reader, key, id, "").await?;
        let number =
            |count: i64| u32::try_from(count).map_err(|_| StoreError::corrupt("a count is out of range"));
        Ok(PlanExtent {
            chunks: number(model.chunks)?,
            applied_chunks: number(model.applied_chunks)?,
        })
    }

    /// One chunk of a plan, by its place in the order in which chunks are applied.
    ///
    /// # Errors
    /// `NotFound` if the run has no such chunk.
    pub async fn read_chunk(&self, key: &UserSyncKey, id: RunId, index: u32) -> Result<Vec<Change>> {
        let sql = "SELECT changes FROM sync_plan_chunks
            WHERE tenant = $1 AND user_sync = $2 AND run = $3 ORDER BY chunk LIMIT 1 OFFSET $4";
        let mut values = Vec::from(key_values(key, id));
        values.push(i64::from(index).into());
        let packed: Option<Vec<u8>> = scalar(&self.inner.database.reader, sql, values).await?;
        unpack(&packed.ok_or(StoreError::NotFound(crate::error::Kind::Run))?)
    }

    /// The changes of a plan in the order in which they are applied, perhaps of one kind only.
    ///
    /// # Errors
    /// `InvalidCursor`.
    pub async fn list_changes(
        &self,
        key: &UserSyncKey,
        id: RunId,
        kind: Option<ChangeKind>,
        page: &PageRequest,
    ) -> Result<Page<Change>> {
        let (mut chunk, mut offset): (i64, usize) = page.key()?.unwrap_or((i64::MIN, 0));
        let bits = kind.map_or(-1, kind_bit);
        let mut items = Vec::new();
        loop {
            let found = chunk_from(&self.inner.database.reader, key, id, chunk, bits).await?;
            let Some(row) = found else {
                return Page::with_next(items, None::<()>);
            };
            let skip = if row.chunk == chunk { offset } else { 0 };
            for (index, change) in unpack(&row.changes)?.into_iter().enumerate().skip(skip) {
                if kind.is_some_and(|kind| kind != change.kind) {
                    continue;
                }
                if items.len() == page.limit() {
                    return Page::with_next(items, Some((row.chunk, index)));
                }
                items.push(change);
            }
            (chunk, offset) = (row.chunk + 1, 0);
        }
    }
}

/// The first chunk at this place or behind it that has changes of one of these kinds; of all kinds for -1.
async fn chunk_from(
    connection: &impl ConnectionTrait,
    key: &UserSyncKey,
    id: RunId,
    place: i64,
    kinds: i64,
) -> Result<Option<ChunkRow>> {
    let sql = "SELECT chunk, changes FROM sync_plan_chunks
        WHERE tenant = $1 AND user_sync = $2 AND run = $3 AND chunk >= $4
          AND (kinds & $5 <> 0 OR $5 = -1)
        ORDER BY chunk LIMIT 1";
    let mut values = Vec::from(key_values(key, id));
    values.extend([place.into(), kinds.into()]);
    let found: Vec<ChunkRow> = rows(connection, sql, values).await?;
    Ok(found.into_iter().next())
}

/// Where a chunk stands in the order of application.
fn rank(index: u32, changes: &[Change]) -> i64 {
    let first = !changes.is_empty() && changes.iter().all(only_removes);
    i64::from(index) - if first { 1 << 32 } else { 0 }
}

/// True if the change depends on no other.
fn only_removes(change: &Change) -> bool {
    let claims = |field: &str| ["login", "email"].contains(&field);
    change.kind.is_removal() && !change.changes.iter().any(|changed| claims(&changed.field))
}

fn kind_bits(changes: &[Change]) -> i64 {
    changes
        .iter()
        .fold(0, |bits, change| bits | kind_bit(change.kind))
}

/// Tells chunks apart that hold no change of a kind, without unpacking them.
fn kind_bit(kind: ChangeKind) -> i64 {
    match kind {
        ChangeKind::Create => 1,
        ChangeKind::Link => 1 << 1,
        ChangeKind::Update => 1 << 2,
        ChangeKind::Reactivate => 1 << 3,
        ChangeKind::Deactivate => 1 << 4,
        ChangeKind::Archive => 1 << 5,
        ChangeKind::Transfer => 1 << 6,
        ChangeKind::Relink => 1 << 7,
    }
}
