//! Security reviews: who looked, when, and at what.

use chrono::{DateTime, Utc};
use rollcall_core::audit::Actor;
use rollcall_core::id::TenantId;
use sea_orm::FromQueryResult;

use crate::audit::{self, NewAuditEvent, actor_column};
use crate::db::query::{rows, scalar, text};
use crate::db::timestamp::{from_micros, to_micros, to_stored};
use crate::error::{Result, StoreError};
use crate::page::{Page, PageRequest};
use crate::store::Store;
use crate::tables;
use crate::tables::json::JsonColumn;

/// A recorded security review.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SecurityReview {
    /// Position among the deployment's reviews.
    pub position: i64,
    /// Who looked.
    pub reviewer: String,
    /// For whom the service that recorded it says that it acted.
    pub actor: Actor,
    /// What was seen.
    pub seen: String,
    /// When.
    pub time: DateTime<Utc>,
}

#[derive(FromQueryResult)]
struct Row {
    position: i64,
    reviewer: String,
    actor: Option<String>,
    seen: String,
    time: i64,
}

impl Store {
    /// Records a review.
    ///
    /// # Errors
    /// `NotFound` for the tenant.
    pub async fn record_security_review(
        &self,
        tenant: &TenantId,
        reviewer: &str,
        seen: &str,
        record: &NewAuditEvent,
    ) -> Result<SecurityReview> {
        let now = record.time;
        let tx = self.inner.database.begin().await?;
        tables::tenant::require(&tx, tenant).await?;
        let sql =
            "INSERT INTO security_reviews (tenant, reviewer, seen, time, actor) VALUES ($1, $2, $3, $4, $5)
            RETURNING position";
        let values = vec![
            tenant.as_str().into(),
            text(reviewer),
            text(seen),
            to_micros(now).into(),
            actor_column(&record.actor)?.into(),
        ];
        let position: Option<i64> = scalar(&tx, sql, values).await?;
        audit::insert(&tx, std::iter::once(record)).await?;
        tx.commit().await?;
        Ok(SecurityReview {
            position: position.ok_or(StoreError::corrupt("an inserted row has no position"))?,
            reviewer: reviewer.to_owned(),
            actor: record.actor.clone(),
            seen: seen.to_owned(),
            time: to_stored(now),
        })
    }

    /// A tenant's reviews, the newest first.
    ///
    /// # Errors
    /// `InvalidCursor`.
    pub async fn list_security_reviews(
        &self,
        tenant: &TenantId,
        page: &PageRequest,
    ) -> Result<Page<SecurityReview>> {
        let before: i64 = page.key()?.unwrap_or(i64::MAX);
        let limit = page.limit_sql();
        let sql = format!(
            "SELECT position, reviewer, actor, seen, time FROM security_reviews
            WHERE tenant = $1 AND position < $2 ORDER BY position DESC{limit}"
        );
        let values = vec![tenant.as_str().into(), before.into()];
        let found: Vec<Row> = rows(&self.inner.database.reader, &sql, values).await?;
        Page::cut(
            found,
            page,
            |row| row.position,
            |row| {
                Ok(SecurityReview {
                    position: row.position,
                    reviewer: row.reviewer,
                    actor: row
                        .actor
                        .as_deref()
                        .map(Actor::from_json)
                        .transpose()?
                        .unwrap_or_default(),
                    seen: row.seen,
                    time: from_micros(row.time)?,
                })
            },
        )
    }
}
