//! The sample of a check: some entries, and what would become of them.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use rollcall_core::entry::Entry;
use rollcall_core::external_id::ExternalId;
use rollcall_core::id::{DirectoryId, TenantId, UserId, UserSyncId, Uuid};
use rollcall_core::issue::Issue;
use rollcall_core::judgement::Judged;
use rollcall_core::person;
use rollcall_core::reader::EntryReader;
use rollcall_core::revision::Revision;
use rollcall_core::user::{Origin, User};
use rollcall_proto::convert::sync_run;
use rollcall_proto::v1;

use super::forecast::Forecast;
use super::role_rules::Roles;
use super::subject::Subject;

/// Entries taken from all searches alternately, each person once.
pub(super) struct Sampled {
    entries: Vec<(Entry, Result<ExternalId, Box<Issue>>)>,
}

impl Sampled {
    pub(super) fn take(reader: &EntryReader, of_searches: Vec<Vec<Entry>>, size: usize) -> Self {
        let mut queues: Vec<_> = of_searches.into_iter().map(Vec::into_iter).collect();
        let (mut entries, mut seen) = (Vec::new(), BTreeSet::new());
        while entries.len() < size {
            let round: Vec<Entry> = queues.iter_mut().filter_map(Iterator::next).collect();
            if round.is_empty() {
                break;
            }
            for entry in round {
                let id = match reader.not_a_person(&entry) {
                    Some(what) => Err(Box::new(person::issue(what, 1, &entry.dn))),
                    None => reader.external_id(&entry),
                };
                if id.as_ref().map_or(true, |id| seen.insert(id.clone())) && entries.len() < size {
                    entries.push((entry, id));
                }
            }
        }
        Self { entries }
    }

    pub(super) fn dns(&self) -> Vec<String> {
        self.entries.iter().map(|(entry, _)| entry.dn.clone()).collect()
    }

    pub(super) fn ids(&self) -> Vec<ExternalId> {
        self.entries
            .iter()
            .filter_map(|(_, id)| id.as_ref().ok().cloned())
            .collect()
    }

    /// What the entries would become. `known` are the entries' users, where there are any.
    pub(super) fn show(
        self,
        subject: &Subject<'_>,
        reader: &EntryReader,
        forecast: &Forecast,
        roles: &Roles,
        known: &[User],
        now: DateTime<Utc>,
    ) -> Vec<v1::SampleEntry> {
        let Subject { tenant, settings, .. } = subject;
        let (user_sync, directory) = (subject.id(), &settings.directory);
        let show = |(entry, id): (Entry, Result<ExternalId, Box<Issue>>)| {
            let role = roles.of(&entry.dn);
            let is_not_a_person = reader.not_a_person(&entry).is_some();
            let (user, mut issues) = match id {
                Ok(id) => {
                    let is_it = |user: &&User| {
                        user.origin
                            .as_ref()
                            .is_some_and(|origin| origin.external_id == id)
                    };
                    let existing = known.iter().find(is_it);
                    let reading = reader.read(id.clone(), &entry, now);
                    let judged = match existing {
                        Some(user) => Ok(reading.for_known(role, user, is_own(user, user_sync), settings)),
                        None => reading.for_new(role),
                    };
                    match judged {
                        Ok(mut judged) => {
                            let issues = std::mem::take(&mut judged.issues);
                            let is_taken = plan(&mut judged, forecast, &entry.dn, existing);
                            let show = || user(judged, tenant, user_sync, directory, existing, now);
                            (is_taken.then(show), issues)
                        }
                        Err(issues) => (None, issues),
                    }
                }
                Err(issue) => (None, vec![*issue]),
            };
            if let Some(foretold) = forecast.of(&entry.dn).filter(|_| !is_not_a_person) {
                issues = foretold;
            }
            v1::SampleEntry {
                dn: entry.dn,
                user,
                issues: issues
                    .iter()
                    .map(|issue| sync_run::issue(tenant, issue))
                    .collect(),
            }
        };
        self.entries.into_iter().map(show).collect()
    }
}

/// Gives a judged entry the identifiers that the plan gives it, instead of those that it asks for. False if no user
/// would come of it.
fn plan(judged: &mut Judged, forecast: &Forecast, dn: &str, existing: Option<&User>) -> bool {
    match (forecast.change(dn), existing) {
        (Some(change), _) => {
            judged.profile = change.profile.clone();
            (judged.state, judged.state_reason) = (change.state, change.state_reason);
        }
        _ if forecast.of(dn).is_none() => {}
        (None, Some(user)) => {
            judged.profile = user.profile.clone();
            (judged.state, judged.state_reason) = (user.state, user.state_reason);
        }
        (None, None) => return false,
    }
    true
}

fn is_own(user: &User, user_sync: Option<&UserSyncId>) -> bool {
    user.origin.as_ref().map(|origin| &origin.user_sync) == user_sync
}

/// The user as it would be. A new user has neither name nor etag nor times yet.
fn user(
    judged: Judged,
    tenant: &TenantId,
    user_sync: Option<&UserSyncId>,
    directory: &DirectoryId,
    existing: Option<&User>,
    now: DateTime<Utc>,
) -> v1::User {
    let nobody = || UserSyncId::generate(Uuid::nil());
    let shown = User {
        tenant: tenant.clone(),
        id: existing.map_or(UserId(Uuid::nil()), |user| user.id),
        origin: Some(Origin {
            user_sync: user_sync.cloned().unwrap_or_else(nobody),
            directory: directory.clone(),
            external_id: judged.external_id,
            dn: judged.dn,
            linked: false,
        }),
        profile: judged.profile,
        state: judged.state,
        state_reason: judged.state_reason,
        owner: false,
        block: existing.and_then(|user| user.block.clone()),
        login_ambiguous: existing.is_some_and(|user| user.login_ambiguous),
        login_asked_by: existing.and_then(|user| user.login_asked_by.clone()),
        revision: existing.map_or(Revision::NONE, |user| user.revision),
        create_time: existing.map_or(now, |user| user.create_time),
        update_time: existing.map_or(now, |user| user.update_time),
    };
    let mut wire = v1::User::from(&shown);
    if existing.is_none() {
        (wire.name, wire.etag) = (String::new(), String::new());
        (wire.create_time, wire.update_time) = (None, None);
    }
    if user_sync.is_none() {
        wire.user_sync = String::new();
    }
    wire
}
