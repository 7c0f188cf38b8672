//! Texts that may name a person who is erased.

use rollcall_core::audit::{Actor, Decision};
use rollcall_core::check::CheckReport;
use rollcall_core::erasure::{Eraser, LEFT_OUT};
use rollcall_core::id::{TenantId, Uuid};
use rollcall_core::issue::Health;
use rollcall_core::user::User;
use sea_orm::{FromQueryResult, Value};
use serde_json::Value as Json;

use super::events::{self, PAGE};
use crate::db::database::Database;
use crate::db::query::{execute, rows};
use crate::error::Result;
use crate::outbox::NewMail;
use crate::runs::issues;
use crate::tables::columns;
use crate::tables::json::{JsonColumn, unreadable};
use crate::tables::user::{Entity, Model};
use crate::users::write::lock_users;

/// Takes people out of the texts of a tenant. Only issues of runs that began before `until` are changed.
pub(super) async fn clear(database: &Database, tenant: &TenantId, until: i64, eraser: &Eraser) -> Result<()> {
    of_issues(database, tenant, until, eraser).await?;
    of_runs(database, tenant, eraser).await?;
    of_user_syncs(database, tenant, eraser).await?;
    of_checks(database, tenant, eraser).await?;
    of_reviews(database, tenant, eraser).await?;
    of_mails(database, tenant, eraser).await?;
    of_askers(database, tenant, eraser).await?;
    events::asked_by(database, tenant, eraser).await
}

#[derive(FromQueryResult)]
struct IssueRow {
    user_sync: String,
    run: Uuid,
    issue: i64,
    kind: String,
    details: String,
}

async fn of_issues(database: &Database, tenant: &TenantId, until: i64, eraser: &Eraser) -> Result<()> {
    let page = format!(
        "SELECT i.user_sync, i.run, i.issue, i.kind, i.details FROM sync_run_issues i
        JOIN sync_runs r ON r.tenant = i.tenant AND r.user_sync = i.user_sync AND r.id = i.run AND r.create_time <= $2
        WHERE i.tenant = $1 AND (i.user_sync, i.run, i.issue) > ($3, $4, $5)
        ORDER BY i.user_sync, i.run, i.issue LIMIT {PAGE}"
    );
    let mut last = (String::new(), Uuid::nil(), -1_i64);
    loop {
        let values = vec![
            tenant.as_str().into(),
            until.into(),
            last.0.as_str().into(),
            last.1.into(),
            last.2.into(),
        ];
        let found: Vec<IssueRow> = rows(&database.reader, &page, values).await?;
        let mut writes: Vec<Vec<Value>> = Vec::new();
        for row in &found {
            let issue = issues::read(&row.kind, &row.details)?;
            if let Some(left) = eraser.issue(&issue) {
                let details = issues::details(&left)?;
                writes.push(vec![
                    tenant.as_str().into(),
                    row.user_sync.as_str().into(),
                    row.run.into(),
                    row.issue.into(),
                    details.into(),
                ]);
            }
        }
        let sql = "UPDATE sync_run_issues SET details = $5
            WHERE tenant = $1 AND user_sync = $2 AND run = $3 AND issue = $4";
        write_all(database, sql, writes).await?;
        let Some(end) = found.into_iter().last() else {
            return Ok(());
        };
        last = (end.user_sync, end.run, end.issue);
    }
}

#[derive(FromQueryResult)]
struct RunRow {
    user_sync: String,
    id: Uuid,
    failure: Option<String>,
    actor: Option<String>,
    released_by: Option<String>,
    cancelled_by: Option<String>,
}

async fn of_runs(database: &Database, tenant: &TenantId, eraser: &Eraser) -> Result<()> {
    let sql = "SELECT user_sync, id, failure, actor, released_by, cancelled_by FROM sync_runs WHERE tenant = $1
        AND (failure IS NOT NULL OR actor IS NOT NULL OR released_by IS NOT NULL OR cancelled_by IS NOT NULL)";
    let found: Vec<RunRow> = rows(&database.reader, sql, vec![tenant.as_str().into()]).await?;
    for row in found {
        let failure = row.failure.as_deref().and_then(|failure| eraser.text(failure));
        let columns = [
            ("failure", failure),
            ("actor", actor(row.actor.as_deref(), eraser)?),
            ("released_by", decision(row.released_by.as_deref(), eraser)?),
            ("cancelled_by", decision(row.cancelled_by.as_deref(), eraser)?),
        ];
        for (column, left) in columns {
            let Some(left) = left else { continue };
            // Updates the one column, not the row: a worker may have the run.
            let sql = format!(
                "UPDATE sync_runs SET {column} = $4 WHERE tenant = $1 AND user_sync = $2 AND id = $3"
            );
            let values = vec![
                tenant.as_str().into(),
                row.user_sync.as_str().into(),
                row.id.into(),
                left.into(),
            ];
            database.write(&sql, values).await?;
        }
    }
    Ok(())
}

