//! Plans, in chunks.

use rollcall_core::id::{RunId, UserSyncKey};
use rollcall_core::plan::{CHUNK_CHANGES, Change, ChangeKind};
use rollcall_core::run::RunState;
use sea_orm::{ConnectionTrait, FromQueryResult};

use crate::db::query::{execute, rows, scalar};
use crate::error::{Result, StoreError};
use crate::page::{Page, PageRequest};
use crate::runs::handle::RunHandle;
use crate::store::Store;
use crate::tables::json::plan::{pack, unpack};
use crate::tables::{self, sync_run};

/// How long a plan is and how far it was applied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PlanExtent {
    /// Chunks that it has.
    pub chunks: u32,
    /// Chunks that were applied; the index of the next.
    pub applied_chunks: u32,
    /// Number of chunks after which a held run waits again; `None` if it does not wait, or not any more.
    pub hold_at: Option<u32>,
}

/// Removals at the beginning of a plan.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LeaversFirst {
    /// Chunks that they fill.
    pub chunks: u32,
    /// Users of whom the plan has two changes now: the loss of access, and the rest.
    pub split: u64,
}

#[derive(FromQueryResult)]
struct ChunkRow {
    chunk: i64,
    changes: Vec<u8>,
}

impl Store {
    /// Adds a chunk to the plan of a PULLING run. Indexes count up from 0; a chunk has at most [`CHUNK_CHANGES`]
    /// changes. Chunks are applied in this order, except that chunks with nothing but removals go first: people who
    /// left lose access before anything else happens. A removal that comes with a new login or e-mail address stays
    /// where it is, since another change may have to release that identifier.
    ///
    /// # Errors
    /// `LeaseLost`; `NotFound`; `NotInState`, also when `index` is not the next one or the chunk too large.
    pub async fn append_chunk(&self, run: &RunHandle, index: u32, changes: &[Change]) -> Result<()> {
        let tx = self.inner.database.begin().await?;
        let mut model = run.lock_in_state(&tx, &[RunState::Pulling]).await?;
        if model.chunks != i64::from(index) || changes.len() > CHUNK_CHANGES {
            return Err(StoreError::NotInState);
        }
        model.chunks += 1;
        insert_chunk(&tx, &run.key, run.id, rank(index, changes), changes).await?;
        tables::update(&tx, model).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Takes changes out of the plan of a PULLING run, and returns them. `is_out` is asked about each change once, in
    /// the order of application. Chunks stay where they are.
    ///
    /// # Errors
    /// `LeaseLost`; `NotFound`; `NotInState`.
    pub async fn withdraw_changes(
        &self,
        run: &RunHandle,
        mut is_out: impl FnMut(&Change) -> bool,
    ) -> Result<Vec<Change>> {
        let mut withdrawn = Vec::new();
        let mut next = i64::MIN;
        // One transaction for each chunk: should the worker die, the one that takes over begins its pull anew.
        loop {
            let tx = self.inner.database.begin().await?;
            run.lock_in_state(&tx, &[RunState::Pulling]).await?;
            let Some(row) = chunk_from(&tx, &run.key, run.id, next, -1).await? else {
                return Ok(withdrawn);
            };
            next = row.chunk + 1;
            let (out, kept): (Vec<Change>, Vec<Change>) = unpack(&row.changes)?
                .into_iter()
                .partition(|change| is_out(change));
            if out.is_empty() {
                continue;
            }
            put_chunk(&tx, &run.key, run.id, row.chunk, &kept).await?;
            tx.commit().await?;
            withdrawn.extend(out);
        }
    }

    /// Moves the removals in the plan of a PULLING run that `is_leaver` names to the beginning, as chunks of their own
    /// that only take access away. Other wishes of the same entries stay where they are.
    ///
    /// # Errors
    /// `LeaseLost`; `NotFound`; `NotInState`.
    pub async fn put_leavers_first(
        &self,
        run: &RunHandle,
        is_leaver: impl Fn(&Change) -> bool,
    ) -> Result<LeaversFirst> {
        let mut first = LeaversFirst::default();
        let removals = kind_bit(ChangeKind::Deactivate) | kind_bit(ChangeKind::Archive);
        let mut next = LEAVERS_END;
        loop {
            let tx = self.inner.database.begin().await?;
            let mut model = run.lock_in_state(&tx, &[RunState::Pulling]).await?;
            let Some(row) = chunk_from(&tx, &run.key, run.id, next, removals).await? else {
                return Ok(first);
            };
            next = row.chunk + 1;
            let (mut leavers, mut kept) = (Vec::new(), Vec::new());
            for change in unpack(&row.changes)? {
                if change.is_removal() && change.loses_access() && is_leaver(&change) {
                    let (removal, rest) = change.split_removal();
                    first.split += u64::from(rest.is_some());
                    leavers.push(removal);
                    kept.extend(rest);
                } else {
                    kept.push(change);
                }
            }
            if leavers.is_empty() {
                continue;
            }
            put_chunk(&tx, &run.key, run.id, row.chunk, &kept).await?;
            insert_chunk(&tx, &run.key, run.id, LEAVERS + i64::from(first.chunks), &leavers).await?;
            first.chunks += 1;
            model.chunks += 1;
            tables::update(&tx, model).await?;
            tx.commit().await?;
        }
    }

    /// How long a run's plan is and how far it was applied.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn plan_extent(&self, key: &UserSyncKey, id: RunId) -> Result<PlanExtent> {
        let model = sync_run::find(&self.inner.database.reader, key, id).await?;
        let number =
            |count: i64| u32::try_from(count).map_err(|_| StoreError::corrupt("a count is out of range"));
        Ok(PlanExtent {
            chunks: number(model.chunks)?,
            applied_chunks: number(model.applied_chunks)?,
            hold_at: model.hold_at.map(number).transpose()?,
        })
    }

