//! Issues: why an entry was not, or not fully, taken. And the health that a user sync shows.

use crate::id::{UserId, UserSyncId};
use crate::vocabulary::vocabulary;

macro_rules! issue_kinds {
    ($($(#[$doc:meta])* $name:ident = $wire:literal: $hint:literal,)*) => {
        vocabulary! {
            /// The kind of an issue.
            pub enum IssueKind {
                $($(#[$doc])* $name = $wire,)*
            }
        }

        impl IssueKind {
            /// What a tenant's admin can do about an issue of this kind; see [`Issue::hint`] for a single one.
            pub fn hint(self) -> &'static str {
                match self {
                    $(IssueKind::$name => $hint,)*
                    IssueKind::Newer(_) => "See the message.",
                }
            }
        }
    };
}

issue_kinds! {
    /// The login has fewer characters than allowed.
    LoginTooShort = "LOGIN_TOO_SHORT":
        "Give the account a longer login in the directory, or map the login to another attribute.",
    /// The login has more characters than allowed.
    LoginTooLong = "LOGIN_TOO_LONG":
        "Give the account a shorter login in the directory, or map the login to another attribute.",
    /// The login holds a character that is not allowed.
    LoginIllegalCharacters = "LOGIN_ILLEGAL_CHARACTERS":
        "Rename the account in the directory, or map the login to an attribute without such characters. Whoever operates Rollcall can allow more of them with login_characters under [users].",
    /// Another user has this login, or it is another user's e-mail.
    LoginTaken = "LOGIN_TAKEN":
        "Give one of the two another login, in the directory or in the product: it must be the login and e-mail address of nobody else.",
    /// Another user has this e-mail address, or it is another user's login.
    EmailTaken = "EMAIL_TAKEN":
        "Give each account an e-mail address of its own, or leave the e-mail out of the mapping: it must be the login and e-mail address of nobody else.",
    /// The e-mail address is not one.
    EmailInvalid = "EMAIL_INVALID":
        "Correct the attribute in the directory, or map the e-mail address to another one.",
    /// The entry's login changed and this sync keeps logins.
    LoginChangeRejected = "LOGIN_CHANGE_REJECTED":
        "Set login_changes to ALLOW if logins should follow the directory.",
    /// The login of a user is asked for by another entry, and the user's own entry does not have it any more.
    LoginAmbiguous = "LOGIN_AMBIGUOUS":
        "Nobody can log in with it until this is resolved: give the login back to the one entry, take it from the other, or set login_changes to ALLOW so that logins follow the directory.",
    /// Whether the account is enabled cannot be read.
    StateUnreadable = "STATE_UNREADABLE":
        "Let the service account read the attributes that tell whether an account is enabled, such as userAccountControl; CheckUserSync names them.",
    /// The entry would take over the account owner.
    OwnerProtected = "OWNER_PROTECTED":
        "The account owner is never synced, so that a broken directory locks nobody out. Exclude the entry by the filter, or transfer the ownership first.",
    /// Another user sync owns this person.
    Overlap = "OVERLAP":
        "Change the filters so that each account is in the results of one user sync only.",
    /// A field that every user needs has no value.
    MissingRequiredField = "MISSING_REQUIRED_FIELD":
        "Fill the attribute in the directory, add a fall-back to the field mapping, or exclude the entry by the filter.",
    /// Two entries of this pull have the same external id, login or e-mail.
    DuplicateInDirectory = "DUPLICATE_IN_DIRECTORY":
        "Only one entry may have this value; correct the directory or exclude all but one by the filter. Values of the external_id_attribute must be unique.",
    /// The entry has no usable external id.
    MissingExternalId = "MISSING_EXTERNAL_ID":
        "The service account must be able to read the id attribute (objectGUID, entryUUID, nsUniqueId).",
    /// Some text of the entry is not UTF-8.
    UndecodableEntry = "UNDECODABLE_ENTRY":
        "Repair the entry's text in the directory: it must be UTF-8 (RFC 4511 section 4.1.2).",
    /// The entry, or its DN, is larger than any that is taken.
    EntryTooLarge = "ENTRY_TOO_LARGE":
        "Make the attribute smaller in the directory, or leave it out of the mapping. Until then the entry is skipped, and its user stays as before.",
    /// No value is short enough for the field.
    ValueTooLong = "VALUE_TOO_LONG":
        "Shorten the attribute in the directory or map another one; the field stays as it was.",
    /// A value holds characters that no field may hold.
    ValueIllegalCharacters = "VALUE_ILLEGAL_CHARACTERS":
        "Remove the control or direction character from the attribute in the directory, or map another one; the field stays as it was.",
    /// A role rule could not be evaluated.
    RoleRuleFailed = "ROLE_RULE_FAILED":
        "Check the rule's filter or group DN, and what the service account may read. Users keep a role that they may still have; new users whose role depends on the rule wait for it.",
    /// The group of a role rule does not exist.
    RoleGroupMissing = "ROLE_GROUP_MISSING":
        "Name the group that has taken its place, or remove the rule. Nobody gets a role by a group that does not exist.",
    /// The user changed between plan and apply.
    ChangedMeanwhile = "CHANGED_MEANWHILE":
        "Nothing to do: the next run sees to this user.",
    /// A user's entry was not found, and it is not proven that the person left.
    AbsenceUnconfirmed = "ABSENCE_UNCONFIRMED":
        "Nothing to do if the entry is back in the next run. Else see that the service account may read where the entry was, or remove the user by hand.",
    /// A held plan is about this, so a login does not hand it out.
    Held = "HELD":
        "Look at the changes of the held run of the user sync, then apply it or cancel it.",
    /// The pull did not see everything, so nobody was removed.
    PullIncomplete = "PULL_INCOMPLETE":
        "See the message; while a search ends early, new and changed users are taken but nobody is removed.",
    /// Entries are no people: aliases, and copies for old clients.
    NotAPerson = "NOT_A_PERSON":
        "Nobody can log in as such an entry. Leave them out, for example with (!(objectClass=alias)), or with a base that holds only people.",
}

/// Longest value that an issue shows, in characters.
pub const MAX_SHOWN_VALUE: usize = 200;

/// One issue of a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Issue {
    /// What kind.
    pub kind: IssueKind,
    /// DN of the entry; empty if the issue concerns the whole run.
    pub dn: String,
    /// The field of the contract's `User` that is concerned, such as `email` or `custom.badge`.
    pub field: Option<String>,
    /// The attribute that is at fault; of a mapped field the candidate, as the mapping has it.
    pub attribute: Option<String>,
    /// The value that is at fault, cut to [`MAX_SHOWN_VALUE`] characters.
    pub value: Option<String>,
    /// What happened, in a sentence.
    pub message: String,
    /// For [`IssueKind::Overlap`], the user sync that owns the user. For a login or e-mail address that is taken, the
    /// other user sync of the same directory whose user has it.
    pub other_user_sync: Option<UserSyncId>,
    /// The user whose entry [`Self::other_dn`] is. Stored instead of the DN, which is looked up when the issue is read: what is
    /// kept of somebody else is an id, and nothing has to be erased here.
    pub other_user: Option<UserId>,
    /// The DN of another entry of the same directory that is concerned; of people of other directories an issue tells nothing.
    /// It stands here and in no message. Where the entry is no user there is no id of ours to look it up by, and an issue that
    /// named nobody would be of no use: the DN is stored, and erased with the person if there ever is a user.
    pub other_dn: Option<String>,
}

impl Issue {
    /// An issue about an entry.
    pub fn new(kind: IssueKind, dn: &str, message: impl Into<String>) -> Self {
        Self {
            kind,
            dn: dn.to_owned(),
            field: None,
            attribute: None,
            value: None,
            message: message.into(),
            other_user_sync: None,
            other_user: None,
            other_dn: None,
        }
    }

    /// Names the attribute, or the candidate of the mapping, and its value.
    pub fn about(mut self, attribute: &str, value: &str) -> Self {
        self.attribute = Some(attribute.to_owned());
        self.valued(value)
    }

    /// Names the field.
    pub fn of_field(mut self, field: &str) -> Self {
        self.field = Some(field.to_owned());
        self
    }

    /// Names the value, where no single attribute is at fault.
    pub fn valued(mut self, value: &str) -> Self {
        self.value = Some(value.chars().take(MAX_SHOWN_VALUE).collect());
        self
    }

    /// Names the other entry that is concerned, which must be of the same directory.
    pub fn beside(mut self, dn: &str) -> Self {
        self.other_dn = Some(dn.to_owned());
        self
    }

    /// The message with the other entry.
    pub fn text(&self) -> String {
        match &self.other_dn {
            Some(dn) => format!("{}; the other entry is {dn}", self.message),
            None => self.message.clone(),
        }
    }

    /// What a tenant's admin can do about this one.
    pub fn hint(&self) -> &'static str {
        let value = self.value.as_deref().unwrap_or_default();
        if self.kind == IssueKind::LoginIllegalCharacters && value.contains('@') {
            return "An e-mail address is no login. Map the login to the attribute with the user name; people can log in with their e-mail address all the same. Whoever operates Rollcall can allow @ in logins with login_characters under [users].";
        }
        if self.kind == IssueKind::LoginTaken && self.other_user_sync.is_some() {
            return "Give one of the two another login in the directory: it must be the login and e-mail address of nobody else. Two people who swap their logins need nothing done if both user syncs let logins change: the next run in which both directories answer, and neither user sync is held, changes both.";
        }
        // The attribute can be read; it is the value that is of no use.
        if self.kind == IssueKind::MissingExternalId && !value.is_empty() {
            return "See the message for the form that the id must have. Correct the value in the directory, or set external_id_attribute to another attribute that never changes and is never reused.";
        }
        self.kind.hint()
    }
}

vocabulary! {
    /// How a user sync is.
    #[derive(Default)]
    pub closed enum HealthLevel {
        /// The last run did all of its work.
        #[default]
        Ok = "OK",
        /// Something needs a look: issues, a held run.
        Warning = "WARNING",
        /// The last run failed, or left people who cannot log in.
        Error = "ERROR",
    }
}

/// The error icon and its reasons.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Health {
    /// The colour.
    pub level: HealthLevel,
    /// What is wrong and what to do, a sentence each.
    pub problems: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_fits_the_case() {
        let illegal = |attribute: &str, value: &str| {
            Issue::new(IssueKind::LoginIllegalCharacters, "uid=a", "x").about(attribute, value)
        };
        for issue in [illegal("uid", "a b"), illegal("userPrincipalName", "a@b.example")] {
            let hint = issue.hint();
            assert!(hint.contains("login_characters"), "{hint}");
            assert!(!hint.contains("like uid"), "{hint}");
        }
        assert!(
            illegal("mail", "a@b.example")
                .hint()
                .contains("e-mail address is no login")
        );
        assert!(!illegal("uid", "a b").hint().contains("e-mail"));
    }

    #[test]
    fn a_login_that_another_user_sync_has_can_be_swapped() {
        let mut issue = Issue::new(IssueKind::LoginTaken, "uid=a", "x");
        assert!(!issue.hint().contains("swap"));
        issue.other_user_sync = UserSyncId::parse("guests");
        assert!(issue.hint().contains("swap"));
    }

    /// A hint is given for people who were taken and for people who were not.
    #[test]
    fn no_hint_says_what_became_of_the_user() {
        for kind in IssueKind::ALL {
            let hint = kind.hint();
            for claim in ["was taken", "keeps the old login", "was left empty"] {
                assert!(!hint.contains(claim), "{kind:?}: {hint}");
            }
        }
    }

    #[test]
    fn another_entry_is_named_beside_the_message() {
        let issue = Issue::new(IssueKind::LoginTaken, "uid=a", "another entry has it");
        assert_eq!(issue.text(), "another entry has it");
        assert_eq!(
            issue.beside("uid=b").text(),
            "another entry has it; the other entry is uid=b"
        );
    }
}
