//! May the service account read the attributes that tell that an account is disabled?

use std::time::Duration;

use rollcall_core::check::{Stage, StageKind, StageResult};
use rollcall_core::dialect::{Dialect, HiddenState};

/// The stage about it. `hidden` are the attributes that may not be read; `None` if that was not found out.
pub(super) fn stage(dialect: Dialect, hidden: Option<&[String]>) -> Stage {
    let all: Vec<&str> = dialect.deciding_attributes().collect();
    let all = all.join(", ");
    let (result, message, hint) = match (hidden, dialect.row().hidden_state) {
        (None, HiddenState::Untold) => (
            StageResult::Skipped,
            format!(
                "Unknown: this kind of server does not tell what may be read. An account that shows none of {all} counts \
                 as enabled."
            ),
            "Make sure in the server's access rules that the bind account may read those of these attributes that the \
             server has.",
        ),
        (None, _) => (
            StageResult::Skipped,
            format!("Unknown: there is no entry, or no schema, to find out by whether {all} may be read."),
            "",
        ),
        (Some([]), _) => (
            StageResult::Pass,
            format!("The bind account may read what tells whether an account is enabled: {all}."),
            "",
        ),
        (Some(hidden), _) => (
            StageResult::Fail,
            format!(
                "The bind account may not read {} of the entries that were looked at, so that nobody can tell whether an \
                 account is enabled: new people wait, and nobody who is deactivated comes back.",
                hidden.join(", ")
            ),
            "Let the bind account read these attributes, and search for them.",
        ),
    };
    Stage {
        kind: StageKind::AccountState,
        subject: String::new(),
        result,
        duration: Duration::ZERO,
        message,
        hint: hint.to_owned(),
    }
}
