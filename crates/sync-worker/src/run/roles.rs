//! Role rules: which users get which role. The server evaluates filters; for groups their members are read.
//! A rule that cannot be evaluated is an issue, never "no match".

use std::collections::HashSet;
use std::time::Duration;

use rollcall_core::dialect::Dialect;
use rollcall_core::digests::{Digest, DigestSet, Digests};
use rollcall_core::dn::Dn;
use rollcall_core::entry::Entry;
use rollcall_core::external_id::ExternalId;
use rollcall_core::id::{RunId, UserSyncKey};
use rollcall_core::issue::{Issue, IssueKind};
use rollcall_core::user_sync::{RoleCondition, Search, SearchScope, UserSyncSettings};
use rollcall_ldap::{LdapDirectory, LdapError, ReadRequest, Sid, in_chain};
use tokio::time::Instant;

use super::Inner;
use super::carry_out::PROGRESS_INTERVAL;
use super::pull::{Pull, canonical};
use super::source::Source;
use super::stop::Stop;

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
#[derive(Default)]
pub(super) struct Roles {
    digests: Digests,
    rules: Vec<Rule>,
    /// Whether a rule knows its members by their DNs.
    by_dn: bool,
    default: String,
}

struct Rule {
    role: String,
    /// The ids, or the DNs, of those whom no rule before gives a role: a rule may match everybody, and there are many.
    members: DigestSet,
}

impl Roles {
    /// The role of an entry: the first rule's that matches it, else the sync's own.
    pub(super) fn of(&self, id: &ExternalId, dn: &str) -> &str {
        if self.rules.is_empty() {
            return &self.default;
        }
        let id = self.digests.of(id);
        let dn = if self.by_dn { Dn::parse(dn).ok() } else { None };
        let dn = dn.map(|dn| self.digests.of(&dn));
        let matches =
            |rule: &&Rule| rule.members.contains(id) || dn.is_some_and(|dn| rule.members.contains(dn));
        let rule = self.rules.iter().find(matches);
        rule.map_or(&self.default, |rule| &rule.role)
    }

    /// Adds somebody to the members of the next rule. False if nothing was new about it.
    fn add(&self, digest: Digest, members: &mut DigestSet) -> bool {
        let decided = self.rules.iter().any(|rule| rule.members.contains(digest));
        !decided && members.insert(digest)
    }
}

/// Why a rule was not evaluated.
enum Unevaluated {
    /// It cannot be: what is wrong, for the tenant's admin.
    Problem(String),
    Stopped(Stop),
}

impl From<String> for Unevaluated {
    fn from(problem: String) -> Self {
        Self::Problem(problem)
    }
}

impl From<LdapError> for Unevaluated {
    fn from(error: LdapError) -> Self {
        Self::Problem(error.to_string())
    }
}

impl From<Stop> for Unevaluated {
    fn from(stop: Stop) -> Self {
        Self::Stopped(stop)
    }
}

impl Inner {
    /// Evaluates all role rules of a sync, or says which is the first that cannot be evaluated: without it nobody's
    /// role is known.
    ///
    /// # Errors
    /// Why the run has to stop here.
    pub(super) async fn roles(
        &self,
        key: &UserSyncKey,
        id: RunId,
        settings: &UserSyncSettings,
        source: &Source,
    ) -> Result<Result<Roles, Box<Issue>>, Stop> {
        let mut evaluation = Evaluation {
            inner: self,
            key,
            id,
            source,
            searches: &settings.searches,
            roles: Roles {
                default: settings.role.clone(),
                ..Roles::default()
            },
            groups: None,
            asked: Instant::now(),
        };
        for (index, rule) in settings.role_rules.iter().enumerate() {
            let members = match evaluation.members(&rule.condition).await {
                Ok(members) => members,
                Err(Unevaluated::Problem(problem)) => return Ok(Err(rule_failed(index, "", &problem))),
                Err(Unevaluated::Stopped(stop)) => return Err(stop),
            };
            evaluation.roles.rules.push(Rule {
                role: rule.role.clone(),
                members,
            });
        }
        Ok(Ok(evaluation.roles))
    }
}

/// Role rules being evaluated, one after the other.
struct Evaluation<'a> {
    inner: &'a Inner,
    key: &'a UserSyncKey,
    id: RunId,
    source: &'a Source,
    searches: &'a [Search],
    roles: Roles,
    /// The DNs of all groups, so that members which are groups are known without reading each member.
    groups: Option<DigestSet>,
    /// When it was last asked whether the run shall go on.
    asked: Instant,
}

