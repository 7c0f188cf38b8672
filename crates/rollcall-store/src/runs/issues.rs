//! Issues of runs.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rollcall_core::dn::is_same_dn;
use rollcall_core::id::{RunId, UserId, UserSyncId, UserSyncKey};
use rollcall_core::issue::{Issue, IssueKind};
use rollcall_core::run::RunState;
use sea_orm::{ConnectionTrait, FromQueryResult};
use serde::{Deserialize, Serialize};

use crate::db::bulk::{Bulk, Column, Type};
use crate::db::engine::Engine;
use crate::db::query::{execute, rows};
use crate::error::Result;
use crate::page::{Page, PageRequest};
use crate::runs::handle::RunHandle;
use crate::store::Store;
use crate::tables;
use crate::tables::columns;
use crate::tables::json::{JsonColumn, unreadable};
use crate::tables::labels::Label;
use crate::tables::sync_run::{self, Model};
use crate::tables::user::{Entity, Model as UserModel};

#[derive(FromQueryResult)]
struct Row {
    issue: i64,
    kind: String,
    details: String,
}

/// What a directory wrote, as JSON.
#[derive(Serialize, Deserialize)]
struct Details {
    dn: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    attribute: Option<String>,
    value: Option<String>,
    message: String,
    #[serde(with = "crate::tables::json::optional_user_sync_id")]
    other_user_sync: Option<UserSyncId>,
    #[serde(
        with = "crate::tables::json::optional_user_id",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    other_user: Option<UserId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    other_dn: Option<String>,
}

