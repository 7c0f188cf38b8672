//! One tenant with a directory of its own, which changes; its runs; and what must hold after each of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rollcall_proto::v1::{self, SyncRunState, UserEventType, UserState};
use rollcall_testkit::{Ldif, Proxy, Slapd, TestCa};
use system_tests::{directory_of, sync_of};
use tokio::sync::{Mutex, RwLock};
use tokio::task::block_in_place;
use tokio::time::Instant;

use super::{Dice, World};
use crate::company::{BASE, people_dn, person};
use crate::crowd::uid;

/// Longest time until a call succeeds or a run rests, whatever happens meanwhile.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);
/// Most runs until one is not disturbed.
const MOST_TRIES: usize = 60;

/// The number of the first person who comes later.
const PEOPLE_TO_COME: usize = 1_000;

pub(super) struct Lane {
    pub(super) number: usize,
    /// Locked for writing while it does not answer.
    pub(super) slapd: RwLock<Slapd>,
    /// Rollcall's line to the directory.
    pub(super) line: Proxy,
    world: Arc<World>,
    tenant: String,
    seen: Mutex<Seen>,
}

/// What a consumer of the feed knows, and what the lane saw.
#[derive(Default)]
struct Seen {
    cursor: String,
    /// Users by name, from events alone.
    replayed: BTreeMap<String, v1::User>,
    /// Users by external id, who must never become others.
    names: BTreeMap<String, String>,
    /// External ids that were ever told to be archived.
    archived: BTreeSet<String>,
}

/// Login, display name and e-mail address.
type Shown = (String, String, String);

/// A directory of people, and a line to it.
pub(super) async fn begin_directory(ca: &TestCa, people: usize) -> Result<(Slapd, Proxy)> {
    let mut ldif = Ldif::new();
    ldif.entry(&people_dn())
        .attribute("objectClass", "organizationalUnit")
        .attribute("ou", "People");
    for number in 0..people {
        newcomer(&mut ldif, number);
    }
    let builder = Slapd::builder()
        .base_dn(BASE)
        .certificate(ca.loopback_server()?)
        .ldif(ldif.as_str());
    let slapd = tokio::task::spawn_blocking(move || builder.start()).await??;
    let line = Proxy::start(slapd.tls_address()).await?;
    Ok((slapd, line))
}

impl Lane {
    pub(super) async fn begin(
        world: Arc<World>,
        number: usize,
        slapd: Slapd,
        line: Proxy,
        ca: &TestCa,
        people: usize,
    ) -> Result<Self> {
        let tenant = format!("tenants/lane{number}");
        let directory = v1::Directory {
            hosts: vec![format!("ldaps://{}", line.address())],
            // Many pages, so that a cut comes between two of them too.
            page_size: i32::try_from(people / 8)?,
            ..directory_of(&slapd, ca)
        };
        let user_sync = v1::UserSync {
            login_changes: v1::LoginChangePolicy::Allow.into(),
            // Far more than a week of ordinary changes: what is tested here is that nothing else removes anybody.
            removal_limit: Some(v1::RemovalLimit {
                max_count: Some(100_000),
                max_percent: None,
            }),
            ..sync_of(&format!("{tenant}/directories/hq"), &people_dn())
        };
        world
            .system
            .read()
            .await
            .connect_with(&tenant, directory, user_sync)
            .await?;
        Ok(Self {
            number,
            slapd: RwLock::new(slapd),
            line,
            world,
            tenant,
            seen: Mutex::default(),
        })
    }

    /// Rounds of changes and runs until there were enough of them; returns how the runs ended.
    pub(super) async fn live(&self, mut dice: Dice) -> Result<BTreeMap<SyncRunState, usize>> {
        let mut states = BTreeMap::new();
        let mut next = PEOPLE_TO_COME;
        let mut round = 0;
        while self.world.goes_on() {
            let told = |run: usize| format!("round {round}, run {run}");
            self.change(&mut dice, &mut next).await.with_context(|| told(0))?;
            for run in 1.. {
                ensure!(run <= MOST_TRIES, "no run is left alone in {}", told(run));
                let ended = self
                    .run(&format!("{round}-{run}"))
                    .await
                    .with_context(|| told(run))?;
                *states.entry(ended.state()).or_default() += 1;
                self.world.runs.fetch_add(1, Ordering::Relaxed);
                let whole = ended.state() == SyncRunState::Succeeded;
                let checked = self.check(whole).await;
                checked.with_context(|| format!("{}, {:?}", told(run), ended.state()))?;
                if whole {
                    break;
                }
            }
            round += 1;
        }
        Ok(states)
    }

