//! Taking people who are erased out of a tenant's record. The rows stay as they are, and the chain still fits: only
//! payloads change. The row no longer backs what is left of a payload, and the salt is gone. The mark of the erasure
//! vouches for it instead.

use rollcall_core::audit::{AuditEvent, AuditKind, ValueChange};
use rollcall_core::erasure::{Eraser, Person};
use rollcall_core::id::{TenantId, UserId};
use rollcall_core::mac::MacKey;
use sea_orm::{ConnectionTrait, FromQueryResult, Value};

use crate::audit::actor_column;
use crate::audit::chain::{AuditRow, COLUMNS, erasure_mark};
use crate::audit::payload::{Payload, with_payload};
use crate::audit::unsealed::{self, UnsealedRow};
use crate::db::bulk::{Bulk, Column, Type};
use crate::db::database::Database;
use crate::db::engine::Engine;
use crate::db::query::{execute, rows};
use crate::error::Result;
use crate::purpose::Purpose;
use crate::store::Store;
use crate::tables::json::JsonColumn;
use crate::tables::json::audit::AuditPayload;

/// Rows that are looked at together.
const PAGE: u32 = 200;
/// Events of these methods keep who was erased, when, and by whom.
const ERASING: [&str; 2] = ["UserService.EraseUser", "TenantService.DeleteTenant"];

/// Where a payload lies, and which row it belongs to.
#[derive(FromQueryResult)]
struct Place {
    position: i64,
    id: i64,
    time: i64,
}

#[derive(FromQueryResult)]
struct Sealed {
    #[sea_orm(nested)]
    row: AuditRow,
    #[sea_orm(nested)]
    payload: Payload,
}

/// Takes people out: the personal data of events about them, and their names where they acted or somebody wrote about
/// them.
pub(crate) async fn forget(
    store: &Store,
    tenant: &TenantId,
    people: &[Person],
    eraser: &Eraser,
) -> Result<()> {
    let left = |event: &AuditEvent| left_of(event, people, eraser);
    // The unsealed events come first. The sealer locks the events that it moves, so afterwards they are found among the
    // sealed ones.
    in_unsealed(&store.inner.database, tenant, &left).await?;
    for person in people {
        in_sealed(store, tenant, Some(person.user), &left).await?;
    }
    in_sealed(store, tenant, None, &left).await
}

/// Takes out all people of a tenant that is deleted.
pub(crate) async fn forget_all(store: &Store, tenant: &TenantId) -> Result<()> {
    let database = &store.inner.database;
    let key = store.keys()?.of(Purpose::AuditRecord);
    let left = |event: &AuditEvent| (!erases(event)).then(AuditPayload::default);
    in_unsealed(database, tenant, &left).await?;
    in_sealed(store, tenant, None, &left).await?;
    // Of logins nothing stays, so they need not be looked at one by one.
    let sql = format!(
        "SELECT p.position, p.id, p.time FROM audit_events e JOIN audit_payloads p ON p.position = e.position
        WHERE e.tenant = $1 AND e.method IS NULL AND e.position > $2 AND length(p.salt) > 0
        ORDER BY e.position LIMIT {PAGE}"
    );
    let mut last = 0_i64;
    loop {
        let values = vec![tenant.as_str().into(), last.into()];
        let logins: Vec<Place> = rows(&database.writer, &sql, values).await?;
        let Some(end) = logins.last() else {
            return Ok(());
        };
        last = end.position;
        let tx = database.begin().await?;
        let emptied = logins.into_iter().map(|place| (place, AuditPayload::default()));
        replace(&tx, key, emptied.collect()).await?;
        tx.commit().await?;
        database.let_others_write().await;
    }
}

/// What is left of an event's payload; `None` if it stays as it is.
type Left<'a> = dyn Fn(&AuditEvent) -> Option<AuditPayload> + Send + Sync + 'a;

/// Events about a user, or changes.
async fn in_sealed(store: &Store, tenant: &TenantId, user: Option<UserId>, left: &Left<'_>) -> Result<()> {
    let database = &store.inner.database;
    let key = store.keys()?.of(Purpose::AuditRecord);
    let columns = COLUMNS.map(|column| format!("e.{column}")).join(", ");
    let condition = match user {
        Some(_) => "e.user_id = $4 AND (e.tenant = $1) IS TRUE",
        None => "e.tenant = $1 AND e.method IS NOT NULL",
    };
    // Two erasures at once may each take their own person out of the same event.
    let lock = database.engine.for_update_of("p");
    let sql = format!(
        "SELECT {columns}, p.salt, p.payload FROM audit_events e JOIN audit_payloads p ON p.position = e.position
        WHERE {condition} AND (e.time, e.id) > ($2, $3) ORDER BY e.time, e.id LIMIT {PAGE}{lock}"
    );
    let mut last = (i64::MIN, i64::MIN);
    loop {
        let mut values: Vec<Value> = vec![tenant.as_str().into(), last.0.into(), last.1.into()];
        values.extend(user.map(|user| Value::from(user.0)));
        let tx = database.begin().await?;
        let found: Vec<Sealed> = rows(&tx, &sql, values).await?;
        let Some(end) = found.last() else {
            return Ok(());
        };
        last = (end.row.time, end.row.id);
        let mut replaced = Vec::new();
        for Sealed { row, payload } in found {
            let AuditRow {
                position, id, time, ..
            } = row;
            let event = row.into_domain(payload)?;
            replaced.extend(left(&event).map(|left| (Place { position, id, time }, left)));
        }
        replace(&tx, key, replaced).await?;
        tx.commit().await?;
        database.let_others_write().await;
    }
}

/// Replaces payloads by what is left of them, with the mark that says so.
async fn replace(tx: &impl ConnectionTrait, key: &MacKey, left: Vec<(Place, AuditPayload)>) -> Result<()> {
    if left.is_empty() {
        return Ok(());
    }
    let mut bulk = Bulk::new([
        Column::new("position", Type::BigInt),
        Column::nullable("actor", Type::Text),
        Column::nullable("client_address", Type::Text),
        Column::new("erasure", Type::Bytes),
        Column::new("payload", Type::Text),
    ]);
    for (Place { position, id, time }, payload) in left {
        let text = payload.to_json()?;
        bulk.push([
            position.into(),
            payload.actor_name().into(),
            payload.address().into(),
            erasure_mark(key, [position, id, time], &text).to_vec().into(),
            text.into(),
        ]);
    }
    let (source, cells) = bulk.source(Engine::of(tx), 2);
    let sql = format!(
        "UPDATE audit_payloads SET payload = input.payload, actor = input.actor, client_address = input.client_address,
            erasure = input.erasure, salt = $1
        FROM {source} WHERE audit_payloads.position = input.position"
    );
    let mut values: Vec<Value> = vec![Vec::<u8>::new().into()];
    values.extend(cells);
    execute(tx, &sql, values).await?;
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
