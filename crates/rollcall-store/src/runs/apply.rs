//! Applying changes of a plan: compare-and-set, and nothing twice.

use std::collections::{BTreeSet, HashMap, HashSet};

use chrono::{DateTime, Utc};
use rollcall_core::claims::{PendingWrite, recheck};
use rollcall_core::external_id::ExternalId;
use rollcall_core::guard::HoldReason;
use rollcall_core::id::{DirectoryId, TenantId, UserId, UserSyncKey};
use rollcall_core::issue::{Issue, IssueKind};
use rollcall_core::plan::{CHUNK_CHANGES, Change, ChangeKind, Fingerprint, NotWritten};
use rollcall_core::revision::Revision;
use rollcall_core::run::{RunCounts, RunMode, RunState};
use rollcall_core::user::{Origin, User};
use sea_orm::{ConnectionTrait, DatabaseTransaction};

use crate::db::engine::Engine;
use crate::db::timestamp::to_stored;
use crate::error::{Result, StoreError};
use crate::runs::guard_counts;
use crate::runs::handle::RunHandle;
use crate::runs::issues;
use crate::runs::neighbours::Neighbours;
use crate::runs::prepared::Prepared;
use crate::runs::started_chunk::StartedChunk;
use crate::store::Store;
use crate::tables::json::JsonColumn;
use crate::tables::labels::Label;
use crate::tables::{self, sync_run, user::Model};
use crate::users::feed::Cause;
use crate::users::identifiers::holders;
use crate::users::read::by_external_ids;
use crate::users::write::{UserWrite, lock_users, write, write_events, write_rows};

/// How often a transaction that lost a race for an identifier is repeated.
const ATTEMPTS: u32 = 5;

/// A chunk that creates this many users is taken for the beginning of a first import.
const MANY: usize = 500;

/// What became of a chunk.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ChunkOutcome {
    /// Changes that were written.
    pub applied: u64,
    /// Why other changes were not written. These issues are stored with the run already.
    pub issues: Vec<Issue>,
    /// The chunk had been applied before; nothing was done.
    pub repeated: bool,
}

/// What became of a single change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SingleOutcome {
    /// The user afterwards, and issues about what could not be written.
    Applied(Box<User>, Vec<Issue>),
    /// Why nothing was written.
    Refused(Issue),
}

impl Store {
    /// How many changes a chunk should have. On SQLite nothing else can write while a chunk is applied, not even
    /// logins.
    pub fn good_chunk(&self) -> usize {
        match self.inner.database.engine {
            Engine::Sqlite => 100,
            Engine::Postgres => CHUNK_CHANGES,
        }
    }

    /// Applies the next chunk of an APPLYING run: users, identifiers, fingerprints, events, the chunk pointer and the
    /// run's counts, in one transaction. A change becomes an issue and is left out if what it depends on has changed,
    /// or if its login or e-mail address was taken meanwhile. A chunk that was applied already is not applied again.
    ///
    /// # Errors
    /// `LeaseLost`; `NotFound`; `NotInState`, also when `index` is beyond the next chunk; `Contended`.
    pub async fn apply_chunk(
        &self,
        run: &RunHandle,
        index: u32,
        changes: &[Change],
        now: DateTime<Utc>,
    ) -> Result<ChunkOutcome> {
        self.apply_started(run, index, changes, None, now).await
    }

    /// The same for a chunk that may have been started, with the same changes.
    ///
    /// # Errors
    /// As [`Store::apply_chunk`].
    pub async fn apply_started(
        &self,
        run: &RunHandle,
        index: u32,
        changes: &[Change],
        mut started: Option<StartedChunk>,
        now: DateTime<Utc>,
    ) -> Result<ChunkOutcome> {
        for _ in 0..ATTEMPTS {
            let applied = match started.take() {
                Some(started) => {
                    self.finish_chunk(run, index, changes, started, to_stored(now))
                        .await
                }
                None => self.try_chunk(run, index, changes, to_stored(now)).await,
            };
            match applied {
                Err(error) if error.is_lost_race() => continue,
                Ok(outcome) => {
                    if index == 0 && count_creations(changes) >= MANY {
                        // The chunk is applied, whether or not this works.
                        let _ = self.inner.database.analyze_users().await;
                    }
                    self.inner.database.let_others_write().await;
                    return Ok(outcome);
                }
                Err(error) => return Err(error),
            }
        }
        Err(StoreError::Contended)
    }

