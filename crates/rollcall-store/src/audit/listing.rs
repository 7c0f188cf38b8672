//! Lists of audit events, by time: the sealed ones, by an index for each filter, and the few that are not sealed yet.

use chrono::{DateTime, Utc};
use rollcall_core::audit::{About, AuditClass, AuditEvent, AuditFilter, AuditOrder, LoginOutcome};
use rollcall_core::id::TenantId;
use sea_orm::{FromQueryResult, Value};

use crate::audit::chain::{AuditRow, COLUMNS};
use crate::audit::payload::Payload;
use crate::audit::unsealed::{self, REACH, UnsealedRow};
use crate::db::query::{Statement, rows};
use crate::db::timestamp::to_micros;
use crate::error::Result;
use crate::page::{Page, PageRequest};
use crate::store::Store;
use crate::tables::labels::Label;

/// Most events that are shown before they are sealed. Sealing is seconds behind. After it has paused, older unsealed
/// events are shown only once they are sealed.
const MAX_UNSEALED: u32 = 1_000;

/// Where a list goes on: after the event of this time and number.
type Key = (i64, i64);

#[derive(FromQueryResult)]
struct Listed {
    #[sea_orm(nested)]
    row: AuditRow,
    #[sea_orm(nested)]
    payload: Payload,
}

impl Store {
    /// A tenant's audit events by their time. Without a tenant those of the whole deployment. Of those that are not sealed yet, the
    /// newest 1,000 are there too.
    ///
    /// # Errors
    /// `InvalidCursor`.
    pub async fn list_audit(
        &self,
        tenant: Option<&TenantId>,
        filter: &AuditFilter,
        page: &PageRequest,
    ) -> Result<Page<AuditEvent>> {
        let after: Option<Key> = page.key()?;
        let about = filter.about.as_ref().map(|about| &about.tenant);
        if tenant.is_some() && about.is_some_and(|about| tenant != Some(about)) {
            return Page::with_next(Vec::new(), None::<Key>);
        }
        // The name of a resource says which tenant it belongs to.
        let tenant = tenant.or(about);
        // Unsealed events are read first, so that an event that is sealed meanwhile is found at least once.
        let mut found = self.unsealed(tenant, filter, after).await?;
        let reading = self.inner.database.in_index_order().await?;
        for outcome in outcomes(filter) {
            let sealed = SealedQuery::new(self, tenant, filter, outcome, after);
            let (sql, values) = sealed.statement(page);
            let sealed: Vec<Listed> = rows(&reading, &sql, values).await?;
            for Listed { row, payload } in sealed {
                found.push(row.into_domain(payload)?);
            }
        }
        reading.commit().await?;
        found.sort_by_key(key);
        if filter.order == AuditOrder::NewestFirst {
            found.reverse();
        }
        found.dedup_by_key(|event| key(event));
        Page::cut(found, page, key, Ok)
    }

    async fn unsealed(
        &self,
        tenant: Option<&TenantId>,
        filter: &AuditFilter,
        after: Option<Key>,
    ) -> Result<Vec<AuditEvent>> {
        let (mut condition, mut values) = (String::new(), Vec::new());
        if let Some(tenant) = tenant {
            values.push(tenant.as_str().into());
            condition = format!(" AND tenant = $1 AND time >= {}", created("$1"));
        }
        let sql = format!(
            "SELECT {} FROM audit_unsealed
            WHERE id > (SELECT last_id - {REACH} FROM audit_ends WHERE name = 'head'){condition}
            ORDER BY id DESC LIMIT {MAX_UNSEALED}",
            unsealed::COLUMNS
        );
        let found: Vec<UnsealedRow> = rows(&self.inner.database.reader, &sql, values).await?;
        let events = found.into_iter().map(UnsealedRow::into_domain);
        let is_after = |event: &AuditEvent| match filter.order {
            AuditOrder::NewestFirst => after.is_none_or(|after| key(event) < after),
            AuditOrder::OldestFirst => after.is_none_or(|after| key(event) > after),
        };
        let mut events = events.collect::<Result<Vec<_>>>()?;
        events.retain(|event| is_after(event) && filter.matches(event));
        Ok(events)
    }
}