#[derive(FromQueryResult)]
struct Text {
    key: String,
    text: String,
}

async fn of_user_syncs(database: &Database, tenant: &TenantId, eraser: &Eraser) -> Result<()> {
    let sql = "SELECT id AS key, health AS text FROM user_syncs WHERE tenant = $1";
    let found: Vec<Text> = rows(&database.reader, sql, vec![tenant.as_str().into()]).await?;
    for Text { key, text } in found {
        let mut health = Health::from_json(&text)?;
        if replace(health.problems.iter_mut(), eraser) {
            let sql = "UPDATE user_syncs SET health = $3 WHERE tenant = $1 AND id = $2 AND health = $4";
            let values = vec![
                tenant.as_str().into(),
                key.into(),
                health.to_json()?.into(),
                text.into(),
            ];
            database.write(sql, values).await?;
        }
    }
    Ok(())
}

async fn of_checks(database: &Database, tenant: &TenantId, eraser: &Eraser) -> Result<()> {
    let sql = "SELECT subject AS key, report AS text FROM check_results WHERE tenant = $1";
    let found: Vec<Text> = rows(&database.reader, sql, vec![tenant.as_str().into()]).await?;
    for Text { key, text } in found {
        let mut report = CheckReport::from_json(&text)?;
        let stages = report.stages.iter_mut();
        let texts = stages.flat_map(|stage| [&mut stage.message, &mut stage.hint]);
        if replace(texts, eraser) {
            let sql =
                "UPDATE check_results SET report = $3 WHERE tenant = $1 AND subject = $2 AND report = $4";
            let values = vec![
                tenant.as_str().into(),
                key.into(),
                report.to_json()?.into(),
                text.into(),
            ];
            database.write(sql, values).await?;
        }
    }
    Ok(())
}

#[derive(FromQueryResult)]
struct ReviewRow {
    position: i64,
    reviewer: String,
    actor: Option<String>,
    seen: String,
}

async fn of_reviews(database: &Database, tenant: &TenantId, eraser: &Eraser) -> Result<()> {
    let sql = "SELECT position, reviewer, actor, seen FROM security_reviews WHERE tenant = $1";
    let found: Vec<ReviewRow> = rows(&database.reader, sql, vec![tenant.as_str().into()]).await?;
    for row in found {
        let named = Actor {
            name: row.reviewer,
            ..Actor::default()
        };
        let reviewer = eraser.actor(&named).map(|reviewer| reviewer.name);
        let columns = [
            ("reviewer", reviewer),
            ("actor", actor(row.actor.as_deref(), eraser)?),
            ("seen", seen(&row.seen, eraser)?),
        ];
        for (column, left) in columns {
            let Some(left) = left else { continue };
            let sql = format!("UPDATE security_reviews SET {column} = $2 WHERE position = $1");
            database
                .write(&sql, vec![row.position.into(), left.into()])
                .await?;
        }
    }
    Ok(())
}

/// A review's text without the people: what somebody wrote, and what was found, as the worker's JSON.
fn seen(text: &str, eraser: &Eraser) -> Result<Option<String>> {
    let Ok(mut seen) = serde_json::from_str::<Json>(text) else {
        return Ok(eraser.text(text));
    };
    let mut changed = redact(seen.get_mut("note"), eraser);
    let findings = seen.get_mut("findings").and_then(Json::as_array_mut);
    for finding in findings.into_iter().flatten() {
        changed |= redact(finding.get_mut("message"), eraser);
        changed |= redact(finding.get_mut("hint"), eraser);
    }
    changed
        .then(|| serde_json::to_string(&seen).map_err(unreadable))
        .transpose()
}

fn redact(value: Option<&mut Json>, eraser: &Eraser) -> bool {
    let Some(Json::String(text)) = value else {
        return false;
    };
    replace([text], eraser)
}

#[derive(FromQueryResult)]
struct MailRow {
    position: i64,
    message: String,
}

