//! A backup that was made while people logged in is a whole Rollcall when it is restored: people log in, runs go on, and who read
//! further than the backup goes is told to begin anew, by the feeds of users' events and by the audit record.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rollcall_proto::v1;
use rollcall_proto::v1::audit_event::Kind;
use rollcall_proto::v1::audit_service_client::AuditServiceClient;
use rollcall_testkit::TestDatabase;
use system_tests::{Backend, Service};
use tonic_types::StatusExt;

use crate::balancer::{Balancer, Load};
use crate::company::BASE;
use crate::crowd::Crowd;

const PEOPLE: usize = 30;
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_online_backup_of_sqlite_is_restored() -> Result<()> {
    back_up_and_restore(Backend::Sqlite, |crowd| {
        let (from, to) = (
            crowd.system.files.path().join("rollcall.db"),
            crowd.system.files.path().join("restored.db"),
        );
        said(
            Command::new("sqlite3")
                .arg(&from)
                .arg(format!(".backup '{}'", to.display())),
        )?;
        Ok((format!("sqlite://{}?mode=rwc", to.display()), None))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dump_of_postgresql_is_restored() -> Result<()> {
    back_up_and_restore(Backend::Postgres, |crowd| {
        let (from, to) = (
            crowd.system.database.as_ref().context("no database")?,
            TestDatabase::new()?,
        );
        let dump = crowd.system.files.path().join("dump");
        said(
            Command::new("pg_dump")
                .args(["--format=custom", "--file"])
                .arg(&dump)
                .arg(from.url()),
        )?;
        said(
            Command::new("pg_restore")
                .args(["--no-owner", "--exit-on-error", "--dbname", to.url()])
                .arg(&dump),
        )?;
        Ok((to.url().to_owned(), Some(to)))
    })
    .await
}

async fn back_up_and_restore(
    backend: Backend,
    back_up: impl FnOnce(&Crowd) -> Result<(String, Option<TestDatabase>)>,
) -> Result<()> {
    let mut crowd = Crowd::start(backend, PEOPLE).await?;
    succeeds(&crowd).await?;
    let balancer = Balancer::default();
    balancer.add(&crowd.system.gateway).await?;
    let load = Load::start(&balancer, crowd.login_of(PEOPLE));
    load.goes_on(PEOPLE).await?;
    let early = Read::to_the_end(&crowd, "early").await?;
    let (url, restored) = back_up(&crowd)?;
    load.goes_on(PEOPLE).await?;
    load.end().await?;
    // What the backup does not have.
    crowd.rename_all("as nobody remembers").await?;
    succeeds(&crowd).await?;
    let late = Read::to_the_end(&crowd, "lost").await?;

    crowd.system.gateway.kill()?;
    for name in ["worker", "gateway"] {
        let config = crowd.system.config(name);
        let text = std::fs::read_to_string(&config)?;
        let lines = text.lines().map(|line| match line.starts_with("url = ") {
            true => format!("url = \"{url}\"\n"),
            false => format!("{line}\n"),
        });
        std::fs::write(&config, lines.collect::<String>())?;
    }
    crowd.replace_worker()?;
    crowd.system.gateway = Service::start("auth-gateway", &crowd.system.config("gateway"))?;
    let names = crowd.system.all_users(&crowd.tenant).await?;
    let remembered = names.iter().any(|user| user.display_name.contains("remembers"));
    ensure!(names.len() == PEOPLE && !remembered, "the users are others");
    late.has_expired(&crowd).await?;

    // It goes on from there: people log in, and other events take the places of those that are lost.
    let channel = crowd.system.gateway.channel().await?;
    let login = crowd.login_of(PEOPLE);
    for number in 0..PEOPLE {
        login(channel.clone(), number).await?;
    }
    crowd.rename_all("again").await?;
    succeeds(&crowd).await?;
    crowd.rename_all("and again").await?;
    succeeds(&crowd).await?;
    crowd.equals_the_directory().await?;
    let now = Read::to_the_end(&crowd, "later").await?;
    late.has_expired(&crowd).await?;
    early.goes_on_to(&now, &crowd).await?;
    drop((crowd, restored));
    Ok(())
}

async fn succeeds(crowd: &Crowd) -> Result<()> {
    let run = crowd.system.run(&crowd.sync(), v1::SyncRunMode::Apply).await?;
    ensure!(run.state() == v1::SyncRunState::Succeeded, "{run:?}");
    Ok(())
}

/// How far a consumer has read the feeds of users' events, and the audit record: of the tenant, and of all.
struct Read {
    cursors: Vec<(&'static str, [String; 2])>,
    mark: String,
}

impl Read {
    /// Reads up to the creation of a directory that is made for this.
    async fn to_the_end(crowd: &Crowd, mark: &str) -> Result<Self> {
        let request = v1::CreateDirectoryRequest {
            parent: crowd.tenant.clone(),
            directory_id: mark.to_owned(),
            directory: Some(v1::Directory {
                display_name: mark.to_owned(),
                hosts: vec!["ldaps://dc1.company.test".to_owned()],
                bind_dn: BASE.to_owned(),
                bind_password: "tulip".to_owned(),
                ..v1::Directory::default()
            }),
            request_id: String::new(),
        };
        let made = crowd
            .system
            .directories()
            .await?
            .create_directory(request)
            .await?;
        let mark = made.into_inner().name;
        let mut cursors = Vec::new();
        for parent in ["tenants/acme", "tenants/-"] {
            let users = user_events(crowd, parent, "").await?;
            let audit = audit_events(crowd, parent, "", &mark).await?;
            cursors.push((parent, [users, audit]));
        }
        Ok(Self { cursors, mark })
    }

    /// A consumer who goes on from here is told that it cannot.
    async fn has_expired(&self, crowd: &Crowd) -> Result<()> {
        for (parent, [users, audit]) in &self.cursors {
            let of_users = user_events(crowd, parent, users).await.map(|_| ());
            let of_audit = audit_events(crowd, parent, audit, "-").await.map(|_| ());
            for (feed, found) in [("users", of_users), ("audit", of_audit)] {
                let said = found.err().map(|error| format!("{error:?}")).unwrap_or_default();
                ensure!(said.contains("CURSOR_EXPIRED"), "{feed} of {parent}: {said}");
            }
        }
        Ok(())
    }

    /// A consumer who goes on from here comes to where another came who read everything.
    async fn goes_on_to(&self, now: &Self, crowd: &Crowd) -> Result<()> {
        for ((parent, [users, audit]), (_, [users_now, _])) in self.cursors.iter().zip(&now.cursors) {
            let came = user_events(crowd, parent, users).await?;
            ensure!(came == *users_now, "the feed of {parent} ends elsewhere");
            audit_events(crowd, parent, audit, &now.mark).await?;
        }
        Ok(())
    }
}

/// Reads the feed of users' events behind a cursor; returns where it ends.
async fn user_events(crowd: &Crowd, parent: &str, after: &str) -> Result<String> {
    let mut client = crowd.system.users().await?;
    let mut after = after.to_owned();
    loop {
        let request = v1::ListUserEventsRequest {
            parent: parent.to_owned(),
            page_size: 1000,
            after: after.clone(),
            ..v1::ListUserEventsRequest::default()
        };
        let page = client.list_user_events(request).await.map_err(told)?.into_inner();
        if page.events.is_empty() {
            return Ok(after);
        }
        after = page.next_cursor;
    }
}

/// Reads the audit record behind a cursor up to a change of this resource; returns the cursor behind it.
async fn audit_events(crowd: &Crowd, parent: &str, after: &str, until: &str) -> Result<String> {
    let mut client = AuditServiceClient::new(crowd.system.worker.channel().await?);
    let request = v1::WatchAuditEventsRequest {
        parent: parent.to_owned(),
        after: after.to_owned(),
        filter: None,
    };
    let mut stream = client
        .watch_audit_events(request)
        .await
        .map_err(told)?
        .into_inner();
    let reading = async {
        while let Some(message) = stream.message().await.map_err(told)? {
            let Some(event) = message.event else { continue };
            if matches!(event.kind, Some(Kind::Change(change)) if change.resource == until) {
                return Ok(message.cursor);
            }
        }
        anyhow::bail!("the stream ended")
    };
    tokio::time::timeout(PATIENCE, reading)
        .await
        .context("nothing comes")?
}

/// An error with its reason.
fn told(status: tonic::Status) -> anyhow::Error {
    let reason = status
        .get_error_details()
        .error_info()
        .map(|info| info.reason.clone());
    anyhow::anyhow!("{reason:?}: {status:?}")
}

fn said(command: &mut Command) -> Result<()> {
    let output = command.output()?;
    ensure!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