fn key(event: &AuditEvent) -> Key {
    (to_micros(event.time), event.id)
}

/// When the tenant was created: older events are those of a customer that had the same id before.
pub(crate) fn created(tenant: &str) -> String {
    format!("(SELECT COALESCE(MAX(create_time), 0) FROM tenants WHERE id = {tenant})")
}

/// Whether the filter is about one person, or about one resource by its name.
fn is_of_one(filter: &AuditFilter) -> bool {
    let by_name = filter.about.as_ref().is_some_and(|about| {
        about.subject.user.is_some() || about.is_deeper() || (about.subject.is_nothing() && !about.is_all())
    });
    filter.user.is_some() || by_name
}

/// Whether the filter asks for nothing but kind and time.
fn is_of_all(filter: &AuditFilter) -> bool {
    let of_all = AuditFilter {
        class: filter.class,
        from: filter.from,
        to: filter.to,
        order: filter.order,
        ..AuditFilter::default()
    };
    *filter == of_all
}

/// Each outcome is looked for by itself, since one index shows in order only those of one.
fn outcomes(filter: &AuditFilter) -> Vec<Option<LoginOutcome>> {
    match filter.outcomes.as_slice() {
        [] => vec![None],
        outcomes => outcomes.iter().copied().map(Some).collect(),
    }
}

/// The query for sealed events.
pub(crate) struct SealedQuery {
    from: String,
    time: &'static str,
    order: AuditOrder,
    conditions: Vec<String>,
    values: Vec<Value>,
}

impl SealedQuery {
    pub(crate) fn new(
        store: &Store,
        tenant: Option<&TenantId>,
        filter: &AuditFilter,
        outcome: Option<LoginOutcome>,
        after: Option<Key>,
    ) -> Self {
        // One actor or one address has few events, so no other index is better.
        let mut personal: Vec<(&str, &String)> = [
            ("p.actor", filter.actor.as_ref()),
            ("p.client_address", filter.client_address.as_ref()),
        ]
        .into_iter()
        .filter_map(|(column, wanted)| Some((column, wanted?)))
        .collect();
        let engine = store.inner.database.engine;
        let (from, time) = match personal.is_empty() {
            // By the index of the actor or the address.
            false => (
                format!(
                    "audit_payloads p {}",
                    engine.look_up("audit_events", "e", "e.position = p.position")
                ),
                "p.time, p.id",
            ),
            true => (
                "audit_events e LEFT JOIN audit_payloads p ON p.position = e.position".to_owned(),
                match tenant.is_none() && is_of_all(filter) {
                    true => "e.time + 0, e.id",
                    false => "e.time, e.id",
                },
            ),
        };
        let mut query = Self {
            from,
            time,
            order: filter.order,
            conditions: Vec::new(),
            values: Vec::new(),
        };
        let clock = query.time.split(',').next().unwrap_or_default();
        let succeeded = |text: &str| text == LoginOutcome::Authenticated.label();
        let failed = outcome.is_some_and(|outcome| !succeeded(outcome.label()))
            || filter.reason.as_ref().is_some_and(|reason| !succeeded(reason));
        if failed {
            // The condition is written as in the indexes of failures.
            query.state("e.outcome <> 'AUTHENTICATED'");
        }
        let subject = filter
            .about
            .as_ref()
            .filter(|about| !about.is_deeper() && !about.is_all());
        let user_sync = subject.and_then(|about| about.subject.user_sync.as_ref());
        let directory = subject.and_then(|about| about.subject.directory.as_ref());
        let mut narrow: Vec<(&str, String)> = [
            ("e.user_sync", user_sync.map(ToString::to_string)),
            ("e.directory", directory.map(ToString::to_string)),
            ("e.method", filter.method.clone()),
            ("e.reason", filter.reason.clone().filter(|_| failed)),
            (
                "e.outcome",
                outcome
                    .filter(|_| failed)
                    .map(|outcome| outcome.label().to_owned()),
            ),
            ("e.caller", filter.caller.clone()),
            ("e.reason", filter.reason.clone().filter(|_| !failed)),
            (
                "e.outcome",
                outcome
                    .filter(|_| !failed)
                    .map(|outcome| outcome.label().to_owned()),
            ),
        ]
        .into_iter()
        .filter_map(|(column, wanted)| Some((column, wanted?)))
        .collect();
        if let Some(tenant) = tenant {
            if !personal.is_empty() {
                let (column, wanted) = personal.remove(0);
                query.of_tenant(tenant, column, wanted);
                query.require("(e.tenant = $) IS TRUE", tenant.as_str());
            } else if is_of_one(filter) {
                // One person or one resource has few of a tenant's events, so no index of the whole tenant is better.
                query.require("(e.tenant = $) IS TRUE", tenant.as_str());
            } else if narrow.is_empty() || !failed && matches!(narrow[0].0, "e.reason" | "e.outcome") {
                query.require("e.tenant = $", tenant.as_str());
            } else {
                let (column, wanted) = narrow.remove(0);
                query.of_tenant(tenant, column, &wanted);
            }
            query.require(&format!("{clock} >= {}", created("$")), tenant.as_str());
        }
        for (column, wanted) in narrow {
            query.require(&format!("{column} = $"), wanted);
        }
        for (column, wanted) in personal {
            query.require(&format!("{column} = $"), wanted.as_str());
        }
        match filter.class {
            Some(AuditClass::Change) => query.state("e.method IS NOT NULL"),
            Some(AuditClass::Login) => query.state("e.method IS NULL"),
            None => {}
        }
        if let Some(user) = filter.user {
            query.require("e.user_id = $", user.0);
        }
        if let Some(about) = &filter.about {
            query.about(about);
        }
        let bounds: [(&str, Option<DateTime<Utc>>); 2] = [(">=", filter.from), ("<", filter.to)];
        for (comparison, bound) in bounds {
            if let Some(bound) = bound {
                query.require(&format!("{clock} {comparison} $"), to_micros(bound));
            }
        }
        if let Some((time, id)) = after {
            let comparison = match query.order {
                AuditOrder::NewestFirst => "<",
                AuditOrder::OldestFirst => ">",
            };
            query.values.extend([Value::from(time), Value::from(id)]);
            let last = query.values.len();
            query
                .conditions
                .push(format!("({}) {comparison} (${}, ${last})", query.time, last - 1));
        }
        query
    }

