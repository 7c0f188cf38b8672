//! Night after night: what happens, what Rollcall makes of it, and whether the model agrees.

mod logins;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use chrono::{DateTime, TimeDelta, Utc};
use rollcall_proto::v1::{self, SyncRunMode, SyncRunState};
use rollcall_testkit::{Outage, Tree};

use crate::company::{ADMINS, Company, PAGE, sync_name, unit};
use crate::compare;
use crate::life::{Kind, Life, Trouble};
use crate::model::{Missing, Model, Pull, Run, State, Sync, User};
use crate::rollcall::{Backend, TENANT};

/// A company, its life, and the model beside it.
pub(crate) struct Years {
    company: Company,
    life: Life,
    model: Model,
    now: DateTime<Utc>,
    trouble: Option<Trouble>,
    /// The directory was away when it was last asked, and may be held to be still.
    was_away: bool,
    locals: usize,
    /// Whose logins, or which of nobody, were refused without asking the directory, and why.
    refused: BTreeSet<(String, &'static str)>,
    daily: bool,
    overlook: Vec<String>,
    story: Vec<String>,
}

/// The kinds of changes that somebody asks for.
pub(crate) fn kinds(names: Option<&str>) -> Result<Vec<Kind>> {
    let Some(names) = names else {
        // Which of the fields that are left alone differ is counted more coarsely than the model knows.
        let all = Kind::ALL.into_iter();
        return Ok(all.filter(|kind| *kind != Kind::IgnoreExisting).collect());
    };
    if names == "All" {
        return Ok(Kind::ALL.to_vec());
    }
    let named = names.split(',').map(|name| {
        let mut all = Kind::ALL.iter();
        let kind = all.find(|kind| format!("{kind:?}") == name.trim());
        kind.copied()
            .with_context(|| format!("there is no change {name}"))
    });
    named.collect()
}

fn settings(life: &mut Life, number: usize) -> Sync {
    let missing = if life.now(Kind::IgnoreMissing, 3) {
        Missing::Ignore
    } else if life.dice.one_in(2) {
        Missing::Deactivate
    } else {
        Missing::Archive
    };
    Sync {
        base: unit(number),
        without_bosses: false,
        creates: true,
        updates: !life.now(Kind::IgnoreExisting, 3),
        missing,
        renames: life.dice.one_in(2),
        overwrites_local: life.now(Kind::Overwrite, 2),
        display_name: vec!["displayName", "{givenName} {sn}"],
        groups: vec![(ADMINS.to_owned(), "admin")],
        boss: Some("boss"),
    }
}

impl Years {
    pub(crate) async fn begin(
        backend: Backend,
        seed: u64,
        kinds: &[Kind],
        overlook: Vec<String>,
    ) -> Result<Self> {
        let now = "2026-06-01T02:00:00Z".parse()?;
        let mut life = Life::new(seed, kinds);
        let syncs = [0, 1].map(|number| settings(&mut life, number));
        let daily = life.now(Kind::Daily, 2);
        let company = Company::start(backend, syncs.to_vec(), now).await?;
        let story = syncs.iter().map(|sync| format!("{sync:?}")).collect();
        company.server.edit(|tree| {
            tree.publish_schema();
            life.begin(tree, 24);
        });
        Ok(Self {
            company,
            life,
            model: Model::default(),
            now,
            trouble: None,
            was_away: false,
            locals: 0,
            refused: BTreeSet::new(),
            daily,
            overlook,
            story,
        })
    }

    pub(crate) async fn live(mut self, nights: usize) -> Result<()> {
        for night in 0..nights {
            let lived = self.one_night(night).await;
            lived.with_context(|| format!("what happened:\n  {}", self.story.join("\n  ")))?;
        }
        Ok(())
    }

    async fn one_night(&mut self, night: usize) -> Result<()> {
        let days = if self.daily { 1 } else { 8 };
        // A little later every night: nothing is exactly a week ago.
        self.now += TimeDelta::days(days) + TimeDelta::minutes(1);
        self.company.rollcall.set_time(self.now);
        self.heal();
        if night > 0 {
            self.day(night);
            self.product(night).await?;
            self.settings(night).await?;
            self.logins(night).await?;
            let trouble = self.company.server.edit(|tree| self.life.trouble(tree));
            if let Some(trouble) = trouble {
                self.story.push(format!("night {night}: {trouble:?}"));
                self.harm(trouble);
            }
        }
        let turns = if self.life.dice.one_in(2) { [0, 1] } else { [1, 0] };
        for number in turns {
            if self.life.now(Kind::Preview, 4) {
                self.preview(night, number).await?;
            }
            self.run(night, number).await?;
        }
        Ok(())
    }

