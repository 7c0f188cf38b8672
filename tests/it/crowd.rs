//! A system with a directory full of people that changes as a whole, and the question whether the users are
//! what the directory shows.

use std::collections::BTreeMap;
use std::ops::Range;
use std::pin::Pin;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rollcall_proto::v1::auth_service_client::AuthServiceClient;
use rollcall_proto::v1::authenticate_response::Outcome;
use rollcall_proto::v1::{self, SyncRunState};
use rollcall_testkit::{Ldif, Slapd, TestCa, wait_for};
use system_tests::{Backend, Release, Service, System};
use tokio::task::JoinHandle;
use tonic::transport::Channel;

use crate::company::{BASE, people_dn, person};

const REST_LIMIT: Duration = Duration::from_secs(60);

/// A login under way.
pub(crate) type Login = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

pub(crate) struct Crowd {
    pub(crate) slapd: Slapd,
    pub(crate) system: System,
    pub(crate) tenant: String,
}

impl Crowd {
    /// People named `p0000`, `p0001` and so on, and a user sync of all of them that has not run.
    pub(crate) async fn start(backend: Backend, people: usize) -> Result<Self> {
        Self::start_release(Release::This, backend, people).await
    }

    pub(crate) async fn start_release(release: Release, backend: Backend, people: usize) -> Result<Self> {
        let ca = TestCa::new()?;
        let mut ldif = Ldif::new();
        ldif.entry(&people_dn())
            .attribute("objectClass", "organizationalUnit")
            .attribute("ou", "People");
        for number in 0..people {
            let uid = uid(number);
            person(&mut ldif, &uid, &format!("{uid}@company.test"), "secret");
        }
        let builder = Slapd::builder()
            .base_dn(BASE)
            .certificate(ca.loopback_server()?)
            .ldif(ldif.as_str());
        let slapd = tokio::task::spawn_blocking(move || builder.start()).await??;
        let system = System::start_release(release, backend, &[slapd.tls_address().port()]).await?;
        let tenant = system.connect("acme", &slapd, &ca, &people_dn()).await?;
        Ok(Self {
            slapd,
            system,
            tenant,
        })
    }

    pub(crate) fn sync(&self) -> String {
        format!("{}/userSyncs/staff", self.tenant)
    }

