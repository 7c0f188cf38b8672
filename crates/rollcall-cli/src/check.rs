//! Checks of directories and user syncs.

use std::io::Write;

use rollcall_proto::v1::{
    CheckConnectionRequest, CheckReport, CheckUserSyncRequest, check_connection_request,
    check_user_sync_request,
};

use crate::connect::Client;
use crate::failure::Failure;
use crate::resource::tenant_of;
use crate::show;
use crate::verdict::Verdict;

/// Checks a stored directory, stage by stage.
pub(crate) async fn connection(client: &Client, directory: String) -> Result<Verdict, Failure> {
    let parent = tenant_of(&directory)?;
    let target = Some(check_connection_request::Target::Directory(directory));
    let request = client.request(CheckConnectionRequest { parent, target });
    let answer = client.directories().check_connection(request).await?.into_inner();
    print_report(answer.report)
}

/// Checks a stored user sync, and shows some of its entries.
pub(crate) async fn user_sync(
    client: &Client,
    user_sync: String,
    sample_size: i32,
) -> Result<Verdict, Failure> {
    let parent = tenant_of(&user_sync)?;
    let target = Some(check_user_sync_request::Target::UserSync(user_sync));
    let request = client.request(CheckUserSyncRequest {
        parent,
        target,
        sample_size,
    });
    let answer = client.user_syncs().check_user_sync(request).await?.into_inner();
    let verdict = print_report(answer.report)?;
    let mut out = std::io::stdout().lock();
    for sample in &answer.samples {
        writeln!(out, "SAMPLE  {}", show::sample(sample))?;
        for issue in &sample.issues {
            writeln!(out, "        {}", show::issue(issue))?;
        }
    }
    Ok(verdict)
}

fn print_report(report: Option<CheckReport>) -> Result<Verdict, Failure> {
    let report = report.unwrap_or_default();
    let mut out = std::io::stdout().lock();
    for stage in &report.stages {
        writeln!(out, "{}", show::stage(stage))?;
    }
    Ok(show::check_verdict(report.outcome()))
}
