//! What a run would do with the entries that a check has read. The run's own planner and guard say it, so that check and
//! run cannot differ. Nothing is written and no id is reserved.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use rollcall_core::entry::Entry;
use rollcall_core::error::Error;
use rollcall_core::guard::{self, GuardInput, HoldReason, Totals, Watched};
use rollcall_core::id::{TenantId, UserId, UserSyncId, Uuid};
use rollcall_core::issue::Issue;
use rollcall_core::judgement::EntryReading;
use rollcall_core::plan::{CHUNK_CHANGES, Change};
use rollcall_core::planner::{BatchFacts, KnownUsers, Meeting, Planner, ReadEntry};
use rollcall_core::reader::EntryReader;
use rollcall_core::role::RoleFinding;
use rollcall_core::user::UserState;
use rollcall_core::user_sync::{UserSync, UserSyncSettings};
use rollcall_store::Store;

use super::kept::Kept;
use super::role_rules::Roles;
use crate::run::lookups::absences::Nameless;
use crate::run::lookups::known::Asking;
use crate::run::lookups::others::Others;
use crate::run::lookups::shared_ids::Disputes;
use crate::run::{RunEngine, Source};

/// Users read from the store at a time.
const KNOWN_PAGE: u32 = 5_000;

/// What a run would do.
#[derive(Default)]
pub(in crate::checks) struct Forecast {
    /// The entries that were looked at.
    dns: HashSet<String>,
    /// There are more entries than were looked at.
    pub(in crate::checks) partial: bool,
    pub(in crate::checks) issues: Vec<Issue>,
    /// The changes, by the DN of their entries.
    changes: HashMap<String, Change>,
    /// Why the run would be held, whatever becomes of the absent users.
    pub(in crate::checks) holds: Vec<HoldReason>,
    /// Why it would also be held if the absent users have left.
    pub(in crate::checks) holds_if_left: Vec<HoldReason>,
    /// Users who could log in and were not found.
    pub(in crate::checks) absent: u64,
}

impl Forecast {
    /// How many entries were looked at.
    pub(in crate::checks) fn entries(&self) -> usize {
        self.dns.len()
    }

    /// The issues of an entry; `None` if it was not looked at.
    pub(in crate::checks) fn of(&self, dn: &str) -> Option<Vec<Issue>> {
        let issues = self.issues.iter().filter(|issue| issue.dn == dn);
        self.dns.contains(dn).then(|| issues.cloned().collect())
    }

    /// The change that the plan has for an entry.
    pub(in crate::checks) fn change(&self, dn: &str) -> Option<&Change> {
        self.changes.get(dn)
    }
}

/// What a forecast is based on.
pub(in crate::checks) struct Forecaster<'a> {
    pub(in crate::checks) store: &'a Store,
    pub(in crate::checks) tenant: &'a TenantId,
    /// The stored user sync that is tried, or that the draft would change.
    pub(in crate::checks) stored: Option<&'a UserSync>,
    pub(in crate::checks) settings: &'a UserSyncSettings,
    pub(in crate::checks) engine: &'a RunEngine,
    pub(in crate::checks) source: &'a Source,
    pub(in crate::checks) reader: &'a EntryReader,
    pub(in crate::checks) roles: &'a Roles,
    /// All searches were read to their end.
    pub(in crate::checks) complete: bool,
    pub(in crate::checks) now: DateTime<Utc>,
}

/// A plan that is kept in memory.
struct Draft<'a> {
    planner: Planner<'a>,
    pending: Vec<(EntryReading, Option<RoleFinding>)>,
    changes: Vec<Change>,
    issues: Vec<Issue>,
    /// The DNs of entries without a usable id: the users who are known by these DNs do not count as absent.
    nameless: Option<Nameless>,
    disputes: Disputes,
    others: Others<'a>,
    new_users: u128,
}

impl Draft<'_> {
    fn withdraw(&mut self, concerns: impl Fn(&Change) -> bool) -> Vec<Change> {
        let changes = std::mem::take(&mut self.changes);
        let (taken, left) = changes.into_iter().partition(concerns);
        self.changes = left;
        taken
    }
}