    fn day(&mut self, night: usize) {
        let stamp = self.now.format("%Y%m%d%H%M%SZ").to_string();
        let changes = self.life.dice.below(5);
        let (life, server) = (&mut self.life, &self.company.server);
        let told = server.edit(|tree| {
            tree.set_time(&stamp);
            life.day(tree, changes)
        });
        self.story
            .extend(told.into_iter().map(|line| format!("night {night}: {line}")));
    }

    /// The product makes users of its own.
    async fn product(&mut self, night: usize) -> Result<()> {
        if !self.life.now(Kind::Local, 4) || self.locals >= 10 {
            return Ok(());
        }
        self.locals += 1;
        let number = self.life.dice.below(40) + 1;
        let login = format!("p{number:03}");
        let owner = self.life.dice.one_in(3);
        let request = v1::CreateUserRequest {
            parent: TENANT.to_owned(),
            user: Some(v1::User {
                login: login.clone(),
                role: "local".to_owned(),
                owner,
                ..v1::User::default()
            }),
            request_id: String::new(),
        };
        let held = self.model.users.iter().any(|user| {
            !matches!(user.state, State::Archived(_)) && (user.login == login || user.email == login)
        });
        let made = self.company.rollcall.users().create_user(request).await;
        if made.is_ok() == held {
            bail!("night {night}: the LOCAL user {login} should be refused: {held}, but {made:?}");
        }
        if !held {
            self.story
                .push(format!("night {night}: LOCAL {login}, owner {owner}"));
            self.model.users.push(local(&login, owner));
        }
        // The event of it is the product's own.
        self.company.rollcall.new_events().await?;
        Ok(())
    }

    /// Somebody edits the rules, the mapping or the searches.
    async fn settings(&mut self, night: usize) -> Result<()> {
        for number in [0, 1] {
            let sync = &mut self.company.syncs[number];
            let rules = self.life.now(Kind::Rules, 8);
            if rules {
                sync.boss = match sync.boss {
                    Some("boss") => Some("chief"),
                    Some(_) => None,
                    None => Some("boss"),
                };
            }
            let mapping = self.life.now(Kind::Mapping, 8);
            if mapping {
                sync.display_name = match sync.display_name.len() {
                    2 => vec!["cn"],
                    _ => vec!["displayName", "{givenName} {sn}"],
                };
            }
            let searches = self.life.now(Kind::Searches, 8);
            sync.without_bosses ^= searches;
            let ignores = night == 2 && self.life.now(Kind::IgnoreNew, 2);
            sync.creates &= !ignores;
            if rules || mapping || searches || ignores {
                self.story.push(format!("night {night}: edited {sync:?}"));
                self.model.edit(number, rules || mapping || searches);
                self.company.update(number).await?;
            }
        }
        Ok(())
    }

    fn heal(&mut self) {
        let server = &self.company.server;
        server.cut(None);
        server.fail(None);
        self.was_away = match self.trouble {
            Some(Trouble::Down | Trouble::Breaks(_)) => true,
            // Runs that fail anyway do not wait until the directory is held to be back.
            Some(Trouble::Hidden("objectClass")) => self.was_away,
            _ => false,
        };
        match self.trouble.take() {
            Some(Trouble::Hidden(attribute)) => server.edit(|tree| tree.show_attribute(attribute, true)),
            Some(Trouble::Invisible(dn)) => server.edit(|tree| tree.show_entry(&dn, true)),
            _ => {}
        }
    }

    fn harm(&mut self, trouble: Trouble) {
        let server = &self.company.server;
        match &trouble {
            Trouble::Down => server.fail(Some(Outage::Down)),
            Trouble::Breaks(page) => server.fail(Some(Outage::Breaks(*page))),
            Trouble::Cut(cut) => server.cut(Some(*cut)),
            Trouble::Hidden(attribute) => server.edit(|tree| tree.show_attribute(attribute, false)),
            Trouble::Invisible(dn) => server.edit(|tree| tree.show_entry(dn, false)),
        }
        self.trouble = Some(trouble);
    }

