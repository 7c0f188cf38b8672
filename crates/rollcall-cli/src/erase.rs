//! `erase-user`: erases the personal data of one person everywhere. The gateway carries it out.

use std::io::Write;

use rollcall_proto::v1::EraseUserRequest;

use crate::connect::Client;
use crate::failure::Failure;
use crate::verdict::Verdict;

/// Erases the person, and says whether something may still be written about them.
pub(crate) async fn run(client: &Client, name: String, exclude: bool) -> Result<Verdict, Failure> {
    if !client.tells_why() {
        let message = "an erasure cannot be taken back: tell why with --reason, for the audit record";
        return Err(Failure::Local(message.to_owned()));
    }
    let request = client.request(EraseUserRequest {
        name: name.clone(),
        exclude,
        ..Default::default()
    });
    let erased = client.users().erase_user(request).await?.into_inner();
    let mut out = std::io::stdout();
    match erased.run_under_way {
        false => writeln!(out, "{name}: erased")?,
        true => writeln!(
            out,
            "{name}: erased; what a run under way may still write about them is taken out when it has ended"
        )?,
    }
    Ok(Verdict::Well)
}
