//! Role rules: which users get which role. The server evaluates filters; for groups their members are read.
//! A rule that cannot be evaluated is an issue, never "no match".

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use rollcall_core::dialect::Dialect;
use rollcall_core::dn::Dn;
use rollcall_core::external_id::ExternalId;
use rollcall_core::filter::{Attribute, Filter};
use rollcall_core::issue::{Issue, IssueKind};
use rollcall_core::reader::EntryReader;
use rollcall_core::user_sync::{RoleCondition, Search, SearchScope, UserSyncSettings};
use rollcall_ldap::{LdapDirectory, LdapError, ReadRequest};
use tokio::time::Instant;

use super::pull::{Pull, canonical};

/// Classes of groups whose members are DNs.
const GROUPS: &str = "(|(objectClass=groupOfNames)(objectClass=groupOfUniqueNames)(objectClass=groupOfMembers)\
                      (objectClass=group)(objectClass=groupOfEntries))";
const MEMBERS: [&str; 2] = ["member", "uniqueMember"];
/// Attributes of groups whose members are no entries, or are computed (RFC 2307; groupOfURLs).
const OTHER_MEMBERS: [&str; 2] = ["memberUid", "memberURL"];

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
        for (index, rule) in settings.role_rules.iter().enumerate() {
            roles.roles.push(rule.role.clone());
            let outcome = match &rule.condition {
                RoleCondition::Filter(filter) => {
                    roles
                        .match_filter(directory, reader, settings, index, filter)
                        .await
                }
                RoleCondition::GroupDn(group) => match group_problem(directory, group, timeout).await {
                    Err(error) => Err(error.to_string()),
                    Ok(Some(problem)) => Err(problem.to_owned()),
                    Ok(None) if reader.dialect() == Dialect::ActiveDirectory => {
                        roles
                            .match_filter(directory, reader, settings, index, &in_chain(group))
                            .await
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

    /// The ids of the entries that the sync takes and the filter matches.
    async fn match_filter(
        &mut self,
        directory: &LdapDirectory,
        reader: &EntryReader,
        settings: &UserSyncSettings,
        rule: usize,
        filter: &str,
    ) -> Result<(), String> {
        let searches: Vec<Search> = settings
            .searches
            .iter()
            .map(|search| Search {
                filter: format!("(&{}{})", canonical(&search.filter), canonical(filter)),
                ..search.clone()
            })
            .collect();
        let attributes = reader.id_attributes();
        let mut pull = Pull::new(directory, &searches, &attributes);
        while let Some(entries) = pull.next_batch().await {
            for id in entries.iter().filter_map(|entry| reader.external_id(entry).ok()) {
                self.by_id.entry(id).or_insert(rule);
            }
        }
        complete(pull)
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

/// `LDAP_MATCHING_RULE_IN_CHAIN`: members of a group through any number of groups (MS-ADTS 3.1.1.3.4.4).
pub(super) fn in_chain(group: &str) -> String {
    let member_of =
        Attribute::parse("memberOf").map(|name| Filter::equality(name, group.as_bytes()).to_string());
    member_of
        .unwrap_or_default()
        .replacen("memberOf=", "memberOf:1.2.840.113556.1.4.1941:=", 1)
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
    complete(pull)?;
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
fn complete(pull: Pull<'_>) -> Result<(), String> {
    let summary = pull.finish().map_err(|error| error.to_string())?;
    summary.gaps.into_iter().next().map_or(Ok(()), Err)
}