    /// Applies one change outside of a run, for a user who logs in. It needs no lease: the user's revision tells
    /// whether a run, or another writer, was faster.
    ///
    /// # Errors
    /// `NotFound` for the user sync; `Contended`.
    pub async fn apply_single(
        &self,
        key: &UserSyncKey,
        change: &Change,
        now: DateTime<Utc>,
    ) -> Result<SingleOutcome> {
        for _ in 0..ATTEMPTS {
            match self.try_single(key, change, to_stored(now)).await {
                Err(error) if error.is_lost_race() => continue,
                other => return other,
            }
        }
        Err(StoreError::Contended)
    }

    async fn try_chunk(
        &self,
        run: &RunHandle,
        index: u32,
        changes: &[Change],
        now: DateTime<Utc>,
    ) -> Result<ChunkOutcome> {
        let tx = self.inner.database.begin().await?;
        let model = run.lock_in_state(&tx, &[RunState::Applying]).await?;
        if !is_next(&model, index)? {
            return Ok(ChunkOutcome::repeated());
        }
        let prepared = self.write_prepared(&tx, &run.key, changes, now).await?;
        conclude(tx, run, model, changes, prepared, now).await
    }

    /// Writes users and identifiers of the changes that can be written.
    pub(crate) async fn write_prepared(
        &self,
        tx: &impl ConnectionTrait,
        key: &UserSyncKey,
        changes: &[Change],
        now: DateTime<Utc>,
    ) -> Result<Prepared> {
        let prepared = self.prepare(tx, key, changes, now).await?;
        write_rows(tx, self.scope(&key.tenant), &key.tenant, &prepared.writes).await?;
        Ok(prepared)
    }

    async fn finish_chunk(
        &self,
        run: &RunHandle,
        index: u32,
        changes: &[Change],
        started: StartedChunk,
        now: DateTime<Utc>,
    ) -> Result<ChunkOutcome> {
        let StartedChunk { tx, prepared, .. } = started;
        let model = run.lock_in_state(&tx, &[RunState::Applying]).await?;
        match is_next(&model, index)? {
            true => conclude(tx, run, model, changes, prepared, now).await,
            false => Ok(ChunkOutcome::repeated()),
        }
    }

    async fn try_single(
        &self,
        key: &UserSyncKey,
        change: &Change,
        now: DateTime<Utc>,
    ) -> Result<SingleOutcome> {
        let tx = self.inner.database.begin().await?;
        let user_sync = tables::user_sync::find(&tx, key).await?;
        let scope = self.scope(&key.tenant);
        let mut prepared = self.prepare(&tx, key, std::slice::from_ref(change), now).await?;
        if let Some((_, issue)) = prepared.refused.pop() {
            return Ok(SingleOutcome::Refused(issue));
        }
        let first = user_sync.last_complete_pull_time.is_none();
        guard_counts::record(&tx, key, [change], first, now).await?;
        write(&tx, scope, &key.tenant, &prepared.writes, Cause::default(), now).await?;
        tx.commit().await?;
        let written = prepared
            .writes
            .pop()
            .ok_or(StoreError::corrupt("a change was lost"))?;
        Ok(SingleOutcome::Applied(Box::new(written.after), prepared.issues))
    }

