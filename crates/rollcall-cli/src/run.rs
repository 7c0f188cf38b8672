//! Runs: start, list, show, apply, cancel.

use std::io::Write;

use rollcall_proto::v1::{
    ApplySyncRunRequest, CancelSyncRunRequest, GetSyncRunRequest, ListSyncRunChangesRequest,
    ListSyncRunIssuesRequest, ListSyncRunsRequest, RunUserSyncRequest, SyncRun, SyncRunMode,
    WatchSyncRunRequest,
};
use tokio::time::{Duration, Instant};
use tonic::{Code, Request, Status};

use crate::connect::Client;
use crate::failure::Failure;
use crate::show;
use crate::verdict::Verdict;

const PAGE: i32 = 1000;
/// Within this time a replaced worker is back, or another one has taken the run over.
const PATIENCE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_secs(1);

/// What a run is for, by the options of the command line.
pub(crate) fn mode(preview: bool, relink: bool) -> SyncRunMode {
    match (preview, relink) {
        (_, true) => SyncRunMode::Relink,
        (true, false) => SyncRunMode::Preview,
        (false, false) => SyncRunMode::Apply,
    }
}

/// Starts a run and waits for it.
pub(crate) async fn start(client: &Client, name: String, mode: SyncRunMode) -> Result<Verdict, Failure> {
    let message = RunUserSyncRequest {
        name,
        mode: mode.into(),
        request_id: String::new(),
    };
    let run = client
        .user_syncs()
        .run_user_sync(client.request(message))
        .await?
        .into_inner();
    wait(client, run).await
}

/// Releases a plan and waits for its end.
pub(crate) async fn apply(client: &Client, name: String) -> Result<Verdict, Failure> {
    let request = client.request(ApplySyncRunRequest { name });
    let run = client.sync_runs().apply_sync_run(request).await?.into_inner();
    wait(client, run).await
}

/// Cancels a run.
pub(crate) async fn cancel(client: &Client, name: String) -> Result<Verdict, Failure> {
    let request = client.request(CancelSyncRunRequest { name });
    let run = client.sync_runs().cancel_sync_run(request).await?.into_inner();
    print(&show::run(&run))?;
    Ok(Verdict::Well)
}

/// Lists the newest runs.
pub(crate) async fn list(client: &Client, parent: String, limit: i32) -> Result<Verdict, Failure> {
    let message = ListSyncRunsRequest {
        parent,
        page_size: limit,
        ..Default::default()
    };
    let answer = client
        .sync_runs()
        .list_sync_runs(client.request(message))
        .await?
        .into_inner();
    for run in &answer.sync_runs {
        print(&show::run(run))?;
    }
    Ok(Verdict::Well)
}

/// Shows a run with all its changes and issues.
pub(crate) async fn show(client: &Client, name: String) -> Result<Verdict, Failure> {
    let request = client.request(GetSyncRunRequest { name: name.clone() });
    let run = client.sync_runs().get_sync_run(request).await?.into_inner();
    print(&show::run(&run))?;

    let mut page_token = String::new();
    loop {
        let parent = name.clone();
        let message = ListSyncRunChangesRequest {
            parent,
            page_size: PAGE,
            page_token,
            ..Default::default()
        };
        let page = client
            .sync_runs()
            .list_sync_run_changes(client.request(message))
            .await?
            .into_inner();
        for change in &page.changes {
            print(&show::change(change))?;
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    loop {
        let parent = name.clone();
        let message = ListSyncRunIssuesRequest {
            parent,
            page_size: PAGE,
            page_token,
            ..Default::default()
        };
        let page = client
            .sync_runs()
            .list_sync_run_issues(client.request(message))
            .await?
            .into_inner();
        for issue in &page.issues {
            print(&show::issue(issue))?;
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(show::verdict(&run));
        }
    }
}

/// Watches a run until it has ended or waits, then prints it. A run outlives a worker that ends. So a watch that ends
/// early is started again, until there was no news for [`PATIENCE`].
async fn wait(client: &Client, mut run: SyncRun) -> Result<Verdict, Failure> {
    let mut told = Instant::now();
    while !show::is_at_rest(&run) {
        let broken = match watch(client, &mut run, &mut told).await {
            Ok(()) => None,
            Err(status) if !is_passing(&status) => return Err(status.into()),
            Err(status) => Some(status),
        };
        if show::is_at_rest(&run) {
            break;
        }
        if told.elapsed() >= PATIENCE {
            let name = &run.name;
            let message = format!("the worker stopped telling about {name}, which may still go on");
            return Err(broken.map_or(Failure::Local(message), Failure::from));
        }
        tokio::time::sleep(PAUSE).await;
    }
    print(&show::run(&run))?;
    Ok(show::verdict(&run))
}

async fn watch(client: &Client, run: &mut SyncRun, told: &mut Instant) -> Result<(), Status> {
    let request = Request::new(WatchSyncRunRequest {
        name: run.name.clone(),
    });
    let mut progress = client.sync_runs().watch_sync_run(request).await?.into_inner();
    while let Some(answer) = progress.message().await? {
        *told = Instant::now();
        if let Some(now) = answer.sync_run {
            *run = now;
        }
        if show::is_at_rest(run) {
            break;
        }
    }
    Ok(())
}

/// True if the worker stops or is being replaced, or the connection to it broke.
pub(crate) fn is_passing(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable | Code::Cancelled | Code::Unknown | Code::Internal
    )
}

fn print(line: &str) -> Result<(), Failure> {
    Ok(writeln!(std::io::stdout().lock(), "{line}")?)
}
