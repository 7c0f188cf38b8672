//! The role of one entry: at a login, in a refresh and in a check. A run asks the same for all entries at once
//! ([`crate::roles`]).

use rollcall_core::dialect::Dialect;
use rollcall_core::dn::Dn;
use rollcall_core::filter::Filter;
use rollcall_core::issue::{Issue, IssueKind};
use rollcall_core::role::{RoleFinding, RuleAnswer, RuleEffect};
use rollcall_core::user_sync::{RoleCondition, RoleRule, UserSyncSettings};
use rollcall_ldap::{Above, LdapDirectory, LdapError, ReadRequest};
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::groups::{
    BY_DN, Group, NO_MEMBERS_SHOWN, NOT_EXPANDED, TREE_NOT_READABLE, Unevaluated, look_at, naming_context_of,
};
use crate::scope::matches;

/// What is wrong with a role rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RuleProblem {
    /// The rule's place among the sync's, from 0.
    pub rule: usize,
    /// What it is.
    pub kind: RuleProblemKind,
    /// A sentence without its full stop, for the tenant's admin. It names the rule and its condition.
    pub message: String,
}

/// What is wrong with a role rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RuleProblemKind {
    /// It has no answer.
    Unevaluated,
    /// Its group does not exist, and counts as empty.
    GroupMissing,
}

impl RuleProblem {
    /// The problem of a rule that has no answer.
    pub(crate) fn unevaluated(rule: usize, condition: &RoleCondition, why: &Unevaluated) -> Self {
        Self {
            rule,
            kind: RuleProblemKind::Unevaluated,
            message: format!(
                "role rule {} ({}) could not be evaluated: {}",
                rule + 1,
                name_of(condition),
                why.0
            ),
        }
    }

    /// The problem of a rule whose group is gone.
    pub(crate) fn group_missing(rule: usize, condition: &RoleCondition) -> Self {
        Self {
            rule,
            kind: RuleProblemKind::GroupMissing,
            message: format!(
                "role rule {} ({}): the group does not exist, so nobody is in it",
                rule + 1,
                name_of(condition)
            ),
        }
    }

    /// The issue about it for a whole run, with the people for whom the rule mattered.
    pub fn issue_of_run(&self, effect: RuleEffect) -> Issue {
        let mut issue = self.issue("");
        let summary = effect.summary();
        if !summary.is_empty() {
            issue.message += &format!("; {summary}");
        }
        issue
    }

    /// The issue about it for the one entry at `dn`.
    pub fn issue(&self, dn: &str) -> Issue {
        let kind = match self.kind {
            RuleProblemKind::Unevaluated => IssueKind::RoleRuleFailed,
            RuleProblemKind::GroupMissing => IssueKind::RoleGroupMissing,
        };
        Issue::new(kind, dn, self.message.clone())
    }
}

fn name_of(condition: &RoleCondition) -> String {
    match condition {
        RoleCondition::Filter(filter) => format!("filter {filter}"),
        RoleCondition::GroupDn(dn) => format!("group {dn}"),
    }
}

/// The role rules of a user sync, and what was found out about their groups.
pub struct Rules<'a> {
    directory: &'a LdapDirectory,
    dialect: Dialect,
    naming_contexts: &'a [String],
    settings: &'a UserSyncSettings,
    groups: Vec<OnceCell<Result<Group, Unevaluated>>>,
}

/// An entry whose role is asked for, and what was found out about it.
pub struct Person<'a> {
    dn: &'a str,
    uids: OnceCell<Vec<String>>,
    above: OnceCell<Result<Above, LdapError>>,
}

impl<'a> Person<'a> {
    /// The entry at `dn`.
    pub fn at(dn: &'a str) -> Self {
        Self {
            dn,
            uids: OnceCell::new(),
            above: OnceCell::new(),
        }
    }
}

