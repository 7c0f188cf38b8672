//! Why a plan is held: the rule, for programs, and a sentence, for people.

use super::Watched;
use crate::vocabulary::vocabulary;

vocabulary! {
    /// A rule of the guard.
    pub enum HoldRule {
        /// More users would lose access than the limit allows.
        Removals = "REMOVALS",
        /// More than half of the users are missing or would lose access.
        MostUsers = "MOST_USERS",
        /// More users would get another role than may.
        RoleChanges = "ROLE_CHANGES",
        /// More users would get another login than may.
        LoginChanges = "LOGIN_CHANGES",
        /// More users would get another e-mail address than may.
        EmailChanges = "EMAIL_CHANGES",
        /// More users would lose the value of one field than may.
        LostField = "LOST_FIELD",
        /// More users would be able to log in again than may.
        Returns = "RETURNS",
        /// More users would be taken over than may.
        Takeovers = "TAKEOVERS",
        /// LOCAL users would be linked.
        Links = "LINKS",
        /// More users would come than the limit allows.
        Growth = "GROWTH",
        /// Users were found by login under another external id.
        Relinked = "RELINKED",
        /// The configuration changed, and users would lose access or get another role by it.
        ConfigurationChanged = "CONFIGURATION_CHANGED",
    }
}

/// Why a plan is held.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HoldReason {
    /// The rule; `None` if an earlier release held it, which kept the sentence alone.
    pub rule: Option<HoldRule>,
    /// The field, for [`HoldRule::LostField`].
    pub field: Option<String>,
    /// What is the matter, in a sentence with the numbers.
    pub message: String,
}

impl HoldReason {
    fn new(rule: HoldRule, message: String) -> Self {
        Self {
            rule: Some(rule),
            field: None,
            message,
        }
    }

    pub(super) fn removals((removals, recent): (u64, u64), active: u64, allowed: u64) -> Self {
        let message = format!(
            "{} of {active} would lose access{}; the limit is {allowed}",
            users(removals),
            after(recent)
        );
        Self::new(HoldRule::Removals, message)
    }

    pub(super) fn most_users(lost: u64, active: u64) -> Self {
        let message = match lost >= active {
            true => format!("none of the {} of this sync would remain", users(active)),
            false => {
                format!("more than half of the users, {lost} of {active}, are missing or would lose access")
            }
        };
        Self::new(HoldRule::MostUsers, message)
    }

    /// The reason for a kind of change that has the common limit; `None` for the kinds that have rules of their own.
    pub(super) fn over_limit(
        watched: &Watched,
        (changed, recent): (u64, u64),
        set: u64,
        limit: u64,
    ) -> Option<Self> {
        let (rule, what) = match watched {
            Watched::Role => (HoldRule::RoleChanges, "would get another role".to_owned()),
            Watched::Login => (HoldRule::LoginChanges, "would get another login".to_owned()),
            Watched::Email => (
                HoldRule::EmailChanges,
                "would get another e-mail address or none".to_owned(),
            ),
            Watched::Lost(field) => (HoldRule::LostField, format!("would lose the value of {field}")),
            Watched::Return => (HoldRule::Returns, "would be able to log in again".to_owned()),
            Watched::Takeover => (
                HoldRule::Takeovers,
                "would be taken over from other user syncs".to_owned(),
            ),
            Watched::Removal | Watched::Link | Watched::Growth | Watched::Relink => return None,
        };
        let message = format!(
            "{} {what}{}, in a set of {set}; the limit is {limit}",
            users(changed),
            after(recent)
        );
        let mut hold = Self::new(rule, message);
        if let Watched::Lost(field) = watched {
            hold.field = Some(field.clone());
        }
        Some(hold)
    }

    pub(super) fn links(links: u64) -> Self {
        let message = format!(
            "{} of the product itself would become synced ones; compare each with the entry that has its login",
            users(links)
        );
        Self::new(HoldRule::Links, message)
    }

    pub(super) fn growth(growth: u64, recent: u64, before: u64, allowed: u64) -> Self {
        let message = format!(
            "{} would come to the {before} that there were a week ago{}; the limit is {allowed}",
            users(growth),
            after(recent)
        );
        Self::new(HoldRule::Growth, message)
    }

    pub(super) fn relinked(relinked: u64) -> Self {
        let message = format!(
            "{} would be other entries than before, found by login; compare the old and the new distinguished name of \
             each, since a login may be somebody else's by now",
            users(relinked)
        );
        Self::new(HoldRule::Relinked, message)
    }

    pub(super) fn configuration(removals: u64, roles: u64) -> Self {
        let message = format!(
            "searches, mappings, role rules or the id attribute changed: {} would lose access by this run, and {} would \
             get another role",
            users(removals),
            users(roles)
        );
        Self::new(HoldRule::ConfigurationChanged, message)
    }
}

impl From<&str> for HoldReason {
    /// What an earlier release kept of a reason.
    fn from(message: &str) -> Self {
        Self {
            rule: None,
            field: None,
            message: message.to_owned(),
        }
    }
}

fn users(count: u64) -> String {
    match count {
        1 => "1 user".to_owned(),
        count => format!("{count} users"),
    }
}

fn after(recent: u64) -> String {
    match recent {
        0 => String::new(),
        recent => format!(" after {recent} in the last 7 days"),
    }
}
