//! Why a change of a plan is not, or not fully, written.

use super::Change;
use crate::issue::{Issue, IssueKind};

impl Change {
    /// The issue of a change that cannot be written. It does not say whose an identifier is.
    pub fn refused(&self, kind: IssueKind) -> Issue {
        let (message, field) = match kind {
            IssueKind::LoginTaken => (
                "The login was given to another user meanwhile.",
                Some(("login", self.profile.login.as_str())),
            ),
            IssueKind::EmailTaken => (
                "The e-mail address was given to another user meanwhile.",
                self.profile.email.as_deref().map(|email| ("email", email)),
            ),
            IssueKind::OwnerProtected => ("The account owner is never synced.", None),
            _ => ("The user changed after the plan was made.", None),
        };
        let issue = Issue::new(kind, &self.origin.dn, message);
        match field {
            Some((field, value)) => issue.of_field(field).valued(value),
            None => issue,
        }
    }
}