    /// A call that logs one of these people in, another one by each number.
    pub(crate) fn login_of(
        &self,
        people: usize,
    ) -> impl Fn(Channel, usize) -> Login + Clone + Send + 'static {
        let tenant = self.tenant.clone();
        move |channel, number| {
            let request = v1::AuthenticateRequest {
                tenant: tenant.clone(),
                login: uid(number % people),
                password: "secret".to_owned(),
                ..v1::AuthenticateRequest::default()
            };
            Box::pin(async move {
                let answer = AuthServiceClient::new(channel).authenticate(request).await?;
                match answer.into_inner().outcome {
                    Some(Outcome::Authenticated(_)) => Ok(()),
                    other => anyhow::bail!("{other:?}"),
                }
            })
        }
    }

    /// Starts a run and does not wait for it.
    pub(crate) async fn start_run(&self) -> Result<String> {
        let request = v1::RunUserSyncRequest {
            name: self.sync(),
            mode: v1::SyncRunMode::Apply.into(),
            ..v1::RunUserSyncRequest::default()
        };
        Ok(self
            .system
            .user_syncs()
            .await?
            .run_user_sync(request)
            .await?
            .into_inner()
            .name)
    }

    /// Kills the worker and starts another one.
    pub(crate) fn replace_worker(&mut self) -> Result<()> {
        self.system.worker.kill()?;
        self.system.worker = Service::start("sync-worker", &self.system.config("worker"))?;
        Ok(())
    }

    async fn get_run(&self, run: &str) -> Result<v1::SyncRun> {
        let request = v1::GetSyncRunRequest { name: run.to_owned() };
        Ok(self
            .system
            .runs()
            .await?
            .get_sync_run(request)
            .await?
            .into_inner())
    }

    pub(crate) async fn state(&self, run: &str) -> Result<SyncRunState> {
        Ok(self.get_run(run).await?.state())
    }

    /// Waits until a run is in a state.
    pub(crate) async fn reaches(&self, run: &str, state: SyncRunState) -> Result<()> {
        let reached = async || self.state(run).await.is_ok_and(|now| now == state);
        wait_for(&format!("the run to be {state:?}"), REST_LIMIT, reached).await
    }

    /// Waits until a run ended or waits for a person, whichever process carries it on.
    pub(crate) async fn rest(&self, run: &str) -> Result<v1::SyncRun> {
        let rests = async || {
            let run = self.get_run(run).await;
            let waits = [SyncRunState::Planned, SyncRunState::Held];
            run.is_ok_and(|run| run.end_time.is_some() || waits.contains(&run.state()))
        };
        wait_for("the run to rest", REST_LIMIT, rests).await?;
        self.get_run(run).await
    }

    pub(crate) async fn list_runs(&self) -> Result<Vec<v1::SyncRun>> {
        let request = v1::ListSyncRunsRequest {
            parent: self.sync(),
            ..Default::default()
        };
        Ok(self
            .system
            .runs()
            .await?
            .list_sync_runs(request)
            .await?
            .into_inner()
            .sync_runs)
    }

    /// Changes everybody's display name.
    pub(crate) async fn rename_all(&self, name: &str) -> Result<()> {
        let people = self.in_directory()?;
        let changes = people.keys().map(|uid| {
            let dn = format!("uid={uid},{}", people_dn());
            format!("dn: {dn}\nchangetype: modify\nreplace: displayName\ndisplayName: {uid} {name}\n\n")
        });
        self.slapd.modify(&changes.collect::<String>())?;
        Ok(())
    }

    pub(crate) async fn delete(&self, numbers: Range<usize>) -> Result<()> {
        let changes =
            numbers.map(|number| format!("dn: uid={},{}\nchangetype: delete\n\n", uid(number), people_dn()));
        self.slapd.modify(&changes.collect::<String>())?;
        Ok(())
    }

    /// Holds a lock on a table for a while, and returns when it has it.
    pub(crate) async fn lock_table(&self, table: &str, time: Duration) -> Result<JoinHandle<Result<String>>> {
        let database = self.system.database.as_ref().context("no server")?;
        let url = database.url().to_owned();
        let sql = format!(
            "begin; lock table {table} in exclusive mode; select pg_sleep({})",
            time.as_secs_f64()
        );
        let locking = tokio::task::spawn_blocking(move || psql(&url, &sql));
        let query = format!(
            "select count(*) from pg_locks where granted and mode = 'ExclusiveLock' and relation = '{table}'::regclass"
        );
        let locked = async || database.sql(&query).is_ok_and(|count| count.trim() != "0");
        wait_for("the lock", REST_LIMIT, locked).await?;
        Ok(locking)
    }

    /// Executes SQL beside the services.
    pub(crate) fn sql(&self, sql: &str) -> Result<()> {
        if let Some(database) = &self.system.database {
            return database.sql(sql).map(drop);
        }
        let script = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=3).execute(sys.argv[2])";
        let output = std::process::Command::new("/usr/bin/python3")
            .args(["-I", "-c", script])
            .arg(self.system.files.path().join("rollcall.db"))
            .arg(sql)
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{said}");
        Ok(())
    }

    /// How many events there are.
    pub(crate) async fn events(&self) -> Result<usize> {
        let mut client = self.system.users().await?;
        let (mut count, mut after) = (0, String::new());
        loop {
            let request = v1::ListUserEventsRequest {
                parent: self.tenant.clone(),
                page_size: 1000,
                after,
                ..v1::ListUserEventsRequest::default()
            };
            let page = client.list_user_events(request).await?.into_inner();
            if page.events.is_empty() {
                return Ok(count);
            }
            count += page.events.len();
            after = page.next_cursor;
        }
    }

    /// Those people who are in the directory, with display names, as `ldapsearch` shows it.
    pub(crate) fn in_directory(&self) -> Result<BTreeMap<String, String>> {
        let found = self
            .slapd
            .search(&["-b", &people_dn(), "(uid=p*)", "uid", "displayName"])?;
        let value = |entry: &str, name: &str| {
            let mut lines = entry.lines();
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": ").map(str::to_owned))
        };
        let entries = found.split("\n\n").filter(|entry| !entry.trim().is_empty());
        let people = entries.map(|entry| Some((value(entry, "uid")?, value(entry, "displayName")?)));
        people.collect::<Option<_>>().context("an entry lacks a name")
    }

    /// The users who may log in are those in the directory.
    pub(crate) async fn equals_the_directory(&self) -> Result<()> {
        let users = self.system.all_users(&self.tenant).await?;
        let active = users
            .into_iter()
            .filter(|user| user.state() == v1::UserState::Active);
        let active: BTreeMap<_, _> = active.map(|user| (user.login, user.display_name)).collect();
        let people = self.in_directory()?;
        let different = people
            .iter()
            .filter(|(uid, name)| active.get(*uid) != Some(*name))
            .count();
        ensure!(
            active == people,
            "{} users, {} people, {different} people are missing or different",
            active.len(),
            people.len()
        );
        Ok(())
    }
}

pub(crate) fn uid(number: usize) -> String {
    format!("p{number:04}")
}

pub(crate) fn psql(url: &str, sql: &str) -> Result<String> {
    let output = std::process::Command::new("psql")
        .args(["-X", "-q", "-d", url, "-c", sql])
        .output()?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