impl<'a> Rules<'a> {
    /// The rules of a user sync on a directory of this kind. `naming_contexts` are the server's trees; they are needed
    /// only if a rule names a group.
    pub fn new(
        directory: &'a LdapDirectory,
        dialect: Dialect,
        naming_contexts: &'a [String],
        settings: &'a UserSyncSettings,
    ) -> Self {
        Self {
            directory,
            dialect,
            naming_contexts,
            settings,
            groups: settings.role_rules.iter().map(|_| OnceCell::new()).collect(),
        }
    }

    /// The role of an entry, by all rules up to the first that certainly matches; and what is wrong with those rules.
    /// A failed question is a rule without an answer, never one that does not match.
    pub async fn role(&self, person: &Person<'_>, deadline: Instant) -> (RoleFinding, Vec<RuleProblem>) {
        let rules = &self.settings.role_rules;
        let (mut answers, mut problems) = (Vec::new(), Vec::new());
        for index in 0..rules.len() {
            let (answer, problem) = self.answer(index, person, deadline).await;
            problems.extend(problem);
            answers.push(answer);
            if answer == RuleAnswer::Matches {
                break;
            }
        }
        (RoleFinding::of(&self.settings.role, rules, &answers), problems)
    }

    /// What one rule says about an entry.
    pub async fn answer(
        &self,
        rule: usize,
        person: &Person<'_>,
        deadline: Instant,
    ) -> (RuleAnswer, Option<RuleProblem>) {
        let Some(RoleRule { condition, .. }) = self.settings.role_rules.get(rule) else {
            return (RuleAnswer::DoesNot, None);
        };
        let held = match condition {
            RoleCondition::Filter(filter) => self.filter_matches(filter, person, deadline).await,
            RoleCondition::GroupDn(group) => match self.group(rule, group, deadline).await {
                Ok(Group::Gone) => {
                    let problem = RuleProblem::group_missing(rule, condition);
                    return (RuleAnswer::DoesNot, Some(problem));
                }
                Ok(kind) => self.is_member(group, kind, person, deadline).await,
                Err(why) => Err(why),
            },
        };
        match held {
            Ok(true) => (RuleAnswer::Matches, None),
            Ok(false) => (RuleAnswer::DoesNot, None),
            Err(why) => {
                let problem = RuleProblem::unevaluated(rule, condition, &why);
                (RuleAnswer::Unknown, Some(problem))
            }
        }
    }

    /// What is wrong with a rule for every entry: its group is gone, or the group or its members cannot be read.
    pub async fn problem(&self, rule: usize, deadline: Instant) -> Option<RuleProblem> {
        let condition = &self.settings.role_rules.get(rule)?.condition;
        let RoleCondition::GroupDn(group) = condition else {
            return None;
        };
        let found = match self.group(rule, group, deadline).await {
            Ok(Group::Gone) => return Some(RuleProblem::group_missing(rule, condition)),
            Ok(Group::Lists {
                never_empty: true, ..
            }) => self.shows_members(group, deadline).await,
            Ok(Group::Lists { .. }) => Ok(()),
            Ok(Group::Computed) => self.shown(group, |_| false).await.map(|_| ()),
            Err(why) => Err(why),
        };
        let why = found.err()?;
        Some(RuleProblem::unevaluated(rule, condition, &why))
    }

    async fn group(&self, rule: usize, group: &str, deadline: Instant) -> Result<Group, Unevaluated> {
        let look = || {
            look_at(
                self.directory,
                self.dialect,
                group,
                self.naming_contexts,
                deadline,
            )
        };
        match self.groups.get(rule) {
            Some(known) => known.get_or_init(look).await.clone(),
            None => look().await,
        }
    }

    async fn filter_matches(
        &self,
        filter: &str,
        person: &Person<'_>,
        deadline: Instant,
    ) -> Result<bool, Unevaluated> {
        let Ok(filter) = Filter::parse(filter) else {
            return Err("the filter cannot be parsed".into());
        };
        Ok(matches(self.directory, person.dn, &filter.to_string(), deadline).await?)
    }