    /// Locks the users, and tells the changes that can be written from those that cannot.
    async fn prepare(
        &self,
        tx: &impl ConnectionTrait,
        key: &UserSyncKey,
        changes: &[Change],
        now: DateTime<Utc>,
    ) -> Result<Prepared> {
        let tenant = &key.tenant;
        let others = Neighbours::of(tx, key, changes).await?;
        let locked = lock_users(tx, tenant, changes.iter().map(|change| change.user)).await?;
        let mut current: HashMap<UserId, Model> = locked
            .into_iter()
            .map(|model| (UserId(model.id), model))
            .collect();
        let persons = persons(tx, tenant, changes).await?;
        // Exclusions are read last. An erasure that commits too late to be seen here has left its user to be seen
        // above.
        let excluded = self.excluded(tx, tenant, changes).await?;
        let mut refused = Vec::new();
        let mut pending = Vec::new();
        let mut seen = HashSet::new();
        for change in changes {
            let before = current.remove(&change.user).map(Model::into_domain).transpose()?;
            let revision = before.as_ref().map_or(Revision::NONE, |user| user.revision);
            let person = persons.get(&(change.origin.directory.clone(), change.origin.external_id.clone()));
            let repeated = !seen.insert(change.user);
            let stands = match change.is_removal() {
                true => before.as_ref().is_some_and(|user| depends_on(change, user)),
                false => revision == change.expected_revision,
            };
            let changed = repeated
                || !stands
                || !others.allow(change)
                || before.is_none() != (change.kind == ChangeKind::Create)
                || person.is_some_and(|person| *person != change.user);
            if excluded.contains(&change.user) {
                // The issue has no DN, since the person is erased.
                let message = "an entry is on the exclusion list since the plan was made";
                refused.push((change.kind, Issue::new(IssueKind::ChangedMeanwhile, "", message)));
            } else if changed {
                refused.push((change.kind, change.refused(NotWritten::ChangedMeanwhile)));
            } else if before.as_ref().is_some_and(|user| user.owner) {
                refused.push((change.kind, change.refused(NotWritten::OwnerProtected)));
            } else {
                pending.push(pending_write(tenant, change, before, now));
            }
        }
        let mut prepared = give_identifiers(tx, self.scope(tenant), tenant, pending).await?;
        refused.append(&mut prepared.refused);
        prepared.refused = refused;
        Ok(prepared)
    }
}

/// True if a chunk is the next of a run, false if it was applied already.
fn is_next(run: &sync_run::Model, index: u32) -> Result<bool> {
    match i64::from(index).cmp(&run.applied_chunks) {
        std::cmp::Ordering::Less => Ok(false),
        std::cmp::Ordering::Greater => Err(StoreError::NotInState),
        std::cmp::Ordering::Equal => Ok(true),
    }
}

/// Moves the run on by a chunk whose users are written, tells the feed, and commits.
async fn conclude(
    tx: DatabaseTransaction,
    run: &RunHandle,
    mut model: sync_run::Model,
    changes: &[Change],
    prepared: Prepared,
    now: DateTime<Utc>,
) -> Result<ChunkOutcome> {
    let key = &run.key;
    let Prepared {
        writes,
        refused,
        mut issues,
    } = prepared;
    // Changes that a person released do not count against later runs. The leavers of a held plan were not released by
    // anybody, so they count.
    let by_itself = RunMode::from_label(&model.mode)? == RunMode::Apply
        && (model.hold_at.is_some() || Vec::<HoldReason>::from_json(&model.hold_reasons)?.is_empty());
    if by_itself {
        let user_sync = tables::user_sync::find(&tx, key).await?;
        let kept = written(changes, &writes);
        let first = user_sync.last_complete_pull_time.is_none();
        guard_counts::record(&tx, key, kept, first, now).await?;
    }
    let mut counts = RunCounts::from_json(&model.counts)?;
    counts.applied += writes.len() as u64;
    counts.issues += (refused.len() + issues.len()) as u64;
    for (kind, _) in &refused {
        let planned = planned_count(&mut counts, *kind);
        *planned = planned.saturating_sub(1);
    }
    issues.splice(0..0, refused.into_iter().map(|(_, issue)| issue));
    issues::append(&tx, &mut model, &issues).await?;
    model.counts = counts.to_json()?;
    model.applied_chunks += 1;
    tables::update(&tx, model).await?;
    write_events(&tx, &key.tenant, &writes, Cause::run(run.id), now).await?;
    tx.commit().await?;
    Ok(ChunkOutcome {
        applied: writes.len() as u64,
        issues,
        repeated: false,
    })
}

impl ChunkOutcome {
    fn repeated() -> Self {
        Self {
            repeated: true,
            ..Self::default()
        }
    }
}

/// Takes from the writes the identifiers that they cannot have any more, by [`recheck`].
async fn give_identifiers(
    tx: &impl ConnectionTrait,
    scope: &str,
    tenant: &TenantId,
    pending: Vec<PendingWrite<'_>>,
) -> Result<Prepared> {
    let wanted: BTreeSet<String> = pending
        .iter()
        .flat_map(|write| write.after.identifiers())
        .collect();
    let wanted: Vec<String> = wanted.into_iter().collect();
    let holders = holders(tx, scope, tenant, &wanted).await?;
    let rechecked = recheck(pending, &holders);
    let to_write = |write: PendingWrite<'_>| {
        let fingerprint = fingerprint_of(&write.after);
        UserWrite::new(write.before, write.after, Some(fingerprint))
    };
    Ok(Prepared {
        writes: rechecked.writes.into_iter().map(to_write).collect(),
        refused: rechecked.refused,
        issues: rechecked.issues,
    })
}

