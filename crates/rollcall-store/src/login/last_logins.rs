//! When users last logged in, in a table of its own: no revision changes and no event is written, so that logins and
//! removals do not conflict with each other. The rule is [`rollcall_core::last_login`].

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use rollcall_core::id::{TenantId, UserId};
use rollcall_core::last_login::PRECISION;
use rollcall_core::user::UserState;
use sea_orm::FromQueryResult;
use uuid::Uuid;

use crate::db::bulk::{Bulk, Column, Type};
use crate::db::engine::Engine;
use crate::db::query::{Statement, rows};
use crate::db::timestamp::{from_micros, to_micros};
use crate::error::Result;
use crate::page::PageRequest;
use crate::store::Store;
use crate::users::read::{UserFilter, UserSource};

/// Users read at a time.
const IDLE_PAGE: u32 = 1_000;

/// Users who logged in, in the order in which their rows are locked.
pub(super) type Noted = BTreeMap<(TenantId, UserId), DateTime<Utc>>;

/// Notes these logins, if `condition` holds. If another replica has noted a login of the same hour meanwhile, that one
/// stays.
pub(super) fn note(noted: &Noted, condition: &str, engine: Engine, first: usize) -> Option<Statement> {
    let mut bulk = Bulk::new([
        Column::new("tenant", Type::Text),
        Column::new("user_id", Type::Uuid),
        Column::new("time", Type::BigInt),
    ]);
    for ((tenant, user), time) in noted {
        bulk.push([tenant.as_str().into(), user.0.into(), to_micros(*time).into()]);
    }
    if bulk.is_empty() {
        return None;
    }
    let names = bulk.names();
    let precision = PRECISION.num_microseconds().unwrap_or(i64::MAX);
    let (source, cells) = bulk.source(engine, first);
    let sql = format!(
        "INSERT INTO last_logins ({names}) SELECT {names} FROM {source} WHERE {condition}
        ON CONFLICT (tenant, user_id) DO UPDATE SET time = excluded.time
        WHERE last_logins.time <= excluded.time - {precision}"
    );
    Some((sql, cells))
}

impl Store {
    /// Active synced users with one of these roles who have been users since before `since` and have no noted login
    /// since then: the logins and roles of the first `limit` by login, and how many there are. Reads, page by page,
    /// only the tenant's users who did not log in.
    pub async fn idle_users(
        &self,
        tenant: &TenantId,
        roles: &[String],
        since: DateTime<Utc>,
        limit: usize,
    ) -> Result<(Vec<(String, String)>, u64)> {
        let filter = UserFilter {
            states: vec![UserState::Active],
            source: Some(UserSource::Synced),
            no_login_since: Some(since),
            ..UserFilter::default()
        };
        let (mut named, mut count) = (BTreeSet::new(), 0);
        let mut page = PageRequest::first(IDLE_PAGE);
        loop {
            let found = self.list_users(tenant, &filter, &page).await?;
            let idle = found.items.into_iter().filter(|user| user.create_time < since);
            for user in idle.filter(|user| roles.contains(&user.profile.role)) {
                count += 1;
                named.insert((user.profile.login, user.profile.role));
                if named.len() > limit {
                    named.pop_last();
                }
            }
            match found.next {
                Some(next) => page.after = Some(next),
                None => return Ok((named.into_iter().collect(), count)),
            }
        }
    }
}

#[derive(FromQueryResult)]
struct Row {
    user_id: Uuid,
    time: i64,
}

impl Store {
    /// When these users last logged in, without those who never did. A login that came less than [`PRECISION`] after
    /// the noted one is not included.
    pub async fn last_logins(
        &self,
        tenant: &TenantId,
        users: &[UserId],
    ) -> Result<HashMap<UserId, DateTime<Utc>>> {
        let mut bulk = Bulk::new([Column::new("user_id", Type::Uuid)]);
        users.iter().for_each(|user| bulk.push([user.0.into()]));
        if bulk.is_empty() {
            return Ok(HashMap::new());
        }
        let database = &self.inner.database;
        let (source, cells) = bulk.source(database.engine, 2);
        let sql = format!(
            "SELECT l.user_id, l.time FROM {source} {look_up}",
            look_up = database.engine.look_up(
                "last_logins",
                "l",
                "l.tenant = $1 AND l.user_id = input.user_id AND l.time > 0"
            )
        );
        let mut values = vec![tenant.as_str().into()];
        values.extend(cells);
        let found: Vec<Row> = rows(&database.reader, &sql, values).await?;
        let of_row = |row: Row| Ok((UserId(row.user_id), from_micros(row.time)?));
        found.into_iter().map(of_row).collect()
    }
}
