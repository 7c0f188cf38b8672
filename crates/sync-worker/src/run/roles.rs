//! Role rules: which users get which role. The server evaluates filters; for groups their members are read.
//! A rule that cannot be evaluated is an issue, never "no match".

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use rollcall_core::dialect::Dialect;
use rollcall_core::dn::Dn;
use rollcall_core::entry::Entry;
use rollcall_core::external_id::ExternalId;
use rollcall_core::issue::{Issue, IssueKind};
use rollcall_core::reader::EntryReader;
use rollcall_core::user_sync::{RoleCondition, Search, SearchScope, UserSyncSettings};
use rollcall_ldap::{LdapDirectory, LdapError, ReadRequest, Sid, in_chain};
use tokio::time::Instant;

use super::pull::{Pull, canonical};

/// Classes of groups whose members are DNs.
const GROUPS: &str = "(|(objectClass=groupOfNames)(objectClass=groupOfUniqueNames)(objectClass=groupOfMembers)\
                      (objectClass=group)(objectClass=groupOfEntries))";
const MEMBERS: [&str; 2] = ["member", "uniqueMember"];
/// Attributes of groups whose members are no entries, or are computed (RFC 2307; groupOfURLs).
const OTHER_MEMBERS: [&str; 2] = ["memberUid", "memberURL"];

/// Groups whose members by primary group are asked for at once.
const GROUPS_AT_ONCE: usize = 50;

const NO_GROUP: &str = "a group does not exist, or the service account cannot see it";
const NO_ENTRIES: &str =
    "a group names its members by login or by a search, not as entries; use a filter instead";

/// The roles that a run's rules give.
#[derive(Debug, Default)]
pub(super) struct Roles {
    by_id: HashMap<ExternalId, usize>,
    by_dn: Vec<(usize, HashSet<Dn>)>,
    roles: Vec<String>,
    default: String,
}

impl Roles {
    /// Evaluates all rules of a sync.
    ///
    /// # Errors
    /// The issue of the first rule that cannot be evaluated: without it nobody's role is known.
    pub(super) async fn evaluate(
        directory: &LdapDirectory,
        reader: &EntryReader,
        settings: &UserSyncSettings,
        contexts: &[String],
        timeout: Duration,
    ) -> Result<Self, Box<Issue>> {
        let mut roles = Self {
            default: settings.role.clone(),
            ..Self::default()
        };
        let matching = Matching {
            directory,
            reader,
            searches: &settings.searches,
        };
        for (index, rule) in settings.role_rules.iter().enumerate() {
            roles.roles.push(rule.role.clone());
            let outcome = match &rule.condition {
                RoleCondition::Filter(filter) => {
                    let ids = matching.ids(filter, &[], |_| true).await;
                    ids.map(|ids| roles.match_ids(index, ids))
                }
                RoleCondition::GroupDn(group) => match group_problem(directory, group, timeout).await {
                    Err(error) => Err(error.to_string()),
                    Ok(Some(problem)) => Err(problem.to_owned()),
                    Ok(None) if reader.dialect() == Dialect::ActiveDirectory => {
                        let ids = matching.ids_in_group(group, contexts, timeout).await;
                        ids.map(|ids| roles.match_ids(index, ids))
                    }
                    Ok(None) => {
                        let members = members(directory, group, contexts, timeout).await;
                        members.map(|members| roles.by_dn.push((index, members)))
                    }
                },
            };
            if let Err(problem) = outcome {
                return Err(rule_failed(index, "", &problem));
            }
        }
        Ok(roles)
    }

    /// The role of an entry: the first rule's that matches it, else the sync's own.
    pub(super) fn of(&self, id: &ExternalId, dn: &str) -> &str {
        let by_id = self.by_id.get(id).copied();
        let dn = if self.by_dn.is_empty() {
            None
        } else {
            Dn::parse(dn).ok()
        };
        let by_dn = dn.and_then(|dn| {
            self.by_dn
                .iter()
                .find(|(_, members)| members.contains(&dn))
                .map(|(rule, _)| *rule)
        });
        let rule = by_id.into_iter().chain(by_dn).min();
        rule.and_then(|rule| self.roles.get(rule))
            .unwrap_or(&self.default)
    }

    fn match_ids(&mut self, rule: usize, ids: Vec<ExternalId>) {
        for id in ids {
            self.by_id.entry(id).or_insert(rule);
        }
    }
}

/// Asks the server which of the entries that a sync takes match.
struct Matching<'a> {
    directory: &'a LdapDirectory,
    reader: &'a EntryReader,
    searches: &'a [Search],
}

