//! What the CronJob runs: every due user sync, one line each.

use std::io::Write;

use rollcall_proto::status::reason;
use rollcall_proto::v1::{RunDueUserSyncsRequest, RunDueUserSyncsResponse};
use tonic::{Code, Request};

use crate::connect::Client;
use crate::failure::Failure;
use crate::show;
use crate::verdict::Verdict;

/// Runs what is due and waits for the end.
pub(crate) async fn run(client: &Client, tenant: String) -> Result<Verdict, Failure> {
    let request = Request::new(RunDueUserSyncsRequest { parent: tenant });
    let mut answers = client
        .user_syncs()
        .run_due_user_syncs(request)
        .await?
        .into_inner();
    let mut worst = Verdict::Well;
    loop {
        match answers.message().await {
            Ok(Some(answer)) => {
                worst = worst.max(verdict(&answer));
                writeln!(std::io::stdout().lock(), "{}", line(&answer))?;
            }
            Ok(None) => return Ok(worst),
            // The call says again what the lines said.
            Err(status) if is_summary(&status) && worst != Verdict::Well => return Ok(worst),
            Err(status) => return Err(status.into()),
        }
    }
}

fn verdict(answer: &RunDueUserSyncsResponse) -> Verdict {
    answer.sync_run.as_ref().map_or(Verdict::Failed, show::verdict)
}

fn line(answer: &RunDueUserSyncsResponse) -> String {
    match (&answer.sync_run, &answer.failure) {
        (Some(run), _) => show::run(run),
        (None, Some(failure)) => {
            format!(
                "{}  NOT STARTED  {}",
                show::clean(&answer.user_sync),
                show::clean(&failure.message)
            )
        }
        (None, None) => format!("{}  NOT STARTED", show::clean(&answer.user_sync)),
    }
}

fn is_summary(status: &tonic::Status) -> bool {
    status.code() == Code::FailedPrecondition
        && reason(status).is_some_and(|reason| reason.as_str() == "SYNCS_NEED_ATTENTION")
}
