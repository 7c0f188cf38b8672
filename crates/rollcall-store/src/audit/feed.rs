//! The feed of sealed events, by position. Gapless, since only what is committed gets a position.

use rollcall_core::audit::AuditEvent;
use rollcall_core::feed::Mark;
use rollcall_core::id::TenantId;
use sea_orm::FromQueryResult;

use crate::audit::chain::{AuditRow, COLUMNS, End};
use crate::audit::listing::created;
use crate::audit::payload::Payload;
use crate::audit::seal::NO_END;
use crate::db::query::{row, rows};
use crate::error::{Result, StoreError};
use crate::page::MAX_PAGE;
use crate::store::Store;

/// A part of the feed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuditFeed {
    /// Each event, and the place behind it.
    pub events: Vec<(AuditEvent, Mark)>,
    /// Where to go on: behind everything that was looked at, other tenants' events too.
    pub next: Mark,
    /// Whether more were there than were asked for.
    pub more: bool,
}

#[derive(FromQueryResult)]
struct Fed {
    #[sea_orm(nested)]
    row: AuditRow,
    #[sea_orm(nested)]
    payload: Payload,
}

#[derive(FromQueryResult)]
struct Place {
    position: i64,
    hash: Vec<u8>,
}

impl Store {
    /// Sealed events behind a place, at most `limit` and never more than [`MAX_PAGE`]: a tenant's, or those of the deployment.
    ///
    /// # Errors
    /// `CursorExpired` if events behind that place are not kept any more, or if it is a place of another record, as after a
    /// restore of the database: start anew at [`Store::audit_start`].
    pub async fn audit_feed(&self, tenant: Option<&TenantId>, after: Mark, limit: u32) -> Result<AuditFeed> {
        let limit = limit.clamp(1, MAX_PAGE) as usize;
        // The head is read before the events: what is sealed meanwhile belongs to the next part.
        let head = self.audit_mark("head").await?;
        let (mut condition, mut values) = (String::new(), vec![after.position.into(), head.position.into()]);
        if let Some(tenant) = tenant {
            values.push(tenant.as_str().into());
            condition = format!(" AND e.tenant = $3 AND e.time >= {}", created("$3"));
        }
        let columns = COLUMNS.map(|column| format!("e.{column}")).join(", ");
        let sql = format!(
            "SELECT {columns}, p.salt, p.payload FROM audit_events e LEFT JOIN audit_payloads p ON p.position = e.position
            WHERE e.position > $1 AND e.position <= $2{condition} ORDER BY e.position LIMIT {}",
            limit + 1
        );
        let mut found: Vec<Fed> = rows(&self.inner.database.reader, &sql, values).await?;
        // The place is checked after the events are read, so that a deletion by retention meanwhile is noticed.
        self.stands(after).await?;
        let more = found.len() > limit;
        found.truncate(limit);
        let mut events = Vec::with_capacity(found.len());
        for Fed { row, payload } in found {
            let mark = mark(row.position, &row.hash);
            events.push((row.into_domain(payload)?, mark));
        }
        let next = match events.last() {
            Some((_, last)) if more => *last,
            _ => head,
        };
        Ok(AuditFeed { events, next, more })
    }

    /// The place before the oldest event that is kept.
    pub async fn audit_start(&self) -> Result<Mark> {
        self.audit_mark("start").await
    }

    /// The place behind the newest event that is sealed.
    pub async fn audit_end(&self) -> Result<Mark> {
        self.audit_mark("head").await
    }

    async fn audit_mark(&self, end: &str) -> Result<Mark> {
        let sql = "SELECT position, hash, last_id, signature FROM audit_ends WHERE name = $1";
        let end: Option<End> = row(&self.inner.database.reader, sql, vec![end.into()]).await?;
        end.map(|end| mark(end.position, &end.hash)).ok_or(NO_END)
    }

    /// Makes sure that a place belongs to this record, and that all events behind it are kept.
    async fn stands(&self, at: Mark) -> Result<()> {
        let sql = "SELECT position, hash FROM audit_events WHERE position = $1
            UNION ALL SELECT position, hash FROM audit_ends WHERE name = 'start' AND position = $1";
        let place: Option<Place> = row(&self.inner.database.reader, sql, vec![at.position.into()]).await?;
        match place {
            Some(place) if mark(place.position, &place.hash) == at => Ok(()),
            _ => Err(StoreError::CursorExpired),
        }
    }
}

fn mark(position: i64, hash: &[u8]) -> Mark {
    // The place before the first event has no hash.
    let digest = hash.first_chunk().map_or(0, |bytes| i64::from_be_bytes(*bytes));
    Mark { position, digest }
}
