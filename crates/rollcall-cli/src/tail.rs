//! `audit tail`: the audit record as lines of JSON, without gaps.
//!
//! The position is noted before a few events are written and again afterwards. After a stop in between, these events
//! are written again and marked. So a reader gets each event at least once, and recognises a repeated one by its name.

mod state;

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use rollcall_proto::audit_event_line;
use rollcall_proto::v1::{WatchAuditEventsRequest, WatchAuditEventsResponse};
use tonic::{Code, Request, Status, Streaming};
use tonic_types::StatusExt;

use crate::connect::Client;
use crate::failure::Failure;
use crate::run::is_passing;
use crate::verdict::Verdict;
use state::State;

/// Most events that are written between two notes of how far it came.
const BATCH: usize = 256;
/// Time between a stream that broke off and the next.
const PAUSE: Duration = Duration::from_secs(1);

/// Follows the record until it is stopped.
pub(crate) async fn run(client: &Client, parent: String, state: &Path) -> Result<Verdict, Failure> {
    let mut state = State::open(state)?;
    let mut told_of = None;
    if state.may_repeat() {
        eprintln!(
            "rollcallctl: it was stopped while it wrote: events that were written already may come again, with \
            \"maybe_repeated\""
        );
        // The last line may have been cut off.
        writeln!(std::io::stdout())?;
    }
    loop {
        match follow(client, &parent, &mut state, &mut told_of).await {
            Ok(()) => {}
            Err(Failure::Call(status)) if is_passing(&status) => {
                if told_of.replace(status.code()) != Some(status.code()) {
                    let status = Failure::Call(status);
                    eprintln!("rollcallctl: the stream broke off and is taken up again: {status}");
                }
            }
            Err(Failure::Call(status)) if is_expired(&status) => {
                return Err(Failure::Local(format!(
                    "{}. To go on with the oldest event that is kept, remove {}",
                    status.message(),
                    state.path().display()
                )));
            }
            Err(other) => return Err(other),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Returns when the worker ends the stream in good order.
async fn follow(
    client: &Client,
    parent: &str,
    state: &mut State,
    told_of: &mut Option<Code>,
) -> Result<(), Failure> {
    let request = Request::new(WatchAuditEventsRequest {
        parent: parent.to_owned(),
        after: state.cursor().to_owned(),
        filter: None,
    });
    let mut stream = client.audit().watch_audit_events(request).await?.into_inner();
    while let Some(batch) = next_batch(&mut stream).await? {
        *told_of = None;
        write(&batch, state)?;
    }
    Ok(())
}

/// The events that have arrived, at least one; `None` at the end of the stream.
async fn next_batch(
    stream: &mut Streaming<WatchAuditEventsResponse>,
) -> Result<Option<Vec<WatchAuditEventsResponse>>, Status> {
    let Some(first) = stream.message().await? else {
        return Ok(None);
    };
    let mut batch = vec![first];
    while batch.len() < BATCH {
        match tokio::time::timeout(Duration::ZERO, stream.message()).await {
            Ok(Ok(Some(message))) => batch.push(message),
            // The next stream will report the error.
            Ok(Ok(None) | Err(_)) | Err(_) => break,
        }
    }
    Ok(Some(batch))
}

fn write(batch: &[WatchAuditEventsResponse], state: &mut State) -> Result<(), Failure> {
    let Some(last) = batch.last() else {
        return Ok(());
    };
    let events = || batch.iter().filter(|message| message.event.is_some());
    if events().next().is_none() {
        return state.written(&last.cursor);
    }
    state.writing(events().map(|message| message.cursor.as_str()))?;
    let mut lines = String::new();
    for message in events() {
        let Some(event) = &message.event else {
            continue;
        };
        let besides: &[_] = match state.may_repeat_at(&message.cursor) {
            true => &[("maybe_repeated", true)],
            false => &[],
        };
        let line = audit_event_line(event, besides);
        let line = line.ok_or_else(|| Failure::Local("an event cannot be written as JSON".to_owned()))?;
        lines.push_str(&line);
        lines.push('\n');
    }
    let mut out = std::io::stdout().lock();
    out.write_all(lines.as_bytes())?;
    out.flush()?;
    state.written(&last.cursor)
}

fn is_expired(status: &Status) -> bool {
    status
        .get_details_error_info()
        .is_some_and(|info| info.reason == "CURSOR_EXPIRED")
}