    /// A run that nobody disturbs.
    pub(super) async fn undisturbed(&self) -> Result<v1::SyncRunCounts> {
        // The directory may be held to be down for a moment after the last outage.
        for run in 1..=MOST_TRIES {
            let ended = self.run(&format!("last-{run}")).await?;
            if ended.state() == SyncRunState::Succeeded {
                self.check(true).await?;
                return ended.counts.context("no counts");
            }
        }
        anyhow::bail!("no run succeeds")
    }

    /// Random changes of the directory: names, swapped mail addresses, new logins, people who leave and come.
    async fn change(&self, dice: &mut Dice, next: &mut usize) -> Result<()> {
        let slapd = self.slapd.read().await;
        let mut people: Vec<(String, String)> = block_in_place(|| shown(&slapd))?
            .into_values()
            .map(|(uid, _, mail)| (uid, mail))
            .collect();
        let mut changes = String::new();
        let mut modify = |uid: &str, attribute: &str, value: &str| {
            let dn = format!("uid={uid},{}", people_dn());
            changes +=
                &format!("dn: {dn}\nchangetype: modify\nreplace: {attribute}\n{attribute}: {value}\n\n");
        };
        for _ in 0..dice.below(12) {
            let (uid, _) = &people[dice.below(people.len())];
            modify(uid, "displayName", &format!("{uid} {}", dice.below(1_000_000)));
        }
        let pick = |dice: &mut Dice, people: &mut Vec<(String, String)>| {
            people.swap_remove(dice.below(people.len()))
        };
        if dice.below(3) == 0 {
            let (ada, ben) = (pick(dice, &mut people), pick(dice, &mut people));
            modify(&ada.0, "mail", &ben.1);
            modify(&ben.0, "mail", &ada.1);
        }
        for _ in 0..dice.below(2) {
            let (old, _) = pick(dice, &mut people);
            let new = uid(*next);
            *next += 1;
            let dn = format!("uid={old},{}", people_dn());
            changes += &format!("dn: {dn}\nchangetype: modrdn\nnewrdn: uid={new}\ndeleteoldrdn: 1\n\n");
        }
        for _ in 0..dice.below(3) {
            let (gone, _) = pick(dice, &mut people);
            changes += &format!("dn: uid={gone},{}\nchangetype: delete\n\n", people_dn());
        }
        if !changes.is_empty() {
            block_in_place(|| slapd.modify(&changes))?;
        }
        let mut new = Ldif::new();
        for _ in 0..dice.below(4) {
            newcomer(&mut new, *next);
            *next += 1;
        }
        if !new.as_str().is_empty() {
            block_in_place(|| slapd.add(new.as_str()))?;
        }
        Ok(())
    }

    /// A run to its rest, whoever carries it on.
    async fn run(&self, request_id: &str) -> Result<v1::SyncRun> {
        let request = v1::RunUserSyncRequest {
            name: format!("{}/userSyncs/staff", self.tenant),
            mode: v1::SyncRunMode::Apply.into(),
            request_id: request_id.to_owned(),
        };
        let run = self
            .patiently("a run to start", || async {
                let mut client = self.world.system.read().await.user_syncs().await?;
                Ok(client.run_user_sync(request.clone()).await?.into_inner())
            })
            .await?;
        let held = self.rested(&run.name).await?;
        if held.state() != SyncRunState::Held {
            return Ok(held);
        }
        // Many changes in a short time look like an accident, and a person releases them. Leavers are gone already.
        let name = || run.name.clone();
        self.patiently("the plan to be released", || async {
            let mut client = self.world.system.read().await.runs().await?;
            let now = client
                .get_sync_run(v1::GetSyncRunRequest { name: name() })
                .await?;
            if now.into_inner().state() != SyncRunState::Held {
                return Ok(());
            }
            client
                .apply_sync_run(v1::ApplySyncRunRequest { name: name() })
                .await?;
            Ok(())
        })
        .await?;
        self.rested(&run.name).await
    }

    /// The run, when it has ended or waits for a person.
    async fn rested(&self, name: &str) -> Result<v1::SyncRun> {
        self.patiently("the run to rest", || async {
            let mut client = self.world.system.read().await.runs().await?;
            let name = name.to_owned();
            let run = client
                .get_sync_run(v1::GetSyncRunRequest { name })
                .await?
                .into_inner();
            ensure!(
                run.end_time.is_some() || run.state() == SyncRunState::Held,
                "it is {:?}",
                run.state()
            );
            Ok(run)
        })
        .await
    }

