//! The reader: one task looks up the targets of all logins of the process, with one query for all logins that wait.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rollcall_core::id::TenantId;

use crate::db::batcher::{Answer, BatchHandler, Batcher};
use crate::db::bulk::{Bulk, Column, Type};
use crate::db::database::Database;
use crate::db::dedicated_connection::{DedicatedConnection, Purpose};
use crate::db::engine::Engine;
use crate::db::query::{Statement, text};
use crate::db::row::FromRow;
use crate::error::Result;
use crate::login::target::LoginTarget;
use crate::login::target_rows::{JOINS, LAST_LOGIN, SWITCHES, TargetRow};
use crate::tables::columns;
use crate::tables::user::Entity;

/// A login or e-mail address to look up.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Wanted {
    pub(super) scope: String,
    pub(super) tenant: TenantId,
    /// Normalised.
    pub(super) identifier: String,
}

/// Looks up the targets of all logins of the process.
pub(super) struct LoginReader {
    batcher: Batcher<Job>,
}

struct Job {
    wanted: Wanted,
    answer: Answer<Option<LoginTarget>>,
}

struct Queries {
    connection: DedicatedConnection,
}

impl LoginReader {
    pub(super) fn start(database: Arc<Database>) -> Self {
        let connection = DedicatedConnection::new(database, Purpose::Reading);
        Self {
            batcher: Batcher::start(Queries { connection }),
        }
    }

    pub(super) async fn target(&self, wanted: Wanted) -> Result<Option<LoginTarget>> {
        self.batcher.submit(|answer| Job { wanted, answer }).await
    }

    pub(super) async fn end(&self) {
        self.batcher.end().await;
    }
}

impl BatchHandler for Queries {
    type Job = Job;
    type Outcome = Option<LoginTarget>;

    async fn carry_out(&mut self, jobs: &[Job]) -> Result<Vec<Option<LoginTarget>>> {
        let wanted = jobs.iter().map(|job| &job.wanted);
        let script = [query(wanted, self.connection.engine())];
        let found = self.connection.send_first(&script).await?;
        let mut targets = HashMap::with_capacity(jobs.len());
        for row in found.iter().flatten() {
            let row = TargetRow::from_row(row)?;
            let identifier = row.switches.identifier.clone();
            let target = row.into_domain()?;
            targets.insert((target.user.tenant.clone(), identifier), target);
        }
        let target = |job: &Job| targets.get(&(job.wanted.tenant.clone(), job.wanted.identifier.clone()));
        Ok(jobs.iter().map(|job| target(job).cloned()).collect())
    }

    fn answer(job: Job, outcome: Result<Option<LoginTarget>>) {
        // A caller that went away gets no answer.
        let _ = job.answer.send(outcome);
    }
}

fn query<'w>(wanted: impl Iterator<Item = &'w Wanted>, engine: Engine) -> Statement {
    let mut bulk = Bulk::new([
        Column::new("scope", Type::Text),
        Column::new("tenant", Type::Text),
        Column::new("identifier", Type::Text),
    ]);
    for wanted in wanted.collect::<HashSet<_>>() {
        bulk.push([
            wanted.scope.as_str().into(),
            wanted.tenant.as_str().into(),
            text(&wanted.identifier),
        ]);
    }
    let (source, values) = bulk.source(engine, 1);
    let sql = format!(
        "SELECT {columns}, i.identifier, {SWITCHES}
        FROM {source} {identifiers} {users} {JOINS} {LAST_LOGIN}",
        columns = columns::<Entity>("u"),
        identifiers = engine.look_up(
            "user_identifiers",
            "i",
            "i.scope = input.scope AND i.identifier = input.identifier AND i.tenant = input.tenant"
        ),
        users = engine.look_up("users", "u", "u.tenant = i.tenant AND u.id = i.user_id"),
    );
    (sql, values)
}
