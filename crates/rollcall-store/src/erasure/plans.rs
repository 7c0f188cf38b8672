//! Plans of runs: a change of an erased person is taken out, so that it is not applied either.

use rollcall_core::erasure::{Eraser, Person};
use rollcall_core::id::{RunId, TenantId, UserSyncId, UserSyncKey, Uuid};
use rollcall_core::plan::Change;
use rollcall_core::run::RunCounts;
use sea_orm::FromQueryResult;

use crate::db::database::Database;
use crate::db::query::{row, scalar};
use crate::error::{Result, StoreError};
use crate::runs::apply::planned_count;
use crate::runs::plan::put_chunk;
use crate::tables::json::JsonColumn;
use crate::tables::json::plan::unpack;
use crate::tables::{self, sync_run};

#[derive(FromQueryResult)]
struct Row {
    user_sync: String,
    run: Uuid,
    chunk: i64,
    changes: Vec<u8>,
}

/// Takes people out of the plans of all runs that began before `until`, and learns from them how else the people were
/// called.
pub(super) async fn clear(
    database: &Database,
    tenant: &TenantId,
    until: i64,
    eraser: &Eraser,
    people: &mut [Person],
) -> Result<()> {
    let next = "SELECT c.user_sync, c.run, c.chunk, c.changes FROM sync_plan_chunks c
        JOIN sync_runs r ON r.tenant = c.tenant AND r.user_sync = c.user_sync AND r.id = c.run AND r.create_time <= $2
        WHERE c.tenant = $1 AND (c.user_sync, c.run, c.chunk) > ($3, $4, $5)
        ORDER BY c.user_sync, c.run, c.chunk LIMIT 1";
    let mut last = (String::new(), Uuid::nil(), i64::MIN);
    loop {
        let values = vec![
            tenant.as_str().into(),
            until.into(),
            last.0.as_str().into(),
            last.1.into(),
            last.2.into(),
        ];
        let Some(found) = row::<Row>(&database.reader, next, values).await? else {
            return Ok(());
        };
        if concerns(&found.changes, eraser)? {
            let user_sync =
                UserSyncId::parse(&found.user_sync).ok_or(StoreError::corrupt("a stored id is malformed"))?;
            let key = UserSyncKey {
                tenant: tenant.clone(),
                user_sync,
            };
            rewrite(database, &key, RunId(found.run), found.chunk, eraser, people).await?;
        }
        last = (found.user_sync, found.run, found.chunk);
    }
}

fn concerns(packed: &[u8], eraser: &Eraser) -> Result<bool> {
    let changes = unpack(packed)?;
    Ok(changes
        .iter()
        .any(|change| eraser.concerns(change) || asked_by_them(change, eraser)))
}

fn asked_by_them(change: &Change, eraser: &Eraser) -> bool {
    let asker = change.login_asked_by.as_ref();
    asker.is_some_and(|asker| eraser.is_entry_of(asker))
}

async fn rewrite(
    database: &Database,
    key: &UserSyncKey,
    run: RunId,
    chunk: i64,
    eraser: &Eraser,
    people: &mut [Person],
) -> Result<()> {
    let tx = database.begin().await?;
    let mut model = sync_run::lock(&tx, key, run).await?;
    let sql = "SELECT changes FROM sync_plan_chunks WHERE tenant = $1 AND user_sync = $2 AND run = $3 AND chunk = $4";
    let mut values = Vec::from(sync_run::primary_key(key, run));
    values.push(chunk.into());
    // The run began its pull anew and has discarded the chunk.
    let Some(packed) = scalar::<Vec<u8>>(&tx, sql, values).await? else {
        return Ok(());
    };
    let (theirs, mut kept): (Vec<Change>, Vec<Change>) = unpack(&packed)?
        .into_iter()
        .partition(|change| eraser.concerns(change));
    for change in &theirs {
        let of_user = |person: &&mut Person| {
            let entry = (change.origin.directory.clone(), change.origin.external_id.clone());
            person.user == change.user || person.entries.contains(&entry)
        };
        if let Some(person) = people.iter_mut().find(of_user) {
            person.learn_change(change);
        }
    }
    for change in &mut kept {
        if asked_by_them(change, eraser) {
            change.login_asked_by = None;
        }
    }
    put_chunk(&tx, key, run, chunk, &kept).await?;
    // A waiting run counts what it would do. A run that is applied, or being applied, counts what it did.
    if model.run_state()?.is_waiting() {
        let mut counts = RunCounts::from_json(&model.counts)?;
        for change in &theirs {
            let planned = planned_count(&mut counts, change.kind);
            *planned = planned.saturating_sub(1);
        }
        model.counts = counts.to_json()?;
        tables::update(&tx, model).await?;
    }
    tx.commit().await?;
    Ok(())
}
