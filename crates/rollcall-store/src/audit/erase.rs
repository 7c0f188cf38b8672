//! Taking people who are erased out of a tenant's record. The rows stay as they are, and the chain still fits: only payloads go.
//! What is left of a payload is no longer backed by its row, and has no salt.

use rollcall_core::audit::{AuditEvent, AuditKind, ValueChange};
use rollcall_core::erasure::{Eraser, Person};
use rollcall_core::id::{TenantId, UserId};
use sea_orm::{ConnectionTrait, FromQueryResult, Value};

use crate::audit::actor_column;
use crate::audit::chain::{AuditRow, COLUMNS};
use crate::audit::payload::{Payload, with_payload};
use crate::audit::unsealed::{self, UnsealedRow};
use crate::db::database::Database;
use crate::db::query::{execute, rows};
use crate::error::Result;
use crate::tables::json::JsonColumn;
use crate::tables::json::audit::AuditPayload;

/// Rows that are looked at together.
const PAGE: u32 = 500;
/// That somebody was erased, when, and by whom, stays.
const ERASING: [&str; 2] = ["UserService.EraseUser", "TenantService.DeleteTenant"];

#[derive(FromQueryResult)]
struct Sealed {
    #[sea_orm(nested)]
    row: AuditRow,
    #[sea_orm(nested)]
    payload: Payload,
}

/// Takes people out: what is personal in events about them, and their names where they acted or somebody wrote about them.
pub(crate) async fn forget(
    database: &Database,
    tenant: &TenantId,
    people: &[Person],
    eraser: &Eraser,
) -> Result<()> {
    let left = |event: &AuditEvent| left_of(event, people, eraser);
    // First: whoever seals has a lock on what it moves, and then it is found among the sealed ones.
    in_unsealed(database, tenant, &left).await?;
    for person in people {
        in_sealed(database, tenant, Some(person.user), &left).await?;
    }
    in_sealed(database, tenant, None, &left).await
}

/// Takes out everybody of a tenant that is deleted.
pub(crate) async fn forget_all(database: &Database, tenant: &TenantId) -> Result<()> {
    let left = |event: &AuditEvent| (!erases(event)).then(AuditPayload::default);
    in_unsealed(database, tenant, &left).await?;
    in_sealed(database, tenant, None, &left).await?;
    // Of logins nothing stays, so nobody has to look at each.
    let sql = format!(
        "DELETE FROM audit_payloads WHERE position IN (
            SELECT p.position FROM audit_events e JOIN audit_payloads p ON p.position = e.position
            WHERE e.tenant = $1 AND e.method IS NULL AND e.position > $2 ORDER BY e.position LIMIT {PAGE})
        RETURNING position"
    );
    let mut last = 0_i64;
    loop {
        let tx = database.begin().await?;
        let values = vec![tenant.as_str().into(), last.into()];
        let gone: Vec<i64> = crate::db::query::column(&tx, &sql, values).await?;
        tx.commit().await?;
        let Some(end) = gone.into_iter().max() else {
            return Ok(());
        };
        last = end;
        database.pause_between_writes().await;
    }
}

/// What is left of an event's payload; `None` if it stays as it is.
type Left<'a> = dyn Fn(&AuditEvent) -> Option<AuditPayload> + Send + Sync + 'a;

