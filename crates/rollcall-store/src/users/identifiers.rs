//! Logins and e-mail addresses: they share one space, and this file says who has which.

use std::collections::{BTreeSet, HashMap};

use rollcall_core::id::{TenantId, UserId, Uuid};
use rollcall_core::identifier::{Holder, email_domain};
use sea_orm::{ConnectionTrait, FromQueryResult};

use crate::db::bulk::{Bulk, Column, Type};
use crate::db::engine::Engine;
use crate::db::query::{column, execute, rows};
use crate::error::Result;
use crate::store::Store;

#[derive(FromQueryResult)]
struct Row {
    identifier: String,
    tenant: String,
    user_id: Uuid,
}

impl Store {
    /// Who has these identifiers, which must be normalised. Free ones are not in the answer. Somebody of another tenant
    /// is never named. Where identifiers are unique in the whole deployment, addresses of a verified domain are kept
    /// for the users of its tenant, and for those who had one before the domain was verified.
    pub async fn identifier_holders(
        &self,
        tenant: &TenantId,
        keys: &[String],
    ) -> Result<HashMap<String, Holder>> {
        holders(&self.inner.database.reader, self.scope(tenant), tenant, keys).await
    }
}

/// The same as [`Store::identifier_holders`], within a transaction.
pub(crate) async fn holders(
    connection: &impl ConnectionTrait,
    scope: &str,
    tenant: &TenantId,
    keys: &[String],
) -> Result<HashMap<String, Holder>> {
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let mut bulk = Bulk::new([Column::new("identifier", Type::Text)]);
    keys.iter().for_each(|key| bulk.push([key.as_str().into()]));
    let engine = Engine::of(connection);
    let (source, cells) = bulk.source(engine, 2);
    let sql = format!(
        "SELECT i.identifier, i.tenant, i.user_id FROM {source} {look_up}",
        look_up = engine.look_up(
            "user_identifiers",
            "i",
            "i.scope = $1 AND i.identifier = input.identifier"
        )
    );
    let mut values = vec![scope.into()];
    values.extend(cells);
    let found: Vec<Row> = rows(connection, &sql, values).await?;
    let holder = |row: &Row| match row.tenant == tenant.as_str() {
        true => Holder::User(UserId(row.user_id)),
        false => Holder::Foreign,
    };
    let mut holders: HashMap<String, Holder> = found
        .into_iter()
        .map(|row| {
            let holder = holder(&row);
            (row.identifier, holder)
        })
        .collect();
    if scope.is_empty() {
        for key in reserved(connection, tenant, keys).await? {
            holders.entry(key).or_insert(Holder::Foreign);
        }
    }
    Ok(holders)
}

/// The identifiers among these that are addresses of domains verified for other tenants.
async fn reserved(
    connection: &impl ConnectionTrait,
    tenant: &TenantId,
    keys: &[String],
) -> Result<Vec<String>> {
    let domains: BTreeSet<String> = keys.iter().filter_map(|key| email_domain(key)).collect();
    if domains.is_empty() {
        return Ok(Vec::new());
    }
    let mut bulk = Bulk::new([Column::new("domain", Type::Text)]);
    domains
        .iter()
        .for_each(|domain| bulk.push([domain.as_str().into()]));
    let engine = Engine::of(connection);
    let (source, cells) = bulk.source(engine, 2);
    let others = engine.look_up(
        "tenant_domains",
        "d",
        "d.domain = input.domain AND d.tenant <> $1",
    );
    let sql = format!("SELECT d.domain FROM {source} {others}");
    let mut values = vec![tenant.as_str().into()];
    values.extend(cells);
    let taken: Vec<String> = column(connection, &sql, values).await?;
    let is_taken = |key: &&String| email_domain(key).is_some_and(|domain| taken.contains(&domain));
    Ok(keys.iter().filter(is_taken).cloned().collect())
}

/// Releases identifiers of these users, whose rows are locked.
pub(crate) async fn release(
    tx: &impl ConnectionTrait,
    scope: &str,
    tenant: &TenantId,
    keys: Vec<(String, UserId)>,
) -> Result<()> {
    let mut bulk = Bulk::new([
        Column::new("identifier", Type::Text),
        Column::new("user_id", Type::Uuid),
    ]);
    for (key, user) in keys {
        bulk.push([key.into(), user.0.into()]);
    }
    if bulk.is_empty() {
        return Ok(());
    }
    let engine = Engine::of(tx);
    let (source, cells) = bulk.source(engine, 3);
    let is_theirs =
        "i.scope = $1 AND i.identifier = input.identifier AND i.tenant = $2 AND i.user_id = input.user_id";
    let sql = match engine {
        Engine::Sqlite => format!(
            "DELETE FROM user_identifiers WHERE rowid IN (SELECT i.rowid FROM {source} {look_up})",
            look_up = engine.look_up("user_identifiers", "i", is_theirs)
        ),
        // As in Engine::look_up. The users are locked, so the rows stay where they are found.
        Engine::Postgres => format!(
            "DELETE FROM user_identifiers WHERE ctid = ANY (ARRAY(SELECT i.ctid FROM {source}
                CROSS JOIN LATERAL (SELECT ctid FROM user_identifiers i WHERE {is_theirs} OFFSET 0) AS i))"
        ),
    };
    let mut values = vec![scope.into(), tenant.as_str().into()];
    values.extend(cells);
    execute(tx, &sql, values).await?;
    Ok(())
}

/// Claims identifiers, which must be free: `AlreadyExists` if one of them is not.
pub(crate) async fn claim(
    tx: &impl ConnectionTrait,
    scope: &str,
    tenant: &TenantId,
    mut keys: Vec<(String, UserId)>,
) -> Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    // In the same order everywhere, so that two transactions that claim the same keys do not wait for each other in a
    // circle.
    keys.sort();
    let mut bulk = Bulk::new([
        Column::new("identifier", Type::Text),
        Column::new("user_id", Type::Uuid),
    ]);
    for (key, user) in keys {
        bulk.push([key.into(), user.0.into()]);
    }
    let (source, cells) = bulk.source(Engine::of(tx), 3);
    let sql = format!(
        "INSERT INTO user_identifiers (scope, tenant, identifier, user_id)
        SELECT $1, $2, identifier, user_id FROM {source}"
    );
    let mut values = vec![scope.into(), tenant.as_str().into()];
    values.extend(cells);
    execute(tx, &sql, values).await?;
    Ok(())
}