impl Evaluation<'_> {
    /// Those whom the next rule matches, but for those whom a rule before does.
    async fn members(&mut self, condition: &RoleCondition) -> Result<DigestSet, Unevaluated> {
        let mut members = DigestSet::default();
        match condition {
            RoleCondition::Filter(filter) => self.matching(filter, &[], |_| true, &mut members).await?,
            RoleCondition::GroupDn(group) => {
                let Source {
                    ldap,
                    reader,
                    timeout,
                    ..
                } = self.source;
                if let Some(problem) = group_problem(ldap, group, *timeout).await? {
                    return Err(problem.to_owned().into());
                }
                if reader.dialect() == Dialect::ActiveDirectory {
                    self.in_chain_of(group, &mut members).await?;
                } else {
                    self.under(group, &mut members).await?;
                }
            }
        }
        Ok(members)
    }

    /// Asks the server which of the entries that the sync takes match a filter, and adds those that `keep` keeps by
    /// their ids and `attributes`.
    async fn matching(
        &mut self,
        filter: &str,
        attributes: &[&str],
        keep: impl Fn(&Entry) -> bool,
        members: &mut DigestSet,
    ) -> Result<(), Unevaluated> {
        let Source { ldap, reader, .. } = self.source;
        let narrowed = |search: &Search| Search {
            filter: format!("(&{}{})", canonical(&search.filter), canonical(filter)),
            ..search.clone()
        };
        let searches: Vec<Search> = self.searches.iter().map(narrowed).collect();
        let mut wanted = reader.id_attributes();
        wanted.extend(attributes.iter().map(|name| (*name).to_owned()));
        let mut pull = Pull::new(ldap, &searches, &wanted);
        while let Some(entries) = pull.next_batch().await {
            for entry in entries.iter().filter(|entry| keep(entry)) {
                if let Ok(id) = reader.external_id(entry) {
                    self.roles.add(self.roles.digests.of(&id), members);
                }
            }
            self.go_on().await?;
        }
        complete(pull).await
    }

    /// On Active Directory: the members of a group, through groups in it or by primary group.
    async fn in_chain_of(&mut self, group: &str, members: &mut DigestSet) -> Result<(), Unevaluated> {
        let filter = in_chain(group).to_string();
        self.matching(&filter, &[], |_| true, members).await?;
        let Source {
            ldap,
            contexts,
            timeout,
            ..
        } = self.source;
        let deadline = Instant::now() + *timeout;
        let groups = ldap.primary_groups(group, contexts, deadline).await?;
        let groups: HashSet<Sid> = groups.into_iter().collect();
        let relative: Vec<u32> = groups.iter().filter_map(Sid::relative_id).collect();
        for some in relative.chunks(GROUPS_AT_ONCE) {
            let one = |id: &u32| format!("(primaryGroupID={id})");
            let filter = format!("(|{})", some.iter().map(one).collect::<String>());
            // Other domains have groups with the same relative ids.
            let keep = |entry: &Entry| Sid::of_primary_group(entry).is_some_and(|sid| groups.contains(&sid));
            self.matching(&filter, &Sid::ATTRIBUTES, keep, members).await?;
        }
        Ok(())
    }

    /// Elsewhere: all members of a group by their DNs, through groups within it.
    async fn under(&mut self, group: &str, members: &mut DigestSet) -> Result<(), Unevaluated> {
        self.roles.by_dn = true;
        let groups = match self.groups.take() {
            Some(groups) => groups,
            None => self.all_groups().await?,
        };
        let mut frontier = vec![group.to_owned()];
        while let Some(group) = frontier.pop() {
            self.go_on().await?;
            let entry = self.read_group(&group).await?;
            for member in MEMBERS.iter().flat_map(|name| entry.texts(name)) {
                let Ok(dn) = Dn::parse(member) else { continue };
                let digest = self.roles.digests.of(&dn);
                // A group that is met again is among the members already, of this rule or one before, and so are its
                // members: circles end here.
                if self.roles.add(digest, members) && groups.contains(digest) {
                    frontier.push(member.to_owned());
                }
            }
        }
        self.groups = Some(groups);
        Ok(())
    }

    async fn all_groups(&mut self) -> Result<DigestSet, Unevaluated> {
        let searches: Vec<Search> = self
            .source
            .contexts
            .iter()
            .map(|context| Search {
                base_dn: context.clone(),
                scope: SearchScope::Subtree,
                filter: GROUPS.to_owned(),
            })
            .collect();
        let mut groups = DigestSet::default();
        let attributes = ["1.1".to_owned()];
        let mut pull = Pull::new(&self.source.ldap, &searches, &attributes);
        while let Some(entries) = pull.next_batch().await {
            for dn in entries.iter().filter_map(|entry| Dn::parse(&entry.dn).ok()) {
                groups.insert(self.roles.digests.of(&dn));
            }
            self.go_on().await?;
        }
        complete(pull).await?;
        Ok(groups)
    }

    /// A group with its members, which must be all of them.
    async fn read_group(&self, group: &str) -> Result<Entry, Unevaluated> {
        let request = ReadRequest {
            dn: group.to_owned(),
            filter: "(objectClass=*)".to_owned(),
            attributes: MEMBERS.map(str::to_owned).to_vec(),
        };
        let deadline = Instant::now() + self.source.timeout;
        let read = self.source.ldap.read_entry(&request, deadline).await?;
        let entry = read.ok_or_else(|| NO_GROUP.to_owned())?;
        if entry.attributes.keys().any(|name| name.contains(";range=")) {
            return Err("a group has more members than the server returns at once"
                .to_owned()
                .into());
        }
        Ok(entry)
    }

    /// Asks now and then whether the run shall go on.
    async fn go_on(&mut self) -> Result<(), Stop> {
        if self.asked.elapsed() >= PROGRESS_INTERVAL {
            self.inner.keep_going(self.key, self.id).await?;
            self.asked = Instant::now();
        }
        Ok(())
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

/// A rule is evaluated on all entries or not at all.
async fn complete(pull: Pull) -> Result<(), Unevaluated> {
    let gap = pull.finish().await?.gaps.into_iter().next();
    gap.map_or(Ok(()), |gap| Err(gap.into()))
}