    /// How the directory answers a run of this sync tonight.
    fn pull(&self, number: usize, tree: &Tree) -> Pull {
        let entries = self.model.entries(&self.company.syncs[number], tree);
        match self.trouble {
            Some(Trouble::Down) => Pull::Failed,
            // Half of the page arrives. Reading: a break with entries before it is Partial.
            Some(Trouble::Breaks(page)) if entries > page * PAGE => {
                let rest = (entries - page * PAGE).min(PAGE);
                Pull::Partial(page * PAGE + rest / 2)
            }
            // Reading: bases that cannot be seen are a failure, not an empty set.
            Some(Trouble::Hidden("objectClass")) => Pull::Failed,
            Some(Trouble::Cut(cut)) if entries > cut.page * PAGE => {
                Pull::Partial(entries.min(cut.page * PAGE + PAGE / 2))
            }
            _ => Pull::Complete,
        }
    }

    /// A preview, which is applied at once now and then.
    async fn preview(&mut self, night: usize, number: usize) -> Result<()> {
        let tree = self.company.server.edit(|tree| tree.clone());
        let pull = self.pull(number, &tree);
        let expected = self
            .model
            .preview(number, &self.company.syncs, &tree, pull, self.now);
        let run = self
            .start(number, SyncRunMode::Preview, pull == Pull::Failed)
            .await?;
        self.story
            .push(format!("night {night}: preview of {}", unit(number)));
        self.compare(night, number, &expected, &run, false).await?;
        if run.state() == SyncRunState::Planned && self.life.dice.one_in(2) {
            let expected = self
                .model
                .release(number, &self.company.syncs[number], &expected, pull, self.now);
            self.release(night, number, &expected, &run).await?;
        }
        Ok(())
    }