    /// One chunk of a plan, by its place in the order in which chunks are applied.
    ///
    /// # Errors
    /// `NotFound` if the run has no such chunk.
    pub async fn read_chunk(&self, key: &UserSyncKey, id: RunId, index: u32) -> Result<Vec<Change>> {
        let sql = "SELECT changes FROM sync_plan_chunks
            WHERE tenant = $1 AND user_sync = $2 AND run = $3 ORDER BY chunk LIMIT 1 OFFSET $4";
        let mut values = Vec::from(sync_run::primary_key(key, id));
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

/// The first chunk, from this place on, that has changes of one of these kinds; -1 stands for all kinds.
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
    let mut values = Vec::from(sync_run::primary_key(key, id));
    values.extend([place.into(), kinds.into()]);
    let found: Vec<ChunkRow> = rows(connection, sql, values).await?;
    Ok(found.into_iter().next())
}

async fn insert_chunk(
    tx: &impl ConnectionTrait,
    key: &UserSyncKey,
    id: RunId,
    place: i64,
    changes: &[Change],
) -> Result<()> {
    let sql = "INSERT INTO sync_plan_chunks (tenant, user_sync, run, chunk, kinds, changes)
        VALUES ($1, $2, $3, $4, $5, $6)";
    let mut values = Vec::from(sync_run::primary_key(key, id));
    values.extend([place.into(), kind_bits(changes).into(), pack(changes)?.into()]);
    execute(tx, sql, values).await?;
    Ok(())
}

/// Replaces the changes of a chunk.
pub(crate) async fn put_chunk(
    tx: &impl ConnectionTrait,
    key: &UserSyncKey,
    id: RunId,
    place: i64,
    changes: &[Change],
) -> Result<()> {
    let sql = "UPDATE sync_plan_chunks SET kinds = $5, changes = $6
        WHERE tenant = $1 AND user_sync = $2 AND run = $3 AND chunk = $4";
    let mut values = Vec::from(sync_run::primary_key(key, id));
    values.extend([place.into(), kind_bits(changes).into(), pack(changes)?.into()]);
    execute(tx, sql, values).await?;
    Ok(())
}

/// The place of the chunks of leavers that do not wait with a held plan: before the chunks of other removals.
const LEAVERS: i64 = -(1 << 34);
const LEAVERS_END: i64 = -(1 << 33);

/// The place of a chunk in the order of application.
fn rank(index: u32, changes: &[Change]) -> i64 {
    let first = !changes.is_empty() && changes.iter().all(only_removes);
    i64::from(index) - if first { 1 << 32 } else { 0 }
}

/// True if each change depends on no other change.
fn only_removes(change: &Change) -> bool {
    let claims = |field: &str| ["login", "email"].contains(&field);
    change.is_removal() && !change.changes.iter().any(|changed| claims(&changed.field))
}

fn kind_bits(changes: &[Change]) -> i64 {
    changes
        .iter()
        .fold(0, |bits, change| bits | kind_bit(change.kind))
}

/// A bit for each kind of change, by which chunks without changes of a kind are passed over unpacked.
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