    async fn is_member(
        &self,
        group: &str,
        kind: Group,
        person: &Person<'_>,
        deadline: Instant,
    ) -> Result<bool, Unevaluated> {
        if self.dialect.row().has_in_chain {
            return Ok(self.directory.is_in_chain(person.dn, group, deadline).await?);
        }
        let above = match self.above(person, deadline).await {
            Ok(above) => above,
            Err(error) => return Err(error.clone().into()),
        };
        let Ok(wanted) = Dn::parse(group) else {
            return Err("the DN cannot be parsed".into());
        };
        if above.groups.contains(&wanted) {
            return Ok(true);
        }
        if naming_context_of(group, &above.unread)
            .is_some_and(|unread| Some(unread) == naming_context_of(group, self.naming_contexts))
        {
            return Err(TREE_NOT_READABLE.into());
        }
        let uids = self.uids(person, deadline).await?;
        match kind {
            Group::Gone => Ok(false),
            Group::Computed => {
                let mut dns = vec![person.dn.to_owned()];
                dns.extend(above.dns.iter().cloned());
                // If the server evaluates filters on members that it computes, they need not be read.
                if self.directory.names_a_member(group, &dns, &[], deadline).await? {
                    return Ok(true);
                }
                let own = Dn::given(person.dn);
                self.shown(group, |dn| *dn == own || above.groups.contains(dn))
                    .await
            }
            Group::Lists {
                found_by_class,
                never_empty,
            } => {
                let mut dns = vec![person.dn.to_owned()];
                dns.extend(above.dns.iter().cloned());
                let is_found = found_by_class && naming_context_of(group, self.naming_contexts).is_some();
                if !is_found && self.directory.names_a_member(group, &dns, uids, deadline).await? {
                    return Ok(true);
                }
                if never_empty {
                    self.shows_members(group, deadline).await?;
                }
                Ok(false)
            }
        }
    }

    /// A group that must have a member shows one.
    async fn shows_members(&self, group: &str, deadline: Instant) -> Result<(), Unevaluated> {
        match matches(self.directory, group, "(|(member=*)(uniqueMember=*))", deadline).await? {
            true => Ok(()),
            false => Err(NO_MEMBERS_SHOWN.into()),
        }
    }

    /// Whether the server shows a member that `is_it` accepts among those that it computes.
    async fn shown(&self, group: &str, is_it: impl Fn(&Dn) -> bool) -> Result<bool, Unevaluated> {
        let (mut shown, mut found) = (false, false);
        let look = |_: &str, value: &[u8]| {
            shown = true;
            if let Ok(text) = std::str::from_utf8(value) {
                found |= is_it(&Dn::given(text));
            }
        };
        let mut reader = self.directory.value_reader().await?;
        reader.read(group, &BY_DN, look).await?;
        match shown {
            true => Ok(found),
            false => Err(NOT_EXPANDED.into()),
        }
    }

    async fn above<'p>(&self, person: &'p Person<'_>, deadline: Instant) -> &'p Result<Above, LdapError> {
        let find = async || {
            let uids = self.uids(person, deadline).await?;
            let groups = self
                .directory
                .groups_above(person.dn, uids, self.naming_contexts, deadline);
            groups.await
        };
        person.above.get_or_init(find).await
    }

    /// The names by which groups of RFC 2307 know the entry.
    async fn uids<'p>(
        &self,
        person: &'p Person<'_>,
        deadline: Instant,
    ) -> Result<&'p Vec<String>, LdapError> {
        let read = async || {
            let request = ReadRequest {
                dn: person.dn.to_owned(),
                filter: "(objectClass=*)".to_owned(),
                attributes: vec!["uid".to_owned()],
            };
            let entry = self.directory.read_entry(&request, deadline).await?;
            Ok(entry.map_or_else(Vec::new, |entry| entry.texts("uid").map(str::to_owned).collect()))
        };
        person.uids.get_or_try_init(read).await
    }
}
