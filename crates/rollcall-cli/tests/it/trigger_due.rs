//! What the CronJob sees.

use rollcall_core::error::Reason;
use rollcall_proto::v1::{RunDueUserSyncsResponse, SyncRun, SyncRunCounts, SyncRunFailure, SyncRunState};

use crate::worker::{Script, rollcallctl};

fn ended(state: SyncRunState) -> RunDueUserSyncsResponse {
    RunDueUserSyncsResponse {
        user_sync: "tenants/acme/userSyncs/staff".to_owned(),
        sync_run: Some(SyncRun {
            name: "tenants/acme/userSyncs/staff/runs/1".to_owned(),
            state: state.into(),
            counts: Some(SyncRunCounts {
                entries: 12,
                created: 2,
                ..Default::default()
            }),
            ..Default::default()
        }),
        failure: None,
    }
}

fn not_started() -> RunDueUserSyncsResponse {
    RunDueUserSyncsResponse {
        user_sync: "tenants/acme/userSyncs/guests".to_owned(),
        sync_run: None,
        failure: Some(SyncRunFailure {
            message: "the directory is disabled".to_owned(),
        }),
    }
}

async fn check(due: Vec<RunDueUserSyncsResponse>, ends_with: Option<Reason>, code: i32, out: &str) {
    let script = Script {
        due,
        ends_with,
        ..Script::default()
    };
    let endpoint = script.start().await;
    let ended = rollcallctl(&["--endpoint", &endpoint, "trigger-due"], &[]).await;
    assert_eq!((ended.code, ended.out.as_str()), (code, out), "{}", ended.err);
    assert_eq!(*script.seen.lock().unwrap(), ["tenants/-"]);
}

const WELL: &str = "tenants/acme/userSyncs/staff/runs/1  SUCCEEDED  entries=12  created=2\n";
const HELD: &str = "tenants/acme/userSyncs/staff/runs/1  HELD  entries=12  created=2\n";
const FAILED: &str = "tenants/acme/userSyncs/guests  NOT STARTED  the directory is disabled\n";

#[tokio::test]
async fn the_exit_code_tells_the_worst_of_all_syncs() {
    use SyncRunState::{Held, Succeeded};
    let attention = Some(Reason::SyncsNeedAttention);
    check(vec![], None, 0, "").await;
    check(
        vec![ended(Succeeded), ended(Succeeded)],
        None,
        0,
        &format!("{WELL}{WELL}"),
    )
    .await;
    check(
        vec![ended(Held), ended(Succeeded)],
        attention,
        2,
        &format!("{HELD}{WELL}"),
    )
    .await;
    check(
        vec![ended(Succeeded), not_started()],
        attention,
        1,
        &format!("{WELL}{FAILED}"),
    )
    .await;
    check(
        vec![not_started(), ended(Held)],
        attention,
        1,
        &format!("{FAILED}{HELD}"),
    )
    .await;
}

#[tokio::test]
async fn a_call_that_breaks_off_is_a_failure_whatever_came_before() {
    check(
        vec![ended(SyncRunState::Succeeded)],
        Some(Reason::StoreUnavailable),
        1,
        WELL,
    )
    .await;
    check(
        vec![ended(SyncRunState::Held)],
        Some(Reason::StoreUnavailable),
        1,
        HELD,
    )
    .await;
    // A summary that no line explains is not swallowed.
    check(
        vec![ended(SyncRunState::Succeeded)],
        Some(Reason::SyncsNeedAttention),
        1,
        WELL,
    )
    .await;
}

#[tokio::test]
async fn one_tenant_can_be_chosen_and_the_token_is_sent() {
    let script = Script::default();
    let endpoint = script.start().await;
    let arguments = ["trigger-due", "tenants/acme", "--endpoint", &endpoint];
    let ended = rollcallctl(&arguments, &[("ROLLCALL_TOKEN", "sesame\n")]).await;
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert_eq!(*script.seen.lock().unwrap(), ["Bearer sesame", "tenants/acme"]);
}