    /// After any run: nobody who is in the directory has lost access, everybody is who they were, and the feed
    /// told all of it. After one that read everything: users and directory are the same.
    async fn check(&self, whole: bool) -> Result<()> {
        let slapd = self.slapd.read().await;
        let people = block_in_place(|| shown(&slapd))?;
        drop(slapd);
        let mut seen = self.seen.lock().await;
        self.replay(&mut seen).await?;
        let users = self
            .patiently("the users", || async {
                self.world.system.read().await.all_users(&self.tenant).await
            })
            .await?;
        let by_name: BTreeMap<_, _> = users
            .iter()
            .map(|user| (user.name.clone(), user.clone()))
            .collect();
        ensure!(
            by_name == seen.replayed,
            "the feed tells of other users than there are"
        );

        let mut active = BTreeMap::new();
        for user in users {
            let known = seen
                .names
                .entry(user.external_id.clone())
                .or_insert_with(|| user.name.clone());
            ensure!(*known == user.name, "{known} became {}", user.name);
            if user.state() == UserState::Active {
                active.insert(user.external_id, (user.login, user.display_name, user.email));
            } else {
                ensure!(
                    !people.contains_key(&user.external_id),
                    "{} was removed by mistake",
                    user.dn
                );
            }
        }
        let wrongly: Vec<_> = seen
            .archived
            .iter()
            .filter(|id| people.contains_key(*id))
            .collect();
        ensure!(wrongly.is_empty(), "{wrongly:?} were removed for a while");
        if whole {
            let different: Vec<_> = people
                .iter()
                .filter(|(id, person)| active.get(*id) != Some(*person))
                .collect();
            ensure!(different.is_empty(), "missing or different users: {different:?}");
            ensure!(
                active.len() == people.len(),
                "{} users too many",
                active.len() - people.len()
            );
        }
        Ok(())
    }

    /// Follows the feed to its end.
    async fn replay(&self, seen: &mut Seen) -> Result<()> {
        loop {
            let request = v1::ListUserEventsRequest {
                parent: self.tenant.clone(),
                page_size: 1000,
                after: seen.cursor.clone(),
                types: Vec::new(),
            };
            let page = self
                .patiently("the feed", || async {
                    let mut client = self.world.system.read().await.users().await?;
                    Ok(client.list_user_events(request.clone()).await?.into_inner())
                })
                .await?;
            for event in page.events {
                let (kind, user) = (event.r#type(), event.user.context("an event without a user")?);
                let before = seen.replayed.insert(user.name.clone(), user.clone());
                ensure!(
                    before.is_some() == (kind != UserEventType::Created),
                    "{kind:?} does not follow {before:?}"
                );
                if user.state() != UserState::Active {
                    seen.archived.insert(user.external_id);
                }
            }
            seen.cursor = page.next_cursor;
            if !page.more {
                return Ok(());
            }
        }
    }

    /// What a call answers as soon as nothing stands in its way.
    async fn patiently<T, F: Future<Output = Result<T>>>(
        &self,
        what: &str,
        call: impl Fn() -> F,
    ) -> Result<T> {
        let end = Instant::now() + PATIENCE;
        loop {
            let last_call = Instant::now() >= end;
            match call().await {
                Err(error) if last_call => {
                    return Err(error.context(format!("not within {PATIENCE:?}: {what}")));
                }
                Err(_) => tokio::time::sleep(PAUSE).await,
                answer => return answer,
            }
        }
    }
}

fn newcomer(ldif: &mut Ldif, number: usize) {
    let uid = uid(number);
    person(ldif, &uid, &format!("{uid}@company.test"), "secret");
}

/// Everybody whom `ldapsearch` shows, by the entry's id.
fn shown(slapd: &Slapd) -> Result<BTreeMap<String, Shown>> {
    let attributes = ["entryUUID", "uid", "displayName", "mail"];
    let people = people_dn();
    let mut arguments = vec!["-b", &people, "(uid=*)"];
    arguments.extend(attributes);
    let found = slapd.search(&arguments)?;
    let entries = found.split("\n\n").filter(|entry| !entry.trim().is_empty());
    let read = entries.map(|entry| {
        let value = |name: &str| {
            let mut lines = entry.lines();
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": ").map(str::to_owned))
        };
        let [id, uid, name, mail] = attributes.map(value);
        Some((id?, (uid?, name?, mail?)))
    });
    read.collect::<Option<_>>().context("an entry lacks an attribute")
}