/// True if the user is what a removal depends on: the same person of the same sync, in the same state. A login or a
/// refresh that changed the revision meanwhile does not prevent the removal.
fn depends_on(change: &Change, user: &User) -> bool {
    let same_person = user.origin.as_ref().is_some_and(|origin| {
        let identity = |origin: &Origin| {
            (
                origin.user_sync.clone(),
                origin.directory.clone(),
                origin.external_id.clone(),
            )
        };
        identity(origin) == identity(&change.origin)
    });
    let same_state = match change.state_before {
        Some(state) => user.state == state,
        // The plan is of an earlier release.
        None => user.revision == change.expected_revision,
    };
    same_person && same_state
}

/// The changes that these writes are for.
fn written<'c>(changes: &'c [Change], writes: &[UserWrite]) -> Vec<&'c Change> {
    let users: HashSet<UserId> = writes.iter().map(|write| write.after.id).collect();
    changes
        .iter()
        .filter(|change| users.contains(&change.user))
        .collect()
}

/// Which users have the external ids of these changes already.
async fn persons(
    tx: &impl ConnectionTrait,
    tenant: &TenantId,
    changes: &[Change],
) -> Result<HashMap<(DirectoryId, ExternalId), UserId>> {
    let ids = changes
        .iter()
        .map(|change| (&change.origin.directory, &change.origin.external_id));
    let found = by_external_ids(tx, tenant, ids).await?;
    let mut persons = HashMap::new();
    for model in found {
        let user = model.into_domain()?;
        if let Some(origin) = user.origin {
            persons.insert((origin.directory, origin.external_id), user.id);
        }
    }
    Ok(persons)
}

fn count_creations(changes: &[Change]) -> usize {
    let creations = changes.iter().filter(|change| change.kind == ChangeKind::Create);
    creations.count()
}

fn pending_write<'c>(
    tenant: &TenantId,
    change: &'c Change,
    before: Option<User>,
    now: DateTime<Utc>,
) -> PendingWrite<'c> {
    let moved_on = before
        .as_ref()
        .filter(|user| user.revision != change.expected_revision);
    // The removal of a user who was changed meanwhile takes only the state: the stored fields are newer than the plan.
    let (origin, profile) = match moved_on {
        Some(user) => (user.origin.as_ref().unwrap_or(&change.origin), &user.profile),
        None => (&change.origin, &change.profile),
    };
    let (login_ambiguous, login_asked_by) = match moved_on {
        Some(user) => (user.login_ambiguous, &user.login_asked_by),
        None => (change.login_ambiguous, &change.login_asked_by),
    };
    let after = User {
        tenant: tenant.clone(),
        id: change.user,
        origin: Some(origin.clone()),
        profile: profile.clone(),
        state: change.state,
        state_reason: change.state_reason,
        owner: false,
        block: before.as_ref().and_then(|user| user.block.clone()),
        login_ambiguous,
        login_asked_by: login_asked_by.clone(),
        revision: before
            .as_ref()
            .map_or(Revision::FIRST, |user| user.revision.next()),
        create_time: before.as_ref().map_or(now, |user| user.create_time),
        update_time: now,
    };
    PendingWrite {
        change,
        before,
        after,
    }
}

/// The fingerprint of what a sync sets on the user.
fn fingerprint_of(user: &User) -> Vec<u8> {
    let dn = user.origin.as_ref().map_or("", |origin| &origin.dn);
    Fingerprint::of(
        &user.profile,
        dn,
        user.state,
        user.state_reason,
        user.login_ambiguous,
    )
    .0
    .to_vec()
}

/// The count of a plan's changes of one kind.
pub(crate) fn planned_count(counts: &mut RunCounts, kind: ChangeKind) -> &mut u64 {
    match kind {
        ChangeKind::Create => &mut counts.created,
        ChangeKind::Link => &mut counts.linked,
        ChangeKind::Update => &mut counts.updated,
        ChangeKind::Reactivate => &mut counts.reactivated,
        ChangeKind::Deactivate => &mut counts.deactivated,
        ChangeKind::Archive => &mut counts.archived,
        ChangeKind::Transfer => &mut counts.transferred,
        ChangeKind::Relink => &mut counts.relinked,
    }
}