/// Events about a user, or changes.
async fn in_sealed(
    database: &Database,
    tenant: &TenantId,
    user: Option<UserId>,
    left: &Left<'_>,
) -> Result<()> {
    let columns = COLUMNS.map(|column| format!("e.{column}")).join(", ");
    let condition = match user {
        Some(_) => "e.user_id = $4 AND (e.tenant = $1) IS TRUE",
        None => "e.tenant = $1 AND e.method IS NOT NULL",
    };
    let sql = format!(
        "SELECT {columns}, p.salt, p.payload FROM audit_events e JOIN audit_payloads p ON p.position = e.position
        WHERE {condition} AND (e.time, e.id) > ($2, $3) ORDER BY e.time, e.id LIMIT {PAGE}"
    );
    let mut last = (i64::MIN, i64::MIN);
    loop {
        let mut values: Vec<Value> = vec![tenant.as_str().into(), last.0.into(), last.1.into()];
        values.extend(user.map(|user| Value::from(user.0)));
        let found: Vec<Sealed> = rows(&database.writer, &sql, values).await?;
        let Some(end) = found.last() else {
            return Ok(());
        };
        last = (end.row.time, end.row.id);
        let tx = database.begin().await?;
        for Sealed { row, payload } in found {
            let position = row.position;
            let event = row.into_domain(payload)?;
            if let Some(left) = left(&event) {
                replace(&tx, position, &left).await?;
            }
        }
        tx.commit().await?;
        database.pause_between_writes().await;
    }
}

async fn replace(tx: &impl ConnectionTrait, position: i64, left: &AuditPayload) -> Result<()> {
    if left.is_empty() {
        let sql = "DELETE FROM audit_payloads WHERE position = $1";
        execute(tx, sql, vec![position.into()]).await?;
        return Ok(());
    }
    let sql = "UPDATE audit_payloads SET payload = $2, actor = $3, client_address = $4, salt = $5 WHERE position = $1";
    let values = vec![
        position.into(),
        left.to_json()?.into(),
        left.actor_name().into(),
        left.address().into(),
        Vec::<u8>::new().into(),
    ];
    execute(tx, sql, values).await?;
    Ok(())
}

async fn in_unsealed(database: &Database, tenant: &TenantId, left: &Left<'_>) -> Result<()> {
    let lock = database.engine.for_update();
    let sql = format!(
        "SELECT {} FROM audit_unsealed WHERE tenant = $1 ORDER BY id{lock}",
        unsealed::COLUMNS
    );
    let tx = database.begin().await?;
    let found: Vec<UnsealedRow> = rows(&tx, &sql, vec![tenant.as_str().into()]).await?;
    for row in found {
        let event = row.into_domain()?;
        if let Some(left) = left(&event) {
            let event = with_payload(event, left);
            let sql = "UPDATE audit_unsealed SET details = $2, actor = $3, erased = TRUE WHERE id = $1";
            let values = vec![
                event.id.into(),
                event.kind.to_json()?.into(),
                actor_column(&event.actor)?.into(),
            ];
            execute(&tx, sql, values).await?;
        }
    }
    tx.commit().await?;
    Ok(())
}

fn left_of(event: &AuditEvent, people: &[Person], eraser: &Eraser) -> Option<AuditPayload> {
    let user = event.kind.subject().user;
    let is_theirs = people.iter().any(|person| user == Some(person.user));
    if is_theirs && !erases(event) {
        return Some(AuditPayload::default());
    }
    let AuditKind::Change { changes, .. } = &event.kind else {
        return None;
    };
    let mut left = AuditPayload::of(event);
    let mut names_them = false;
    if let Some(actor) = eraser.actor(&event.actor) {
        left.actor = Some(actor);
        names_them = true;
    }
    for (change, kept) in changes.iter().zip(&mut left.changes) {
        let ValueChange::Shown { before, after } = &change.value else {
            continue;
        };
        let without = |value: &Option<String>| value.as_deref().and_then(|text| eraser.text(text));
        let (no_before, no_after) = (without(before), without(after));
        if no_before.is_some() || no_after.is_some() {
            kept.value = ValueChange::Shown {
                before: no_before.or(before.clone()),
                after: no_after.or(after.clone()),
            };
            names_them = true;
        }
    }
    names_them.then_some(left)
}

fn erases(event: &AuditEvent) -> bool {
    match &event.kind {
        AuditKind::Login { .. } => false,
        AuditKind::Change { method, .. } => ERASING.contains(&method.as_ref()),
    }
}
