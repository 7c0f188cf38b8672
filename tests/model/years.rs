//! Night after night: what happens, what Rollcall makes of it, and whether the model agrees.

use anyhow::{Context, Result, bail};
use chrono::{DateTime, TimeDelta, Utc};
use rollcall_proto::v1::SyncRunMode;

use crate::company::{ADMINS, Company, sync_name, unit};
use crate::compare;
use crate::life::{Kind, Life};
use crate::model::{Missing, Model, Pull, Sync};
use crate::rollcall::Backend;

/// What Rollcall follows the model in. Everything else is asked for by name.
const SETTLED: &[Kind] = &[Kind::Hire, Kind::Phone];

/// A company, its life, and the model beside it.
pub(crate) struct Years {
    company: Company,
    life: Life,
    model: Model,
    now: DateTime<Utc>,
    story: Vec<String>,
}

/// The kinds of changes that somebody asks for.
pub(crate) fn kinds(names: Option<&str>) -> Result<Vec<Kind>> {
    let Some(names) = names else {
        return Ok(SETTLED.to_vec());
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

impl Years {
    pub(crate) async fn begin(backend: Backend, seed: u64, kinds: &[Kind]) -> Result<Self> {
        let now = "2026-06-01T02:00:00Z".parse()?;
        let mut life = Life::new(seed, kinds);
        let syncs = [0, 1].map(|number| Sync {
            base: unit(number),
            creates: true,
            updates: true,
            missing: if life.dice.one_in(2) {
                Missing::Deactivate
            } else {
                Missing::Archive
            },
            renames: life.dice.one_in(2),
            overwrites_local: false,
            display_name: vec!["displayName", "{givenName} {sn}"],
            groups: vec![(ADMINS.to_owned(), "admin")],
            boss: Some("boss"),
        });
        let company = Company::start(backend, syncs.to_vec(), now).await?;
        let story = syncs
            .iter()
            .map(|sync| {
                format!(
                    "{}: missing {:?}, renames {}",
                    sync.base, sync.missing, sync.renames
                )
            })
            .collect();
        company.server.edit(|tree| life.begin(tree, 24));
        Ok(Self {
            company,
            life,
            model: Model::default(),
            now,
            story,
        })
    }

    pub(crate) async fn live(mut self, nights: usize) -> Result<()> {
        for night in 0..nights {
            self.now += TimeDelta::days(8);
            self.company.rollcall.set_time(self.now);
            let stamp = self.now.format("%Y%m%d%H%M%SZ").to_string();
            let changes = if night == 0 { 0 } else { self.life.dice.below(5) };
            let (life, server) = (&mut self.life, &self.company.server);
            let told = server.edit(|tree| {
                tree.set_time(&stamp);
                life.day(tree, changes)
            });
            self.story
                .extend(told.into_iter().map(|line| format!("night {night}: {line}")));
            let turns = if self.life.dice.one_in(2) { [0, 1] } else { [1, 0] };
            for number in turns {
                self.night(night, number).await?;
            }
        }
        Ok(())
    }

    /// One run of a user sync.
    async fn night(&mut self, night: usize, number: usize) -> Result<()> {
        let tree = self.company.server.edit(|tree| tree.clone());
        let sync = &self.company.syncs[number];
        let expected = self.model.run(number, sync, &tree, Pull::Complete, self.now);
        let rollcall = &mut self.company.rollcall;
        let run = rollcall.run(&sync_name(number), SyncRunMode::Apply).await?;
        let issues = rollcall.issues(&run.name).await?;
        let users = rollcall.all_users().await?;
        let events = rollcall.new_events().await?;

        let mut differs = compare::difference(
            "the run",
            compare::expected_run(&expected),
            compare::found_run(&run, &issues),
        );
        differs.extend(compare::difference(
            "the user",
            compare::expected_users(&self.model.users),
            compare::found_users(&users),
        ));
        differs.extend(compare::difference(
            "the event",
            compare::expected_events(&expected.applied),
            compare::found_events(&events),
        ));
        if differs.is_empty() {
            return Ok(());
        }
        let story = self.story.join("\n  ");
        let holds: Vec<_> = run
            .hold_reasons
            .iter()
            .map(|reason| reason.message.as_str())
            .collect();
        bail!(
            "night {night}, {}: Rollcall and the model differ\n  {}\nheld: {holds:?} by the model: {:?}\n\
             what happened:\n  {story}",
            sync_name(number),
            differs.join("\n  "),
            expected.holds,
        )
    }
}