/// Reports that wait to be sent. A report to the person is not sent; a report that names the person loses that part.
async fn of_mails(database: &Database, tenant: &TenantId, eraser: &Eraser) -> Result<()> {
    let page = format!(
        "SELECT position, message FROM mail_outbox WHERE tenant = $1 AND position > $2 ORDER BY position LIMIT {PAGE}"
    );
    let mut last = 0_i64;
    loop {
        let values = vec![tenant.as_str().into(), last.into()];
        let found: Vec<MailRow> = rows(&database.reader, &page, values).await?;
        let Some(end) = found.last() else {
            return Ok(());
        };
        last = end.position;
        for MailRow { position, message } in found {
            let mut mail: NewMail = serde_json::from_str(&message).map_err(unreadable)?;
            if mail.to.iter().any(|to| eraser.named_in(to).is_some()) {
                let sql = "DELETE FROM mail_outbox WHERE position = $1";
                database.write(sql, vec![position.into()]).await?;
                continue;
            }
            let parts = [
                (eraser.text(&mail.subject), &mut mail.subject),
                (eraser.report_text(&mail.text), &mut mail.text),
                (eraser.report_html(&mail.html), &mut mail.html),
            ];
            let mut changed = false;
            for (left, part) in parts {
                if let Some(left) = left {
                    *part = left;
                    changed = true;
                }
            }
            if changed {
                let sql = "UPDATE mail_outbox SET message = $2 WHERE position = $1";
                let message = serde_json::to_string(&mail).map_err(unreadable)?;
                database.write(sql, vec![position.into(), message.into()]).await?;
            }
        }
    }
}

/// Users whose logins were ambiguous because the person's entry asked for them. The note of that entry goes; the next
/// run finds out whether the login is still ambiguous.
async fn of_askers(database: &Database, tenant: &TenantId, eraser: &Eraser) -> Result<()> {
    let sql = format!(
        "SELECT {} FROM users u WHERE tenant = $1 AND details LIKE '%\"login_asked_by\"%'",
        columns::<Entity>("u")
    );
    let found: Vec<Model> = rows(&database.reader, &sql, vec![tenant.as_str().into()]).await?;
    for model in found {
        let user = model.into_domain()?;
        let is_theirs = |user: &User| {
            user.login_asked_by
                .as_ref()
                .is_some_and(|asker| eraser.is_entry_of(asker))
        };
        if !is_theirs(&user) {
            continue;
        }
        let tx = database.begin().await?;
        let Some(model) = lock_users(&tx, tenant, [user.id]).await?.into_iter().next() else {
            continue;
        };
        let fingerprint = model.fingerprint.clone();
        let mut user = model.into_domain()?;
        if is_theirs(&user) {
            user.login_asked_by = None;
            // The change concerns nothing that is told about the user, so the revision stays.
            let sql = "UPDATE users SET details = $3 WHERE tenant = $1 AND id = $2";
            let details = Model::of(&user, fingerprint)?.details;
            execute(
                &tx,
                sql,
                vec![tenant.as_str().into(), user.id.0.into(), details.into()],
            )
            .await?;
            tx.commit().await?;
        }
    }
    Ok(())
}

fn actor(stored: Option<&str>, eraser: &Eraser) -> Result<Option<String>> {
    let Some(stored) = stored else { return Ok(None) };
    let left = eraser.actor(&Actor::from_json(stored)?);
    left.map(|left| left.to_json()).transpose()
}

fn decision(stored: Option<&str>, eraser: &Eraser) -> Result<Option<String>> {
    let Some(stored) = stored else { return Ok(None) };
    let decision = Decision::from_json(stored)?;
    let left = eraser.asked_by(&decision.by);
    let time = decision.time;
    left.map(|by| Decision { by, time }.to_json()).transpose()
}

/// Replaces the texts that name somebody; true if one did.
fn replace<'t>(texts: impl IntoIterator<Item = &'t mut String>, eraser: &Eraser) -> bool {
    let mut changed = false;
    for text in texts {
        if eraser.named_in(text).is_some() {
            LEFT_OUT.clone_into(text);
            changed = true;
        }
    }
    changed
}

async fn write_all(database: &Database, sql: &str, writes: Vec<Vec<Value>>) -> Result<()> {
    if writes.is_empty() {
        return Ok(());
    }
    let tx = database.begin().await?;
    for values in writes {
        execute(&tx, sql, values).await?;
    }
    tx.commit().await?;
    Ok(())
}
