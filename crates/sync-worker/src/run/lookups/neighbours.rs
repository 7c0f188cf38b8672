//! Users of other user syncs who have the logins that a run's entries ask for: what do their own entries say today? A
//! user whose entry offers the login keeps it. A user whose entry does not offer it gives way: either people of two
//! syncs have swapped their logins, or the login is ambiguous.
//!
//! Only the present content of the directory counts. A user whose entry cannot be read keeps the login, and users of a
//! held user sync are not touched.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use rollcall_core::error::Error;
use rollcall_core::external_id::ExternalId;
use rollcall_core::guard::{RemovalLimit, WINDOW, Watched};
use rollcall_core::id::{TenantId, UserId, UserSyncId, UserSyncKey};
use rollcall_core::identifier::Holder;
use rollcall_core::identifier::normalize;
use rollcall_core::judgement::EntryReading;
use rollcall_core::planner::{Asker, BatchFacts, Neighbour};
use rollcall_core::user::{OtherEntry, User};
use rollcall_core::user_sync::UserSyncSettings;
use rollcall_store::{Kind, StoreError};

use super::super::executor::Executor;
use super::super::source::{Source, source};
use super::absences::{BATCH_IDS, find_in_scope};
use super::known::Asking;

/// Most people of other syncs whose entries one run reads. Further ones keep what they have.
const MAX_READ: usize = 2_000;
/// How many steps a chain of wanted logins and their holders is followed.
const MAX_STEPS: usize = 16;

/// The other user syncs that a run has asked so far.
pub(super) struct Neighbours<'a> {
    x: &'a Executor,
    asking: Asking<'a>,
    others: HashMap<UserSyncId, Other>,
    read: usize,
}

/// Another user sync.
enum Other {
    Ready(Box<Ready>),
    /// It does not exist any more.
    Deleted,
    /// It is off or held, or its directory does not answer: none of its users is touched.
    Silent,
}

struct Ready {
    source: Source,
    in_force: Arc<UserSyncSettings>,
    /// How many more of its users may move before its own guard would hold the plan.
    moves: u64,
}

impl<'a> Neighbours<'a> {
    pub(super) fn new(x: &'a Executor, asking: Asking<'a>) -> Self {
        Self {
            x,
            asking,
            others: HashMap::new(),
            read: 0,
        }
    }

    /// Adds, for these entries, what other syncs say about the logins that the entries ask for.
    pub(super) async fn ask(
        &mut self,
        readings: &[&EntryReading],
        facts: &mut BatchFacts,
    ) -> Result<(), Error> {
        self.ask_askers(facts).await?;
        let logins = readings.iter().flat_map(|reading| &reading.offers.login.values);
        let mut keys: BTreeSet<String> = logins.map(|login| normalize(login)).collect();
        let mut seen = HashSet::new();
        for _ in 0..MAX_STEPS {
            let users = self.users_with(&keys, facts, &mut seen);
            if users.is_empty() {
                break;
            }
            let found = self.read_users(&users).await?;
            keys = found.iter().filter_map(Neighbour::target).collect();
            self.look_up(&keys, facts).await?;
            facts.meet_neighbours(found);
        }
        Ok(())
    }

    /// The users of other syncs who have these logins, each once.
    fn users_with(
        &self,
        keys: &BTreeSet<String>,
        facts: &BatchFacts,
        seen: &mut HashSet<UserId>,
    ) -> Vec<User> {
        let mut users = Vec::new();
        for key in keys {
            let Some(Holder::User(holder)) = facts.holder(key) else {
                continue;
            };
            let elsewhere = |user: &&User| {
                let origin = user.origin.as_ref();
                origin.is_some_and(|origin| origin.user_sync != *self.asking.id)
                    && normalize(&user.profile.login) == *key
            };
            if let Some(user) = facts.user(*holder).filter(elsewhere)
                && seen.insert(user.id)
            {
                users.push(user.clone());
            }
        }
        users
    }

    /// Looks up who has these identifiers.
    async fn look_up(&self, keys: &BTreeSet<String>, facts: &mut BatchFacts) -> Result<(), Error> {
        let unknown: Vec<String> = keys
            .iter()
            .filter(|key| facts.holder(key).is_none())
            .cloned()
            .collect();
        let (store, tenant) = (&self.x.store, self.asking.tenant);
        let holders = store.identifier_holders(tenant, &unknown).await?;
        let users = holders.values().filter_map(|holder| match holder {
            Holder::User(user) => Some(*user),
            Holder::Foreign => None,
        });
        let users: BTreeSet<UserId> = users.collect();
        let users: Vec<UserId> = users.into_iter().collect();
        let users = store.batch_users(tenant, &users).await?;
        facts.extend(users, holders);
        Ok(())
    }

    async fn read_users(&mut self, users: &[User]) -> Result<Vec<Neighbour>, Error> {
        let mut by_sync: BTreeMap<&UserSyncId, Vec<(&User, &ExternalId)>> = BTreeMap::new();
        for user in users {
            if let Some(origin) = &user.origin {
                let of_sync = by_sync.entry(&origin.user_sync).or_default();
                of_sync.push((user, &origin.external_id));
            }
        }
        let mut neighbours = Vec::new();
        for (id, people) in by_sync {
            let ids: Vec<ExternalId> = people.iter().map(|(_, id)| (*id).clone()).collect();
            let Some(entries) = self.read(id, &ids).await? else {
                continue;
            };
            let Some(Other::Ready(other)) = self.others.get_mut(id) else {
                continue;
            };
            for (user, id) in people {
                let found = entries
                    .get(id)
                    .and_then(|entry| Neighbour::of(user, entry, &other.in_force));
                let Some(neighbour) = found else { continue };
                if neighbour.target().is_some() {
                    if other.moves == 0 {
                        continue;
                    }
                    other.moves -= 1;
                }
                neighbours.push(neighbour);
            }
        }
        Ok(neighbours)
    }

