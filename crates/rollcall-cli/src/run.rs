//! Runs: start, list, show, apply, cancel.

use std::io::Write;

use rollcall_proto::v1::{
    ApplySyncRunRequest, CancelSyncRunRequest, GetSyncRunRequest, ListSyncRunChangesRequest,
    ListSyncRunIssuesRequest, ListSyncRunsRequest, RunUserSyncRequest, SyncRun, SyncRunMode,
    WatchSyncRunRequest,
};
use tonic::Request;

use crate::connect::Client;
use crate::failure::Failure;
use crate::{Verdict, show};

const PAGE: i32 = 1000;

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

/// Watches a run until it rests, and prints it then. A watch that the worker ends early, since it stops, is
/// taken up again by the caller; the run itself goes on elsewhere.
async fn wait(client: &Client, mut run: SyncRun) -> Result<Verdict, Failure> {
    if !show::is_at_rest(&run) {
        let request = Request::new(WatchSyncRunRequest {
            name: run.name.clone(),
        });
        let mut progress = client.sync_runs().watch_sync_run(request).await?.into_inner();
        while let Some(answer) = progress.message().await? {
            run = answer.sync_run.unwrap_or(run);
            if show::is_at_rest(&run) {
                break;
            }
        }
    }
    print(&show::run(&run))?;
    if show::is_at_rest(&run) {
        return Ok(show::verdict(&run));
    }
    Err(Failure::Local(format!(
        "the worker stopped telling about {}, which may still go on",
        run.name
    )))
}

fn print(line: &str) -> Result<(), Failure> {
    Ok(writeln!(std::io::stdout().lock(), "{line}")?)
}