    /// One run of a user sync, and what somebody decides when it is held.
    async fn run(&mut self, night: usize, number: usize) -> Result<()> {
        let tree = self.company.server.edit(|tree| tree.clone());
        let pull = self.pull(number, &tree);
        let syncs = &self.company.syncs;
        let expected = self.model.run(number, syncs, &tree, pull, self.now);
        let run = self
            .start(number, SyncRunMode::Apply, pull == Pull::Failed)
            .await?;
        self.compare(night, number, &expected, &run, false).await?;
        if run.state() == SyncRunState::Held && self.life.has(Kind::Decide) {
            match self.life.dice.below(3) {
                0 => {
                    let expected =
                        self.model
                            .release(number, &self.company.syncs[number], &expected, pull, self.now);
                    self.release(night, number, &expected, &run).await?;
                }
                1 => {
                    self.story
                        .push(format!("night {night}: cancelled in {}", unit(number)));
                    let cancel = v1::CancelSyncRunRequest { name: run.name };
                    self.company.rollcall.runs().cancel_sync_run(cancel).await?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    async fn start(&mut self, number: usize, mode: SyncRunMode, fails: bool) -> Result<v1::SyncRun> {
        if self.trouble.is_none() && !self.was_away && self.life.now(Kind::Kill, 30) {
            return self.start_and_kill(number, mode).await;
        }
        let rollcall = &self.company.rollcall;
        let mut run = rollcall.run(&sync_name(number), mode).await?;
        // A directory that was away may be held to be so for a moment: nothing but time passes.
        for _ in 0..1200 {
            if !self.was_away || fails || run.state() != SyncRunState::Failed {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            run = rollcall.run(&sync_name(number), mode).await?;
        }
        Ok(run)
    }

    /// The worker dies after some of its requests to the directory, or of its writes after them.
    async fn start_and_kill(&mut self, number: usize, mode: SyncRunMode) -> Result<v1::SyncRun> {
        let (requests, later) = (self.life.dice.below(24), self.life.dice.below(30));
        self.story.push(format!(
            "killed after {requests} requests and {later} ms in {}",
            unit(number)
        ));
        let server = &self.company.server;
        let before = server.received().len();
        let first = std::sync::OnceLock::new();
        let there = || {
            if server.received().len() < before + requests {
                return false;
            }
            let first: &Instant = first.get_or_init(Instant::now);
            first.elapsed() >= Duration::from_millis(later as u64)
        };
        self.company
            .rollcall
            .run_killed(&sync_name(number), mode, there)
            .await
    }

    async fn release(
        &mut self,
        night: usize,
        number: usize,
        expected: &Run,
        run: &v1::SyncRun,
    ) -> Result<()> {
        self.story
            .push(format!("night {night}: released in {}", unit(number)));
        let apply = v1::ApplySyncRunRequest {
            name: run.name.clone(),
        };
        self.company.rollcall.apply(apply).await?;
        let run = self.company.rollcall.rest(&run.name).await?;
        self.compare(night, number, expected, &run, true).await
    }

    async fn compare(
        &mut self,
        night: usize,
        number: usize,
        expected: &Run,
        run: &v1::SyncRun,
        is_released: bool,
    ) -> Result<()> {
        let issues = self.company.rollcall.issues(&run.name).await?;
        let mut differs = compare::difference(
            "the run",
            compare::expected_run(expected),
            compare::found_run(run, &issues),
        );
        let health = self.company.rollcall.health(&sync_name(number)).await?;
        if !is_released && expected.state != "FAILED" {
            let changes = self.company.rollcall.changes(&run.name).await?;
            differs.extend(compare::difference(
                "the plan",
                compare::expected_changes(expected),
                compare::found_changes(&changes),
            ));
        }
        differs.extend(compare::wrong_health(expected, &health));
        differs.extend(compare::wrong_words(
            &expected.issues,
            &issues,
            &self.kept_names(),
        ));
        differs.extend(self.differences(expected).await?);
        differs.retain(|line| !self.overlooked(line));
        if differs.is_empty() {
            return Ok(());
        }
        let holds: Vec<_> = run
            .hold_reasons
            .iter()
            .map(|reason| reason.message.as_str())
            .collect();
        bail!(
            "night {night}, {}: Rollcall and the model differ\n  {}\nheld: {holds:?}, by the model: {:?}; {:?}\n{:?}\n{:?}\n{:?}",
            sync_name(number),
            differs.join("\n  "),
            expected.holds,
            run.failure.as_ref().map(|failure| &failure.message),
            compare::found_run(run, &issues),
            issues.iter().map(|issue| &issue.message).collect::<Vec<_>>(),
            self.model
                .users
                .iter()
                .map(|user| (&user.dn, &user.login, &user.email, user.state))
                .collect::<Vec<_>>(),
        )
    }
}

impl Years {
    /// Users and events that are not as they should be after this.
    async fn differences(&mut self, expected: &Run) -> Result<Vec<String>> {
        let rollcall = &mut self.company.rollcall;
        let users = rollcall.all_users().await?;
        let events = rollcall.new_events().await?;
        let mut differs = compare::difference(
            "the user",
            compare::expected_users(&self.model.users),
            compare::found_users(&users),
        );
        differs.extend(compare::difference(
            "the event",
            compare::expected_events(&expected.applied),
            compare::found_events(&events),
        ));
        differs.retain(|line| !self.overlooked(line));
        Ok(differs)
    }

    /// Whom Rollcall knows by another name than the entry has: by the entry's, the user's.
    fn kept_names(&self) -> BTreeMap<String, String> {
        let users = self.model.users.iter().filter(|user| user.sync.is_some());
        let users: Vec<(&str, &str)> = users.map(|user| (&*user.id, &*user.dn)).collect();
        self.company.server.edit(|tree| {
            let named = tree.entries().iter().flat_map(|entry| {
                let its = |(id, dn): &&(&str, &str)| entry.text("entryUUID") == Some(*id) && entry.dn != *dn;
                let its = users.iter().filter(its);
                its.map(|(_, dn)| (entry.dn.clone(), (*dn).to_owned()))
                    .collect::<Vec<_>>()
            });
            named.collect()
        })
    }

    fn overlooked(&self, line: &str) -> bool {
        self.overlook.iter().any(|word| line.contains(word.as_str()))
    }
}

fn local(login: &str, owner: bool) -> User {
    let names = [
        "display_name",
        "given_name",
        "family_name",
        "phone_number",
        "custom.badge",
    ];
    User {
        id: login.to_owned(),
        sync: None,
        dn: String::new(),
        login: login.to_owned(),
        email: String::new(),
        role: "local".to_owned(),
        fields: names
            .map(|name| (name, String::new()))
            .into_iter()
            .collect::<BTreeMap<_, _>>(),
        state: State::Active,
        owner,
        linked: false,
        ambiguous: false,
        asked_by: None,
    }
}