    pub(crate) fn statement(self, page: &PageRequest) -> Statement {
        let columns = COLUMNS.map(|column| format!("e.{column}")).join(", ");
        let direction = match self.order {
            AuditOrder::NewestFirst => "DESC",
            AuditOrder::OldestFirst => "ASC",
        };
        let conditions = match self.conditions.is_empty() {
            true => String::new(),
            false => format!(" WHERE {}", self.conditions.join(" AND ")),
        };
        let sql = format!(
            "SELECT {columns}, p.salt, p.payload FROM {}{conditions} ORDER BY {} {direction}{}",
            self.from,
            self.time.replace(',', &format!(" {direction},")),
            page.limit_sql()
        );
        (sql, self.values)
    }

    fn about(&mut self, about: &About) {
        let (subject, name) = (&about.subject, about.resource.as_str());
        if about.is_all() {
            return;
        }
        if about.is_deeper() || subject.is_nothing() {
            return self.require("e.method IS NOT NULL AND e.resource = $", name);
        }
        if let Some(user) = subject.user {
            self.require("e.user_id = $", user.0);
        }
        if !about.below {
            self.require("(e.method IS NULL OR e.resource = $)", name);
        }
    }

    fn state(&mut self, condition: &str) {
        self.conditions.push(condition.to_owned());
    }

    /// Adds a condition on a value; `$` in it stands for the value.
    fn require(&mut self, condition: &str, value: impl Into<Value>) {
        self.values.push(value.into());
        let place = format!("${}", self.values.len());
        self.conditions.push(condition.replace('$', &place));
    }

    /// Adds a condition on a column within one tenant, written as the tenant's index of the column has it.
    fn of_tenant(&mut self, tenant: &TenantId, column: &str, wanted: &str) {
        let (table, _) = column.split_once('.').unwrap_or_default();
        self.state(&format!("{column} IS NOT NULL"));
        self.require(
            &format!("{table}.tenant || '/' || {column} = $"),
            format!("{tenant}/{wanted}"),
        );
    }
}

#[cfg(test)]
mod tests;
