//! The issue of an identifier that an entry asked for and does not get.

use std::collections::{HashMap, HashSet};

use super::outsider::Outsider;
use super::party::Named;
use crate::claims::Refusal;
use crate::dn::is_same_dn;
use crate::identifier::normalize;
use crate::issue::{Issue, IssueKind};
use crate::user::OtherEntry;

/// Whom an issue names: where the other one is found.
pub(super) struct Names<'n> {
    pub(super) parties: &'n [Named],
    pub(super) outside: &'n HashMap<String, Outsider>,
    /// The parties whose login two entries claim.
    pub(super) ambiguous: &'n HashSet<usize>,
    /// The parties whose entries the pull did not meet.
    pub(super) unmet: &'n HashSet<usize>,
}

impl Names<'_> {
    pub(super) fn entry(&self, index: usize) -> Option<OtherEntry> {
        self.parties.get(index)?.entry.clone()
    }
}

/// The issue of an identifier that is not given. It names who stands against it, but not if that is somebody in another
/// directory.
pub(super) fn refused(
    dn: &str,
    field: &str,
    value: &str,
    refusal: &Refusal,
    names: Option<&Names<'_>>,
) -> Issue {
    let taken = match field {
        "login" => IssueKind::LoginTaken,
        _ => IssueKind::EmailTaken,
    };
    let named = |index: &usize| names.and_then(|names| names.parties.get(*index));
    let outsider = match refusal {
        Refusal::Outside => names.and_then(|names| names.outside.get(&normalize(value))),
        Refusal::Rival(_) | Refusal::NotReleased(_) => None,
    };
    let (user_sync, user, other_dn) = match refusal {
        Refusal::Outside => {
            outsider.map(|outsider| (outsider.user_sync.clone(), outsider.user, outsider.dn.clone()))
        }
        Refusal::Rival(index) | Refusal::NotReleased(index) => {
            named(index).map(|party| (party.user_sync.clone(), party.user, party.dn.clone()))
        }
    }
    .unwrap_or_default();
    let (kind, message) = match refusal {
        Refusal::Rival(rival) if names.is_some_and(|names| names.unmet.contains(rival)) => {
            (taken, "another user has it".to_owned())
        }
        Refusal::Rival(_) => (
            IssueKind::DuplicateInDirectory,
            "another entry asks for it or has it too".to_owned(),
        ),
        Refusal::NotReleased(holder) => {
            let message = "another user keeps it, although the user's entry does not have it any more";
            let ambiguous = names.is_some_and(|names| names.ambiguous.contains(holder));
            let kind = if ambiguous {
                IssueKind::LoginAmbiguous
            } else {
                taken
            };
            (kind, message.to_owned())
        }
        Refusal::Outside => {
            let message = match &user_sync {
                Some(user_sync) => format!("a user of the user sync {user_sync} has it, which was first"),
                None if other_dn.is_some() => "another user has it".to_owned(),
                // An issue does not tell whether somebody of another tenant has it, or has its domain verified.
                None => "it is not available".to_owned(),
            };
            (taken, message)
        }
    };
    // The former entry was deleted, and a new one made under the same DN.
    let made_anew = other_dn.as_deref().is_some_and(|other| is_same_dn(other, dn));
    let (kind, message) = match made_anew {
        true => {
            let message =
                "the entry was deleted and made anew: the user of the former entry of this name has it";
            (taken, message.to_owned())
        }
        false => (kind, message),
    };
    let mut issue = Issue::new(kind, dn, message).of_field(field).valued(value);
    issue.other_user_sync = user_sync;
    if !made_anew {
        issue.other_user = user;
        issue.other_dn = other_dn;
    }
    issue
}