    /// Asks whether entries of other syncs still ask for the ambiguous logins of users of this one.
    async fn ask_askers(&mut self, facts: &mut BatchFacts) -> Result<(), Error> {
        let mut asked: BTreeMap<UserSyncId, Vec<(UserId, String, ExternalId)>> = BTreeMap::new();
        for user in facts.ambiguous(self.asking.id) {
            if let Some(OtherEntry {
                user_sync,
                external_id,
            }) = user.login_asked_by.clone()
            {
                let of_sync = asked.entry(user_sync).or_default();
                of_sync.push((user.id, normalize(&user.profile.login), external_id));
            }
        }
        for (user_sync, users) in asked {
            let ids: Vec<ExternalId> = users.iter().map(|(.., id)| id.clone()).collect();
            let found = self.read(&user_sync, &ids).await?;
            let (store, asking) = (&self.x.store, self.asking);
            let persons = store
                .users_by_external_ids(asking.tenant, asking.directory, &ids)
                .await?;
            let persons: HashMap<ExternalId, UserId> = persons
                .into_iter()
                .filter_map(|person| Some((person.origin?.external_id, person.id)))
                .collect();
            for (user, login, id) in users {
                let asker = match (&found, self.others.get(&user_sync)) {
                    (_, Some(Other::Deleted)) => Asker::Ceased,
                    (Some(entries), Some(Other::Ready(other))) => {
                        let asks = |entry: &&EntryReading| {
                            let mut logins = entry.offers.login.values.iter();
                            entry.is_enabled() && logins.any(|value| normalize(value) == login)
                        };
                        let same_directory = other.in_force.directory == *self.asking.directory;
                        let asking = entries.get(&id).filter(asks);
                        asking.map_or(Asker::Ceased, |entry| Asker::Asks {
                            dn: same_directory.then(|| entry.dn.clone()),
                            user: persons.get(&id).copied(),
                        })
                    }
                    _ => Asker::Asks { dn: None, user: None },
                };
                facts.note_asker(user, asker);
            }
        }
        Ok(())
    }

    /// The entries with these ids that the searches of another sync find; `None` if that cannot be told. If several
    /// entries have one id, none of them counts.
    async fn read(
        &mut self,
        id: &UserSyncId,
        ids: &[ExternalId],
    ) -> Result<Option<HashMap<ExternalId, EntryReading>>, Error> {
        if !self.others.contains_key(id) {
            let other = open(self.x, self.asking.tenant, id).await?;
            self.others.insert(id.clone(), other);
        }
        let Some(Other::Ready(other)) = self.others.get(id) else {
            return Ok(None);
        };
        self.read += ids.len();
        if self.read > MAX_READ {
            return Ok(None);
        }
        let Ready { source, in_force, .. } = &**other;
        let now = self.x.clock.now();
        let mut entries: HashMap<ExternalId, EntryReading> = HashMap::new();
        let mut shared = HashSet::new();
        for batch in ids.chunks(BATCH_IDS) {
            let attributes = source.reader.attributes();
            let found = match find_in_scope(source, &in_force.searches, batch, &attributes).await {
                Ok(found) => found,
                Err(error) => {
                    tracing::debug!(%error, "another user sync's people could not be read");
                    self.others.insert(id.clone(), Other::Silent);
                    return Ok(None);
                }
            };
            for (id, entry) in found {
                let reading = source.reader.read(id.clone(), &entry, now);
                let dn = reading.dn.clone();
                let before = entries.insert(id.clone(), reading);
                if before.is_some_and(|before| before.dn != dn) {
                    shared.insert(id);
                }
            }
        }
        entries.retain(|id, _| !shared.contains(id));
        Ok(Some(entries))
    }
}

async fn open(x: &Executor, tenant: &TenantId, id: &UserSyncId) -> Result<Other, Error> {
    let judged_by = match x.store.judged_by(tenant, id).await {
        Ok(judged_by) => judged_by,
        Err(StoreError::NotFound(Kind::UserSync)) => return Ok(Other::Deleted),
        Err(error) => return Err(error.into()),
    };
    let (sync, in_force) = (judged_by.user_sync, judged_by.in_force);
    if !sync.hold.is_empty() || sync.settings.disabled {
        return Ok(Other::Silent);
    }
    let key = UserSyncKey {
        tenant: tenant.clone(),
        user_sync: id.clone(),
    };
    let source = match source(x, &key, &in_force.directory, &in_force).await {
        Ok(source) => source,
        Err(error) => {
            tracing::debug!(%error, "another user sync's directory cannot be asked");
            return Ok(Other::Silent);
        }
    };
    let users = x.store.count_users(tenant, id).await?;
    let recent = x.store.recent_changes(tenant, id, x.clock.now() - WINDOW).await?;
    let limit = RemovalLimit::default().allowed(users);
    Ok(Other::Ready(Box::new(Ready {
        source,
        in_force,
        moves: limit.saturating_sub(recent.of(&Watched::Login)),
    })))
}