impl Store {
    /// Adds issues to a run that is being worked on, and counts them.
    ///
    /// # Errors
    /// `LeaseLost`; `NotFound`; `NotInState`.
    pub async fn append_issues(&self, run: &RunHandle, issues: &[Issue]) -> Result<()> {
        let tx = self.inner.database.begin().await?;
        let mut model = run
            .lock_in_state(&tx, &[RunState::Pulling, RunState::Applying])
            .await?;
        append(&tx, &mut model, issues).await?;
        tables::update(&tx, model).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Counts further issues that are too many to keep.
    ///
    /// # Errors
    /// `LeaseLost`; `NotFound`; `NotInState`.
    pub async fn count_issues(&self, run: &RunHandle, more: &BTreeMap<IssueKind, u64>) -> Result<()> {
        let tx = self.inner.database.begin().await?;
        let mut model = run
            .lock_in_state(&tx, &[RunState::Pulling, RunState::Applying])
            .await?;
        let mut counts = BTreeMap::<IssueKind, u64>::from_json(&model.issue_counts)?;
        for (kind, count) in more {
            *counts.entry(*kind).or_default() += count;
        }
        model.issue_counts = counts.to_json()?;
        tables::update(&tx, model).await?;
        tx.commit().await?;
        Ok(())
    }

    /// The issues of a run in the order in which they were found, perhaps of one kind only.
    ///
    /// # Errors
    /// `InvalidCursor`.
    pub async fn list_issues(
        &self,
        key: &UserSyncKey,
        id: RunId,
        kind: Option<IssueKind>,
        page: &PageRequest,
    ) -> Result<Page<Issue>> {
        let after: i64 = page.key()?.unwrap_or(-1);
        let mut values = Vec::from(sync_run::primary_key(key, id));
        values.push(after.into());
        let filter = match kind {
            Some(kind) => {
                values.push(kind.label().into());
                " AND kind = $5"
            }
            None => "",
        };
        let limit = page.limit_sql();
        let sql = format!(
            "SELECT issue, kind, details FROM sync_run_issues
            WHERE tenant = $1 AND user_sync = $2 AND run = $3 AND issue > $4{filter} ORDER BY issue{limit}"
        );
        let found: Vec<Row> = rows(&self.inner.database.reader, &sql, values).await?;
        let mut page = Page::cut(found, page, |row| row.issue, Row::into_domain)?;
        self.name_others(key, &mut page.items).await?;
        Ok(page)
    }

    /// Looks up the DNs of the users whom issues of a user sync name by their ids. Those who are deleted or erased, or who are
    /// of another directory by now, have none; nor does one whose DN is the issue's own, since the user was renamed and that is
    /// not applied yet.
    async fn name_others(&self, key: &UserSyncKey, issues: &mut [Issue]) -> Result<()> {
        let others: BTreeSet<UserId> = issues.iter().filter_map(|issue| issue.other_user).collect();
        if others.is_empty() {
            return Ok(());
        }
        let mut bulk = Bulk::new([Column::new("id", Type::Uuid)]);
        others.into_iter().for_each(|id| bulk.push([id.0.into()]));
        let database = &self.inner.database;
        let (source, cells) = bulk.source(database.engine, 3);
        let sql = format!(
            "SELECT {columns} FROM {source} {look_up}
            JOIN user_syncs s ON s.tenant = u.tenant AND s.directory = u.directory WHERE s.id = $2",
            columns = columns::<Entity>("u"),
            look_up = database
                .engine
                .look_up("users", "u", "u.tenant = $1 AND u.id = input.id")
        );
        let mut values = vec![key.tenant.as_str().into(), key.user_sync.as_str().into()];
        values.extend(cells);
        let users: Vec<UserModel> = rows(&database.reader, &sql, values).await?;
        let mut dns: HashMap<UserId, String> = HashMap::with_capacity(users.len());
        for user in users {
            let user = user.into_domain()?;
            let dn = user.origin.map(|origin| origin.dn).filter(|dn| !dn.is_empty());
            dns.extend(dn.map(|dn| (user.id, dn)));
        }
        for issue in issues {
            if let Some(other) = issue.other_user {
                let dn = dns.get(&other).filter(|dn| !is_same_dn(dn, &issue.dn));
                issue.other_dn = dn.cloned();
            }
        }
        Ok(())
    }
}

/// Adds issues to a locked run, whose counts the caller saves.
pub(crate) async fn append(tx: &impl ConnectionTrait, run: &mut Model, issues: &[Issue]) -> Result<()> {
    if issues.is_empty() {
        return Ok(());
    }
    let mut counts = BTreeMap::<IssueKind, u64>::from_json(&run.issue_counts)?;
    let mut bulk = Bulk::new([
        Column::new("issue", Type::BigInt),
        Column::new("kind", Type::Text),
        Column::new("details", Type::Text),
    ]);
    for issue in issues {
        *counts.entry(issue.kind).or_default() += 1;
        let details = details(issue)?;
        bulk.push([run.issue_count.into(), issue.kind.label().into(), details.into()]);
        run.issue_count += 1;
    }
    run.issue_counts = counts.to_json()?;
    let names = bulk.names();
    let (source, cells) = bulk.source(Engine::of(tx), 4);
    let sql = format!(
        "INSERT INTO sync_run_issues (tenant, user_sync, run, {names}) SELECT $1, $2, $3, {names} FROM {source}"
    );
    let mut values = vec![
        run.tenant.as_str().into(),
        run.user_sync.as_str().into(),
        run.id.into(),
    ];
    values.extend(cells);
    execute(tx, &sql, values).await?;
    Ok(())
}

impl Row {
    fn into_domain(self) -> Result<Issue> {
        read(&self.kind, &self.details)
    }
}

/// An issue as it is stored, without its kind.
pub(crate) fn details(issue: &Issue) -> Result<String> {
    let Issue {
        kind: _,
        dn,
        field,
        attribute,
        value,
        message,
        other_user_sync,
        other_user,
        other_dn,
    } = issue.clone();
    let details = Details {
        dn,
        field,
        attribute,
        value,
        message,
        other_user_sync,
        other_user,
        other_dn: other_dn.filter(|_| other_user.is_none()),
    };
    serde_json::to_string(&details).map_err(unreadable)
}

/// The issue that is stored as this kind and these details.
pub(crate) fn read(kind: &str, details: &str) -> Result<Issue> {
    let details: Details = serde_json::from_str(details).map_err(unreadable)?;
    Ok(Issue {
        kind: IssueKind::from_label(kind)?,
        dn: details.dn,
        field: details.field,
        attribute: details.attribute,
        value: details.value,
        message: details.message,
        other_user_sync: details.other_user_sync,
        other_user: details.other_user,
        other_dn: details.other_dn,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rollcall_core::id::Uuid;

    use super::*;
    use crate::tables::json::golden::{current_plain, earlier_plain};

    #[test]
    fn details_are_read_as_releases_have_written_them() {
        current_plain::<Details>(
            r#"{"dn":"uid=ada","field":"email","attribute":"mail","value":"x","message":"is taken","other_user_sync":"other","other_dn":"uid=eve"}"#,
        );
        earlier_plain::<Details>(
            r#"{"dn":"uid=ada","attribute":null,"value":null,"message":"is taken","other_user_sync":null}"#,
        );
    }

    #[test]
    fn an_issue_keeps_the_id_of_another_user_and_not_the_dn() {
        let mut issue = Issue::new(IssueKind::LoginTaken, "uid=bob", "another user has it")
            .valued("ada")
            .beside("uid=ada");
        let row = r#"{"dn":"uid=bob","attribute":null,"value":"ada","message":"another user has it","other_user_sync":null,"other_dn":"uid=ada"}"#;
        assert_eq!(details(&issue).unwrap(), row, "an entry that is no user");
        assert_eq!(read("LOGIN_TAKEN", row).unwrap(), issue);

        issue.other_user = Some(UserId(Uuid::from_u128(1)));
        let row = r#"{"dn":"uid=bob","attribute":null,"value":"ada","message":"another user has it","other_user_sync":null,"other_user":"00000000-0000-0000-0000-000000000001"}"#;
        assert_eq!(details(&issue).unwrap(), row);
        issue.other_dn = None;
        assert_eq!(read("LOGIN_TAKEN", row).unwrap(), issue);
    }
}