impl Forecaster<'_> {
    /// What a run would do that finds these entries. `known` are all users of the user sync.
    pub(in crate::checks) async fn forecast(&self, kept: Kept, known: KnownUsers) -> Result<Forecast, Error> {
        let nobody = UserSyncId::generate(Uuid::nil());
        let id = self.stored.map_or(&nobody, |sync| &sync.id);
        let asking = Asking {
            tenant: self.tenant,
            id,
            directory: &self.settings.directory,
        };
        let mut draft = Draft {
            planner: Planner::new(id, self.settings, known),
            pending: Vec::new(),
            changes: Vec::new(),
            issues: Vec::new(),
            nameless: None,
            disputes: Disputes::default(),
            others: self.engine.others(asking, self.source),
            new_users: 0,
        };
        for entry in &kept.entries {
            self.take(&mut draft, entry)?;
            if draft.pending.len() >= CHUNK_CHANGES {
                self.settle(&mut draft).await?;
            }
        }
        self.settle(&mut draft).await?;
        self.take_back_shared(&mut draft, asking).await?;
        self.take_back_contested(&mut draft).await?;
        let complete = self.complete && !kept.left_out;
        let absent = match complete {
            true => self.absent(&draft).await?,
            false => {
                draft.planner.had_gaps();
                0
            }
        };
        let ordered = draft.planner.finish();
        let own = |change: &Change| change.origin.user_sync == *id;
        draft
            .changes
            .extend(ordered.groups.into_iter().flatten().filter(own));
        draft.issues.extend(ordered.issues);
        let (holds, holds_if_left) = self.holds(&draft, absent).await?;
        Ok(Forecast {
            dns: kept.dns,
            partial: kept.left_out,
            issues: draft.issues,
            changes: draft
                .changes
                .into_iter()
                .map(|change| (change.origin.dn.clone(), change))
                .collect(),
            holds,
            holds_if_left,
            absent,
        })
    }

    /// All users of the user sync.
    pub(in crate::checks) async fn known_users(&self) -> Result<KnownUsers, Error> {
        let mut known = KnownUsers::default();
        let Some(sync) = self.stored else {
            return Ok(known);
        };
        let take = |user| known.extend([user]);
        self.store
            .read_known_users(self.tenant, &sync.id, KNOWN_PAGE, take)
            .await?;
        Ok(known)
    }

    fn take(&self, draft: &mut Draft<'_>, entry: &Entry) -> Result<(), Error> {
        if self.reader.not_a_person(entry).is_some() {
            return Ok(());
        }
        let id = match self.reader.external_id(entry) {
            Ok(id) => id,
            Err(issue) => {
                draft.nameless.get_or_insert_default().note(entry);
                draft.issues.push(*issue);
                return Ok(());
            }
        };
        let before = match draft.planner.meet(&id, &entry.dn) {
            Meeting::First(before) => before,
            Meeting::Again => return Ok(()),
            Meeting::Elsewhere => {
                let reading = self.reader.read(id, entry, self.now);
                return draft.disputes.note(reading).map(|_| ());
            }
        };
        let role = self.roles.known(&entry.dn);
        let reading = self.reader.read(id, entry, self.now);
        match role {
            Some(role) if draft.planner.is_unchanged(&reading, role, before) => {
                let issues = draft.planner.issues_of_unchanged(&reading);
                draft.issues.extend(issues.cloned());
            }
            role => draft.pending.push((reading, role.cloned())),
        }
        Ok(())
    }

    async fn settle(&self, draft: &mut Draft<'_>) -> Result<(), Error> {
        let pending = std::mem::take(&mut draft.pending);
        if pending.is_empty() {
            return Ok(());
        }
        let readings: Vec<&EntryReading> = pending.iter().map(|(reading, _)| reading).collect();
        let facts = draft.others.batch_facts(&readings).await?;
        let batch: Vec<ReadEntry> = pending
            .into_iter()
            .map(|(reading, role)| {
                let role = role.unwrap_or_else(|| self.assumed_role(&facts, &reading));
                (reading, role)
            })
            .collect();
        let new_users = &mut draft.new_users;
        // Ids from the upper end of the range, where no user's id is.
        let new_id = || {
            *new_users += 1;
            Uuid::from_u128(u128::MAX - *new_users)
        };
        let decisions = draft.planner.decide(batch, &facts, new_id);
        draft.changes.extend(decisions.changes);
        draft.issues.extend(decisions.issues);
        Ok(())
    }

    /// The role of an entry on which the rules were not tried: the user's present one, or the base role.
    fn assumed_role(&self, facts: &BatchFacts, reading: &EntryReading) -> RoleFinding {
        let present = facts.person(&reading.external_id).map(|user| &user.profile.role);
        RoleFinding::certain(present.unwrap_or(&self.settings.role))
    }

    /// Takes back the entries that share an id: which of them is the person is unknown. Only access that one of them
    /// takes away is lost.
    async fn take_back_shared(&self, draft: &mut Draft<'_>, asking: Asking<'_>) -> Result<(), Error> {
        let disputes = std::mem::take(&mut draft.disputes);
        let shared = disputes.shared(self.source, self.now).await;
        let ids = shared.ids();
        if ids.is_empty() {
            return Ok(());
        }
        let withdrawn = draft.withdraw(|change| ids.contains(&change.origin.external_id));
        let deactivations = shared
            .deactivations(&mut draft.planner, &withdrawn, self.store, asking)
            .await?;
        draft.changes.extend(deactivations);
        shared.replace(&mut draft.issues);
        Ok(())
    }

    async fn take_back_contested(&self, draft: &mut Draft<'_>) -> Result<(), Error> {
        let Some(contested) = draft.planner.contested() else {
            return Ok(());
        };
        let changes = draft.withdraw(|change| contested.concerns(change));
        let ids: Vec<UserId> = changes.iter().map(|change| change.user).collect();
        let mut users = Vec::with_capacity(ids.len());
        for batch in ids.chunks(CHUNK_CHANGES) {
            users.extend(self.store.batch_users(self.tenant, batch).await?);
        }
        draft.planner.rejoin(changes, users);
        Ok(())
    }

    /// How many users who could log in were not found. Users who are known by the DN of an entry without a usable id do
    /// not count.
    async fn absent(&self, draft: &Draft<'_>) -> Result<u64, Error> {
        let mut excused = 0;
        if let Some(nameless) = &draft.nameless {
            for batch in draft.planner.absent().chunks(CHUNK_CHANGES) {
                let users = self.store.batch_users(self.tenant, batch).await?;
                let users = users.iter().filter(|user| user.state == UserState::Active);
                let origins = users.filter_map(|user| user.origin.as_ref());
                excused += origins.filter(|origin| nameless.has(&origin.dn)).count() as u64;
            }
        }
        Ok(draft.planner.absent_active().saturating_sub(excused))
    }

    /// Why the plan would be held, and why it would be held if, besides, all absent users have left.
    async fn holds(
        &self,
        draft: &Draft<'_>,
        absent: u64,
    ) -> Result<(Vec<HoldReason>, Vec<HoldReason>), Error> {
        let recent = match self.stored {
            Some(sync) => {
                let since = self.now - guard::WINDOW;
                self.store.recent_changes(self.tenant, &sync.id, since).await?
            }
            None => Totals::default(),
        };
        let mut plan = Totals::default();
        draft.changes.iter().for_each(|change| plan.add(change));
        let is_applied = |sync: &UserSync| sync.last_complete_pull_time.is_some();
        let is_other =
            |sync: &UserSync| sync.configuration_changed() || sync.settings.changes_scope(self.settings);
        let judge = |plan: &Totals| {
            let input = GuardInput {
                active: draft.planner.active(),
                absent,
                plan,
                recent: &recent,
                first: !self.stored.is_some_and(is_applied),
                configuration_changed: self.stored.is_some_and(is_other),
            };
            let limits = (&self.settings.removal_limit, &self.settings.growth_limit);
            guard::judge(&input, limits.0, limits.1).reasons
        };
        let holds = judge(&plan);
        if absent == 0 {
            return Ok((holds, Vec::new()));
        }
        let removals = plan.of(&Watched::Removal) + absent;
        let counts = plan.counts().map(|(watched, count)| (watched.clone(), count));
        let with_absent: Totals = counts.chain([(Watched::Removal, removals)]).collect();
        let is_new = |reason: &HoldReason| holds.iter().all(|hold| hold.rule != reason.rule);
        let if_left = judge(&with_absent).into_iter().filter(is_new).collect();
        Ok((holds, if_left))
    }
}
