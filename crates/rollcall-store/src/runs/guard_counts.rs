//! What changed without a person's release, for the guard: by runs, and by refreshes at logins. It is counted by the
//! minute and in a table of its own, since events may be kept for a shorter time than the guard looks back.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use rollcall_core::guard::{Totals, WINDOW, Watched};
use rollcall_core::id::{TenantId, UserSyncId, UserSyncKey};
use rollcall_core::plan::Change;
use sea_orm::{ConnectionTrait, FromQueryResult};

use crate::db::bulk::{Bulk, Column, Type};
use crate::db::engine::Engine;
use crate::db::query::{execute, rows};
use crate::db::timestamp::to_micros;
use crate::error::Result;
use crate::store::Store;

const MICROS_A_MINUTE: i64 = 60_000_000;
/// The prefix of the name of a field that was lost.
const LOST: &str = "LOST:";

#[derive(FromQueryResult)]
struct Row {
    watched: String,
    count: i64,
}

impl Store {
    /// The changes of a sync's users since this time that no person released. What a person looked at and released does
    /// not count against later runs.
    pub async fn recent_changes(
        &self,
        tenant: &TenantId,
        user_sync: &UserSyncId,
        since: DateTime<Utc>,
    ) -> Result<Totals> {
        let sql = "SELECT watched, CAST(SUM(count) AS BIGINT) AS count FROM guard_counts
            WHERE tenant = $1 AND user_sync = $2 AND minute >= $3 GROUP BY watched";
        let values = vec![
            tenant.as_str().into(),
            user_sync.as_str().into(),
            minute(since).into(),
        ];
        let found: Vec<Row> = rows(&self.inner.database.reader, sql, values).await?;
        // Kinds that a newer release counts have no limit in this one.
        let known = found.into_iter().filter_map(|row| {
            let watched = watched(&row.watched)?;
            Some((watched, row.count.unsigned_abs()))
        });
        Ok(known.collect())
    }
}

/// Counts changes that are written in this transaction, each for the sync whose user it changes. New users are not
/// counted before the first Complete run: a first import is no growth.
pub(crate) async fn record<'c>(
    tx: &impl ConnectionTrait,
    key: &UserSyncKey,
    changes: impl IntoIterator<Item = &'c Change>,
    first: bool,
    now: DateTime<Utc>,
) -> Result<()> {
    let mut totals: BTreeMap<&UserSyncId, Totals> = BTreeMap::new();
    for change in changes {
        totals.entry(&change.origin.user_sync).or_default().add(change);
    }
    for (user_sync, totals) in totals {
        record_of(tx, (&key.tenant, user_sync), &totals, first, now).await?;
    }
    Ok(())
}

async fn record_of(
    tx: &impl ConnectionTrait,
    (tenant, user_sync): (&TenantId, &UserSyncId),
    totals: &Totals,
    first: bool,
    now: DateTime<Utc>,
) -> Result<()> {
    let mut bulk = Bulk::new([
        Column::new("watched", Type::Text),
        Column::new("count", Type::BigInt),
    ]);
    for (watched, count) in totals.counts() {
        if count > 0 && !(first && *watched == Watched::Growth) {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            bulk.push([label(watched).into(), count.into()]);
        }
    }
    if bulk.is_empty() {
        return Ok(());
    }
    let (source, cells) = bulk.source(Engine::of(tx), 4);
    let of_sync = || vec![tenant.as_str().into(), user_sync.as_str().into()];
    let sql = format!(
        "INSERT INTO guard_counts (tenant, user_sync, minute, watched, count)
        SELECT $1, $2, $3, watched, count FROM {source} WHERE true
        ON CONFLICT (tenant, user_sync, minute, watched) DO UPDATE SET count = guard_counts.count + excluded.count"
    );
    let mut values = of_sync();
    values.push(minute(now).into());
    values.extend(cells);
    execute(tx, &sql, values).await?;
    // One day longer than the guard looks back, in case a clock is a little behind.
    let old = "DELETE FROM guard_counts WHERE tenant = $1 AND user_sync = $2 AND minute < $3";
    let mut values = of_sync();
    values.push(minute(now - WINDOW - chrono::TimeDelta::days(1)).into());
    execute(tx, old, values).await?;
    Ok(())
}

fn minute(time: DateTime<Utc>) -> i64 {
    to_micros(time).div_euclid(MICROS_A_MINUTE)
}

fn label(watched: &Watched) -> String {
    let label = match watched {
        Watched::Removal => "REMOVAL",
        Watched::Role => "ROLE",
        Watched::Login => "LOGIN",
        Watched::Email => "EMAIL",
        Watched::Lost(field) => return format!("{LOST}{field}"),
        Watched::Return => "RETURN",
        Watched::Takeover => "TAKEOVER",
        Watched::Link => "LINK",
        Watched::Growth => "GROWTH",
        Watched::Relink => "RELINK",
    };
    label.to_owned()
}

fn watched(label: &str) -> Option<Watched> {
    Some(match label {
        "REMOVAL" => Watched::Removal,
        "ROLE" => Watched::Role,
        "LOGIN" => Watched::Login,
        "EMAIL" => Watched::Email,
        "RETURN" => Watched::Return,
        "TAKEOVER" => Watched::Takeover,
        "LINK" => Watched::Link,
        "GROWTH" => Watched::Growth,
        "RELINK" => Watched::Relink,
        _ => Watched::Lost(label.strip_prefix(LOST)?.to_owned()),
    })
}
