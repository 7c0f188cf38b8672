//! `audit verify`: whether the sealed record is as it was sealed.

use std::io::Write;
use std::path::Path;

use rollcall_runtime::config::Loaded;
use rollcall_runtime::exit::Failure;
use rollcall_service::configuration::{StoreSecrets, store_options};
use rollcall_store::{AuditHead, Fault, Store, StoreError, Verification};
use serde_json::{Value, json};

use crate::config::WorkerSettings;

/// Reads the record of the store that the configuration names, and writes what is wrong with it and its newest head.
///
/// # Errors
/// Faults were found; or settings, a store or a file that cannot be used.
pub async fn run(loaded: Loaded<WorkerSettings>, head: Option<&Path>) -> Result<(), Failure> {
    let kept = head.map(read_head).transpose()?;
    let shared = loaded.shared;
    let options = store_options(&shared.store, &shared.users);
    let secrets = StoreSecrets::read(shared.store, shared.keyring)?;
    let store = Store::open(secrets.database_url.expose(), secrets.keyring, options)
        .await
        .map_err(Failure::because)?;
    let verified = verify(&store, kept.as_ref()).await;
    store.close().await;
    verified
}

async fn verify(store: &Store, kept: Option<&AuditHead>) -> Result<(), Failure> {
    let mut faults = 0_u64;
    let told = |fault| {
        faults += 1;
        // If nobody reads the output, the exit code still says it.
        let _ = writeln!(std::io::stdout(), "{}", in_words(&fault));
    };
    let found = store.verify_audit(kept, told).await;
    let Verification { rows, erased, head } =
        found.map_err(|error| match matches!(error, StoreError::CursorExpired) {
            true => Failure::because("retention deleted what was being read: start the verification again"),
            false => Failure::because(error),
        })?;
    if faults > 0 {
        let message = format!("the audit record is not what was sealed: {faults} faults in {rows} events");
        return Err(Failure::because(message));
    }
    let line = json!({
        "position": head.position,
        "hash": head.hex(),
        "events": rows,
        "erased": erased,
    });
    writeln!(std::io::stdout(), "{line}").map_err(Failure::because)
}

/// A head as this command writes it, or as the log tells it.
fn read_head(path: &Path) -> Result<AuditHead, Failure> {
    let because = |why: String| Failure::because(format!("{}: {why}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| because(error.to_string()))?;
    parse_head(&text).ok_or_else(|| because("is not the head of an audit record".to_owned()))
}

fn parse_head(text: &str) -> Option<AuditHead> {
    let told: Value = serde_json::from_str(text.trim()).ok()?;
    let fields = told.get("fields").unwrap_or(&told);
    let field = |name: &str| fields.get(name).or_else(|| fields.get(format!("audit.{name}")));
    AuditHead::parse(field("position")?.as_i64()?, field("hash")?.as_str()?)
}

fn in_words(fault: &Fault) -> String {
    match fault {
        Fault::Missing { first, last } if first == last => format!("the event at position {first} is gone"),
        Fault::Missing { first, last } => format!("the events at positions {first} to {last} are gone"),
        Fault::Changed { position } => format!(
            "the event at position {position} is not the one that was sealed there, or does not follow the one before it"
        ),
        Fault::PayloadChanged { position } => format!(
            "what is personal in the event at position {position} was neither erased nor is what was sealed"
        ),
        Fault::Start { position } => {
            format!("the record starts behind position {position}, but retention has not left it so")
        }
        Fault::Head { position } => {
            format!("the newest event is not the one that was sealed last, at position {position}")
        }
        Fault::KeptHead { position } => format!(
            "the head that was kept, at position {position}, is not in this record: it was cut off there or rewritten"
        ),
        Fault::KeptHeadTooOld { position } => {
            format!(
                "the head that was kept, at position {position}, is older than all that retention has left"
            )
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_head_is_read_from_what_is_written_and_from_the_log() {
        let hash = "ab".repeat(32);
        for text in [
            format!("{{\"position\":7,\"hash\":\"{hash}\",\"events\":7,\"erased\":0}}\n"),
            format!("{{\"level\":\"INFO\",\"fields\":{{\"audit.position\":7,\"audit.hash\":\"{hash}\"}}}}"),
            format!("{{\"level\":\"INFO\",\"audit.position\":7,\"audit.hash\":\"{hash}\"}}"),
        ] {
            let head = parse_head(&text).unwrap();
            assert_eq!((head.position, head.hex()), (7, hash.clone()), "{text}");
        }
        for text in [
            "",
            "{}",
            "{\"position\":7,\"hash\":\"xy\"}",
            "{\"position\":7,\"hash\":\"é\"}",
        ] {
            assert!(parse_head(text).is_none(), "{text}");
        }
    }
}
