//! Waiting for a run.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use rollcall_core::error::Reason;
use rollcall_proto::v1::{SyncRun, SyncRunState};

use crate::worker::{Script, rollcallctl};

const NAME: &str = "tenants/acme/userSyncs/staff/runs/1";

fn run(state: SyncRunState) -> SyncRun {
    SyncRun {
        name: NAME.to_owned(),
        state: state.into(),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_watch_that_breaks_off_is_taken_up_again() {
    use SyncRunState::{Applying, Pending, Pulling, Succeeded};
    let watches: VecDeque<_> = [
        vec![Ok(run(Pulling)), Err(Reason::ShuttingDown)],
        // A worker that is stopped ends its streams politely.
        vec![Ok(run(Pulling))],
        vec![Ok(run(Applying)), Ok(run(Succeeded))],
    ]
    .into();
    let script = Script {
        run: run(Pending),
        watches: Arc::new(Mutex::new(watches)),
        ..Script::default()
    };
    let endpoint = script.start().await;
    let arguments = [
        "run-sync",
        "tenants/acme/userSyncs/staff",
        "--endpoint",
        &endpoint,
    ];
    let ended = rollcallctl(&arguments, &[]).await;
    let line = format!("{NAME}  SUCCEEDED\n");
    assert_eq!((ended.code, ended.out), (0, line), "{}", ended.err);
    assert_eq!(*script.seen.lock().unwrap(), [NAME; 3]);
}

#[tokio::test]
async fn a_watch_that_is_refused_is_a_failure_at_once() {
    let script = Script {
        run: run(SyncRunState::Pending),
        watches: Arc::new(Mutex::new([vec![Err(Reason::CallerUnauthenticated)]].into())),
        ..Script::default()
    };
    let endpoint = script.start().await;
    let arguments = [
        "run-sync",
        "tenants/acme/userSyncs/staff",
        "--endpoint",
        &endpoint,
    ];
    let ended = rollcallctl(&arguments, &[]).await;
    assert_eq!((ended.code, ended.out.as_str()), (1, ""), "{}", ended.err);
    assert!(ended.err.contains("CALLER_UNAUTHENTICATED"), "{}", ended.err);
    assert_eq!(*script.seen.lock().unwrap(), [NAME]);
}
