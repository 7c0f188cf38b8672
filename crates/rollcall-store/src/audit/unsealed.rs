//! Rows that were appended and are not sealed yet.

use rollcall_core::audit::{Actor, AuditCaller, AuditEvent, AuditKind};
use rollcall_core::id::TenantId;
use sea_orm::FromQueryResult;

use crate::db::timestamp::from_micros;
use crate::error::{Result, StoreError};
use crate::tables::json::JsonColumn;

/// Rows are looked for this far behind the newest that was sealed. A row that lies further behind, because its
/// transaction took so long, is found by the pass over all rows ([`crate::SealReach::All`]). Without this bound
/// PostgreSQL would, each time, step over every row that was moved since its last vacuum.
pub(crate) const REACH: i64 = 10_000;

/// The columns of [`UnsealedRow`].
pub(crate) const COLUMNS: &str = "id, time, tenant, caller, credential, actor, details, erased";

/// A row as it is stored.
#[derive(FromQueryResult)]
pub(crate) struct UnsealedRow {
    id: i64,
    time: i64,
    tenant: Option<String>,
    caller: String,
    credential: String,
    actor: Option<String>,
    details: String,
    erased: bool,
}

impl UnsealedRow {
    pub(crate) fn into_domain(self) -> Result<AuditEvent> {
        let tenant = self
            .tenant
            .map(|tenant| TenantId::parse(&tenant).ok_or(StoreError::corrupt("a stored id is malformed")))
            .transpose()?;
        Ok(AuditEvent {
            id: self.id,
            time: from_micros(self.time)?,
            tenant,
            caller: AuditCaller {
                name: self.caller,
                credential: self.credential,
            },
            actor: self
                .actor
                .as_deref()
                .map(Actor::from_json)
                .transpose()?
                .unwrap_or_default(),
            kind: AuditKind::from_json(&self.details)?,
            erased: self.erased,
        })
    }
}
