//! Why a change of a plan is not, or not fully, written.

use super::Change;
use crate::issue::{Issue, IssueKind};

/// What stands against a change when it is to be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotWritten {
    /// Another user has the login now.
    LoginTaken,
    /// Another user has the e-mail address now.
    EmailTaken,
    /// It is the account owner.
    OwnerProtected,
    /// The user is not any more as the plan saw them.
    ChangedMeanwhile,
}

impl Change {
    /// The issue of a change that cannot be written. It does not say whose an identifier is.
    pub fn refused(&self, why: NotWritten) -> Issue {
        let (kind, message, field) = match why {
            NotWritten::LoginTaken => (
                IssueKind::LoginTaken,
                "The login was given to another user meanwhile.",
                Some(("login", self.profile.login.as_str())),
            ),
            NotWritten::EmailTaken => (
                IssueKind::EmailTaken,
                "The e-mail address was given to another user meanwhile.",
                self.profile.email.as_deref().map(|email| ("email", email)),
            ),
            NotWritten::OwnerProtected => (
                IssueKind::OwnerProtected,
                "The account owner is never synced.",
                None,
            ),
            NotWritten::ChangedMeanwhile => (
                IssueKind::ChangedMeanwhile,
                "The user changed after the plan was made.",
                None,
            ),
        };
        let issue = Issue::new(kind, &self.origin.dn, message);
        match field {
            Some((field, value)) => issue.of_field(field).valued(value),
            None => issue,
        }
    }
}
