//! Sentences about what a check of a connection found.

use chrono::{DateTime, TimeDelta, Utc};
use rollcall_core::check::{StageKind, StageResult};
use rollcall_core::dialect::Dialect;
use rollcall_core::directory::DirectorySettings;
use rollcall_core::security_review::CERTIFICATE_NOTICE;
use rollcall_core::wording::counted;

use super::lockout::Lockout;
use super::privilege::Privilege;
use super::stages::Stages;
use crate::root_dse::RootDse;
use crate::tls::{CertificateFacts, client_certificate_end};

const PAGED_RESULTS: &str = "1.2.840.113556.1.4.319";
/// Most pieces of evidence that a message holds.
const MAX_EVIDENCE: usize = 5;

pub(super) fn lockout(lockout: Option<Lockout>, dialect: Dialect, stages: &mut Stages) {
    let kind = StageKind::RootDse;
    match lockout {
        None => stages.add(
            kind,
            StageResult::Pass,
            "The directory's lockout threshold cannot be read.",
            dialect.row().lockout_hint,
        ),
        Some(Lockout { threshold: 0, .. }) => stages.pass(kind, "The directory never locks an account."),
        // No soft lock can have a lower limit.
        Some(Lockout { threshold: 1, .. }) => stages.warn(
            kind,
            "The directory locks an account after a single wrong password: whoever guesses once locks it.",
            "Let the directory allow at least 3 wrong passwords. Until then nothing that Rollcall counts can keep a guess \
             from locking an account there.",
        ),
        Some(Lockout { threshold, window }) => {
            let within = match window {
                Some(window) => {
                    let minutes = window.as_secs().div_ceil(60);
                    format!(" within {}", counted(minutes, "minute", "minutes"))
                }
                None => String::new(),
            };
            let message =
                format!("The directory locks an account after {threshold} wrong passwords{within}.");
            stages.add(kind, StageResult::Pass, message, dialect.row().lockout_note);
        }
    }
}

pub(super) fn privilege(privilege: &Privilege, stages: &mut Stages) {
    let kind = StageKind::Privilege;
    match privilege {
        Privilege::ReadOnly { objects } => {
            stages.pass(
                kind,
                format!("No right to write was found on {objects} sampled objects."),
            );
        }
        Privilege::TooPowerful { evidence } => {
            let shown: Vec<&str> = evidence.iter().take(MAX_EVIDENCE).map(String::as_str).collect();
            let more = match evidence.len().saturating_sub(MAX_EVIDENCE) {
                0 => String::new(),
                more => format!("; and {more} more"),
            };
            stages.warn(
                kind,
                format!("The bind account is too powerful: {}{more}.", shown.join("; ")),
                "Use an account that can only read, and not read passwords: Rollcall never writes to a directory.",
            );
        }
        Privilege::Unknown => stages.add(
            kind,
            StageResult::Skipped,
            "Unknown: this kind of server does not tell what an account may do. Nothing shows that it can do more \
             than read.",
            "Make sure in the server's access rules that the bind account can only read.",
        ),
    }
}

/// The stage about Rollcall's own certificate, if there is one: a server turns away one that has ended.
pub(super) fn client_certificate(settings: &DirectorySettings, now: DateTime<Utc>, stages: &mut Stages) {
    let pem = settings.client_certificate.as_deref();
    let Some(end) = pem.and_then(client_certificate_end) else {
        return;
    };
    let (day, hint) = (
        end.date_naive(),
        "Replace client_certificate and client_private_key before the server turns them away.",
    );
    match end - now {
        left if left <= TimeDelta::zero() => {
            stages.warn(
                StageKind::Parse,
                format!("The client certificate has expired on {day}."),
                hint,
            );
        }
        left if left < CERTIFICATE_NOTICE => {
            stages.warn(
                StageKind::Parse,
                format!("The client certificate expires on {day}."),
                hint,
            );
        }
        _ => stages.pass(
            StageKind::Parse,
            format!("The client certificate is valid until {day}."),
        ),
    }
}

pub(super) fn root_dse(root: &RootDse, stages: &mut Stages) {
    let kind = root.dialect.row().name;
    let vendor = root
        .vendor
        .as_ref()
        .map(|vendor| format!(" ({vendor})"))
        .unwrap_or_default();
    let naming_contexts = root.data_naming_contexts().join("; ");
    let message = format!("{kind}{vendor}, with the naming contexts {naming_contexts}.");
    match root.supports(PAGED_RESULTS) {
        true => stages.pass(StageKind::RootDse, message),
        false => stages.warn(
            StageKind::RootDse,
            message,
            "The server does not announce paged results; large searches may be cut short by its limits.",
        ),
    }
}

/// How many entries came, in how many pages.
pub(super) fn pages(entries: u64, pages: u64) -> String {
    let (entries, pages) = (
        counted(entries, "entry", "entries"),
        counted(pages, "page", "pages"),
    );
    format!("{entries} came in {pages}.")
}

pub(super) fn with_certificate(message: String, leaf: Option<&CertificateFacts>) -> String {
    let Some(leaf) = leaf else { return message };
    let names = if leaf.names.is_empty() {
        "no names".into()
    } else {
        leaf.names.join(", ")
    };
    format!(
        "{message} Certificate of {} for {names}, issued by {}, valid from {} to {}.",
        leaf.subject,
        leaf.issuer,
        leaf.not_before.format("%Y-%m-%d"),
        leaf.not_after.format("%Y-%m-%d"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_locks_at_once_is_warned_of() {
        let found = |threshold| {
            let mut stages = Stages::about("directory");
            let policy = Lockout {
                threshold,
                window: None,
            };
            lockout(Some(policy), Dialect::OpenLdap, &mut stages);
            stages.into_stages().remove(0).result
        };
        assert_eq!(found(1), StageResult::Warn);
        assert_eq!(found(2), StageResult::Pass);
    }

    #[test]
    fn one_is_not_many() {
        assert_eq!(pages(1, 1), "1 entry came in 1 page.");
        assert_eq!(pages(1001, 2), "1001 entries came in 2 pages.");
    }
}
