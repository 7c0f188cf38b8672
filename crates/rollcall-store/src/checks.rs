//! The last check of each directory and user sync.

use chrono::{DateTime, Utc};
use rollcall_core::check::CheckReport;
use rollcall_core::id::{DirectoryId, TenantId, UserSyncId};
use sea_orm::FromQueryResult;

use crate::db::query::{execute, row};
use crate::db::timestamp::{from_micros, to_micros};
use crate::error::Result;
use crate::store::Store;
use crate::tables;
use crate::tables::json::JsonColumn;

/// What was checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CheckSubject {
    /// A directory.
    Directory(DirectoryId),
    /// A user sync.
    UserSync(UserSyncId),
}

#[derive(FromQueryResult)]
struct Row {
    report: String,
    time: i64,
}

impl Store {
    /// Keeps a report as the subject's last.
    ///
    /// # Errors
    /// `NotFound` for the tenant.
    pub async fn save_check(
        &self,
        tenant: &TenantId,
        subject: &CheckSubject,
        report: &CheckReport,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let tx = self.inner.database.begin().await?;
        tables::tenant::require(&tx, tenant).await?;
        let sql = "INSERT INTO check_results (tenant, subject, report, time) VALUES ($1, $2, $3, $4)
            ON CONFLICT (tenant, subject) DO UPDATE SET report = excluded.report, time = excluded.time";
        let values = vec![
            tenant.as_str().into(),
            subject.key().into(),
            report.to_json()?.into(),
            to_micros(now).into(),
        ];
        execute(&tx, sql, values).await?;
        tx.commit().await?;
        Ok(())
    }

    /// When the subject was last checked, and what came out.
    pub async fn last_check(
        &self,
        tenant: &TenantId,
        subject: &CheckSubject,
    ) -> Result<Option<(DateTime<Utc>, CheckReport)>> {
        let sql = "SELECT report, time FROM check_results WHERE tenant = $1 AND subject = $2";
        let values = vec![tenant.as_str().into(), subject.key().into()];
        let found: Option<Row> = row(&self.inner.database.reader, sql, values).await?;
        found
            .map(|row| Ok((from_micros(row.time)?, CheckReport::from_json(&row.report)?)))
            .transpose()
    }
}

impl CheckSubject {
    fn key(&self) -> String {
        match self {
            CheckSubject::Directory(id) => format!("directories/{id}"),
            CheckSubject::UserSync(id) => format!("userSyncs/{id}"),
        }
    }
}