impl Matching<'_> {
    /// The ids of those that match the filter, and that `keep` keeps by their ids and `attributes`.
    async fn ids(
        &self,
        filter: &str,
        attributes: &[&str],
        keep: impl Fn(&Entry) -> bool,
    ) -> Result<Vec<ExternalId>, String> {
        let narrowed = |search: &Search| Search {
            filter: format!("(&{}{})", canonical(&search.filter), canonical(filter)),
            ..search.clone()
        };
        let searches: Vec<Search> = self.searches.iter().map(narrowed).collect();
        let mut wanted = self.reader.id_attributes();
        wanted.extend(attributes.iter().map(|name| (*name).to_owned()));
        let mut pull = Pull::new(self.directory, &searches, &wanted);
        let mut ids = Vec::new();
        while let Some(entries) = pull.next_batch().await {
            let kept = entries.iter().filter(|entry| keep(entry));
            ids.extend(kept.filter_map(|entry| self.reader.external_id(entry).ok()));
        }
        complete(pull).await?;
        Ok(ids)
    }

    /// On Active Directory: the members of a group, through groups in it or by primary group.
    async fn ids_in_group(
        &self,
        group: &str,
        contexts: &[String],
        timeout: Duration,
    ) -> Result<Vec<ExternalId>, String> {
        let mut ids = self.ids(&in_chain(group).to_string(), &[], |_| true).await?;
        let deadline = Instant::now() + timeout;
        let groups = self.directory.primary_groups(group, contexts, deadline).await;
        let groups: HashSet<Sid> = groups.map_err(|error| error.to_string())?.into_iter().collect();
        let relative: Vec<u32> = groups.iter().filter_map(Sid::relative_id).collect();
        for some in relative.chunks(GROUPS_AT_ONCE) {
            let one = |id: &u32| format!("(primaryGroupID={id})");
            let filter = format!("(|{})", some.iter().map(one).collect::<String>());
            // Other domains have groups with the same relative ids.
            let keep = |entry: &Entry| Sid::of_primary_group(entry).is_some_and(|sid| groups.contains(&sid));
            ids.extend(self.ids(&filter, &Sid::ATTRIBUTES, keep).await?);
        }
        Ok(ids)
    }
}

/// The issue of a rule that cannot be evaluated, for all entries or the one at `dn`.
pub(super) fn rule_failed(rule: usize, dn: &str, problem: &str) -> Box<Issue> {
    let message = format!("role rule {} could not be evaluated: {problem}", rule + 1);
    Box::new(Issue::new(IssueKind::RoleRuleFailed, dn, message))
}

/// What keeps a rule's group from being looked into; `None` if nothing does. A filter or a way up from an
/// entry would just find nobody in such a group.
///
/// # Errors
/// No answer.
pub(super) async fn group_problem(
    directory: &LdapDirectory,
    group: &str,
    timeout: Duration,
) -> Result<Option<&'static str>, LdapError> {
    let request = ReadRequest {
        dn: group.to_owned(),
        filter: "(objectClass=*)".to_owned(),
        attributes: MEMBERS
            .iter()
            .chain(&OTHER_MEMBERS)
            .map(|name| (*name).to_owned())
            .collect(),
    };
    let Some(entry) = directory.read_entry(&request, Instant::now() + timeout).await? else {
        return Ok(Some(NO_GROUP));
    };
    let has = |names: &[&str]| names.iter().any(|name| !entry.values(name).is_empty());
    Ok((has(&OTHER_MEMBERS) && !has(&MEMBERS)).then_some(NO_ENTRIES))
}

/// All members of a group, through groups within it. Groups within groups are looked for under `contexts`.
///
/// # Errors
/// The group does not exist, or something could not be read to its end.
async fn members(
    directory: &LdapDirectory,
    group: &str,
    contexts: &[String],
    timeout: Duration,
) -> Result<HashSet<Dn>, String> {
    let groups = all_groups(directory, contexts).await?;
    let mut members = HashSet::new();
    let mut frontier = vec![group.to_owned()];
    while let Some(group) = frontier.pop() {
        for member in direct_members(directory, &group, timeout).await? {
            let Ok(dn) = Dn::parse(&member) else { continue };
            // A group that is met again is in the set already, so circles end here.
            if members.insert(dn.clone()) && groups.contains(&dn) {
                frontier.push(member);
            }
        }
    }
    Ok(members)
}

/// The DNs of all groups, so that members which are groups are known without reading each member.
async fn all_groups(directory: &LdapDirectory, contexts: &[String]) -> Result<HashSet<Dn>, String> {
    let searches: Vec<Search> = contexts
        .iter()
        .map(|context| Search {
            base_dn: context.clone(),
            scope: SearchScope::Subtree,
            filter: GROUPS.to_owned(),
        })
        .collect();
    let mut groups = HashSet::new();
    let attributes = ["1.1".to_owned()];
    let mut pull = Pull::new(directory, &searches, &attributes);
    while let Some(entries) = pull.next_batch().await {
        groups.extend(entries.iter().filter_map(|entry| Dn::parse(&entry.dn).ok()));
    }
    complete(pull).await?;
    Ok(groups)
}

async fn direct_members(
    directory: &LdapDirectory,
    group: &str,
    timeout: Duration,
) -> Result<Vec<String>, String> {
    let request = ReadRequest {
        dn: group.to_owned(),
        filter: "(objectClass=*)".to_owned(),
        attributes: MEMBERS.map(str::to_owned).to_vec(),
    };
    let read = directory
        .read_entry(&request, Instant::now() + timeout)
        .await
        .map_err(|error| error.to_string())?;
    let entry = read.ok_or(NO_GROUP)?;
    if entry.attributes.keys().any(|name| name.contains(";range=")) {
        return Err("a group has more members than the server returns at once".to_owned());
    }
    Ok(MEMBERS
        .iter()
        .flat_map(|name| entry.texts(name))
        .map(str::to_owned)
        .collect())
}

/// A rule is evaluated on all entries or not at all.
async fn complete(pull: Pull) -> Result<(), String> {
    let summary = pull.finish().await.map_err(|error| error.to_string())?;
    summary.gaps.into_iter().next().map_or(Ok(()), Err)
}
