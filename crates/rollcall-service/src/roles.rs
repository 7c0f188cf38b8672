//! The roles of all entries of a run. The server evaluates filters, and on Active Directory memberships. On other
//! servers the groups are read, each once and value by value, since a group may have a million members.

use std::collections::HashSet;
use std::time::Duration;

use rollcall_core::digests::{Digest, DigestSet, Digests};
use rollcall_core::dn::Dn;
use rollcall_core::entry::Entry;
use rollcall_core::external_id::ExternalId;
use rollcall_core::reader::EntryReader;
use rollcall_core::role::{RoleFinding, RuleAnswer};
use rollcall_core::user_sync::{RoleCondition, Search, SearchScope, UserSyncSettings};
use rollcall_ldap::{LdapDirectory, LdapError, ResultCode, Sid, ValueReader, group_classes, in_chain};
use tokio::time::Instant;

use crate::groups::{
    BY_DN, BY_UID, Group, NO_MEMBERS_SHOWN, NOT_EXPANDED, TREE_NOT_READABLE, Unevaluated, look_at,
    naming_context_of,
};
use crate::pull::{Pull, canonical};
use crate::role::RuleProblem;

/// Groups whose members by primary group are asked for at once.
const GROUPS_AT_ONCE: usize = 50;
/// Groups within a group that are looked into.
const MAX_GROUPS: usize = 100_000;

/// The roles that a run's rules give.
pub struct Roles {
    digests: Digests,
    /// For each rule, the ids or the DNs of the people whom it matches and no earlier rule gives a role: a rule may
    /// match everybody, and there may be many rules. `None` for a rule that could not be evaluated.
    members: Vec<Option<DigestSet>>,
    /// Whether a rule knows its members by their DNs.
    by_dn: bool,
    /// The finding for each rule that may match first; the last one is for people whom no rule matches.
    findings: Vec<RoleFinding>,
    problems: Vec<RuleProblem>,
}

impl Roles {
    /// What is known about the role of an entry.
    pub fn of(&self, id: &ExternalId, dn: &str) -> &RoleFinding {
        let first = match self.members.is_empty() {
            true => None,
            false => self.first_match(id, dn),
        };
        &self.findings[first.unwrap_or(self.members.len())]
    }

    /// What is wrong with the rules, in their order.
    pub fn problems(&self) -> &[RuleProblem] {
        &self.problems
    }

    fn first_match(&self, id: &ExternalId, dn: &str) -> Option<usize> {
        let id = self.digests.of(id);
        let dn = self.by_dn.then(|| self.digests.of(&Dn::given(dn)));
        let has = |members: &DigestSet| members.contains(id) || dn.is_some_and(|dn| members.contains(dn));
        self.members
            .iter()
            .position(|members| members.as_ref().is_some_and(has))
    }

    /// Adds a person to the members of the next rule. False if an earlier rule, or this one, has the person already.
    fn add(&self, digest: Digest, members: &mut DigestSet) -> bool {
        let decided = self
            .members
            .iter()
            .flatten()
            .any(|members| members.contains(digest));
        !decided && members.insert(digest)
    }

    fn conclude(&mut self, settings: &UserSyncSettings) {
        let answer = |members: &Option<DigestSet>| match members {
            Some(_) => RuleAnswer::DoesNot,
            None => RuleAnswer::Unknown,
        };
        let otherwise: Vec<RuleAnswer> = self.members.iter().map(answer).collect();
        self.findings = (0..=otherwise.len())
            .map(|first| {
                let mut answers = otherwise.clone();
                if let Some(answer) = answers.get_mut(first) {
                    *answer = RuleAnswer::Matches;
                }
                RoleFinding::of(&settings.role, &settings.role_rules, &answers)
            })
            .collect();
    }
}

/// Where the entries of a run come from.
#[derive(Clone, Copy)]
pub struct RunSource<'a> {
    /// The directory.
    pub directory: &'a LdapDirectory,
    /// How its entries are read.
    pub reader: &'a EntryReader,
    /// The trees that the server has.
    pub naming_contexts: &'a [String],
    /// The longest time for one operation.
    pub timeout: Duration,
    /// Entries that the searches for one question may bring.
    pub max_entries: u32,
}

/// Evaluates all role rules of a sync. A rule that cannot be evaluated counts as either answer for all people whom no
/// earlier rule matches.
pub async fn evaluate(source: RunSource<'_>, settings: &UserSyncSettings) -> Roles {
    let mut evaluation = Evaluation {
        source,
        searches: &settings.searches,
        roles: Roles {
            digests: Digests::default(),
            members: Vec::new(),
            by_dn: false,
            findings: Vec::new(),
            problems: Vec::new(),
        },
        groups: None,
    };
    for (index, rule) in settings.role_rules.iter().enumerate() {
        let (members, problem) = match evaluation.members(&rule.condition).await {
            Ok(Members::Of(members)) => (Some(members), None),
            Ok(Members::GroupGone) => (
                Some(DigestSet::default()),
                Some(RuleProblem::group_missing(index, &rule.condition)),
            ),
            Err(why) => (None, Some(RuleProblem::unevaluated(index, &rule.condition, &why))),
        };
        evaluation.roles.problems.extend(problem);
        evaluation.roles.members.push(members);
    }
    let mut roles = evaluation.roles;
    roles.conclude(settings);
    roles
}

/// Whom a rule matches.
enum Members {
    Of(DigestSet),
    GroupGone,
}

/// The groups of a directory.
struct AllGroups {
    /// Their DNs, so that a member that is a group is recognised without reading it.
    dns: DigestSet,
    /// Trees that hold no root entry, or one that may not be read.
    unread: Vec<String>,
}

/// Role rules being evaluated, one after the other.
struct Evaluation<'a> {
    source: RunSource<'a>,
    searches: &'a [Search],
    roles: Roles,
    groups: Option<AllGroups>,
}

impl Evaluation<'_> {
    /// The people whom the next rule matches, without those whom an earlier rule matches.
    async fn members(&mut self, condition: &RoleCondition) -> Result<Members, Unevaluated> {
        let mut members = DigestSet::default();
        match condition {
            RoleCondition::Filter(filter) => self.matching(filter, &[], |_| true, &mut members).await?,
            RoleCondition::GroupDn(group) => {
                let RunSource {
                    directory,
                    naming_contexts,
                    ..
                } = self.source;
                let (dialect, deadline) = (self.source.reader.dialect(), self.deadline());
                match look_at(directory, dialect, group, naming_contexts, deadline).await? {
                    Group::Gone => return Ok(Members::GroupGone),
                    kind @ (Group::Lists { .. } | Group::Computed) => match dialect.row().has_in_chain {
                        true => self.in_chain_of(group, &mut members).await?,
                        false => self.under(group, kind, &mut members).await?,
                    },
                }
            }
        }
        Ok(Members::Of(members))
    }

    /// Asks the server which entries of the sync match a filter. Adds the ids of those that `keep` accepts; the entries
    /// have `attributes`.
    async fn matching(
        &mut self,
        filter: &str,
        attributes: &[&str],
        keep: impl Fn(&Entry) -> bool,
        members: &mut DigestSet,
    ) -> Result<(), Unevaluated> {
        let RunSource {
            directory, reader, ..
        } = self.source;
        let narrowed = |search: &Search| Search {
            filter: format!("(&{}{})", canonical(&search.filter), canonical(filter)),
            ..search.clone()
        };
        let searches: Vec<Search> = self.searches.iter().map(narrowed).collect();
        let mut wanted = reader.id_attributes();
        wanted.extend(attributes.iter().map(|name| (*name).to_owned()));
        let mut pull = Pull::new(directory, &searches, &wanted, self.source.max_entries);
        while let Some(entries) = pull.next_batch().await {
            for entry in entries.iter().filter(|entry| keep(entry)) {
                if let Ok(id) = reader.external_id(entry) {
                    self.roles.add(self.roles.digests.of(&id), members);
                }
            }
        }
        complete(pull).await
    }

    /// On Active Directory: the members of a group, through groups in it or by primary group.
    async fn in_chain_of(&mut self, group: &str, members: &mut DigestSet) -> Result<(), Unevaluated> {
        let filter = in_chain(group).to_string();
        self.matching(&filter, &[], |_| true, members).await?;
        let RunSource {
            directory,
            naming_contexts,
            ..
        } = self.source;
        let groups = directory
            .primary_groups(group, naming_contexts, self.deadline())
            .await?;
        let groups: HashSet<Sid> = groups.into_iter().collect();
        let relative: Vec<u32> = groups.iter().filter_map(Sid::relative_id).collect();
        for some in relative.chunks(GROUPS_AT_ONCE) {
            let one = |id: &u32| format!("(primaryGroupID={id})");
            let filter = format!("(|{})", some.iter().map(one).collect::<String>());
            // Groups of other domains may have the same relative ids.
            let keep = |entry: &Entry| Sid::of_primary_group(entry).is_some_and(|sid| groups.contains(&sid));
            self.matching(&filter, &Sid::ATTRIBUTES, keep, members).await?;
        }
        Ok(())
    }

    /// On other servers: all members of a group, through groups within it. People whom a group names by DN are added by
    /// DN, and people whom it names by `uid` are added by id.
    async fn under(&mut self, group: &str, kind: Group, members: &mut DigestSet) -> Result<(), Unevaluated> {
        self.roles.by_dn = true;
        let groups = match self.groups.take() {
            Some(groups) => groups,
            None => self.all_groups().await?,
        };
        let unread = naming_context_of(group, &groups.unread);
        let unreadable = unread.is_some() && unread == naming_context_of(group, self.source.naming_contexts);
        let result = match unreadable {
            true => Err(TREE_NOT_READABLE.into()),
            false => self.descend(group, kind, &groups.dns, members).await,
        };
        self.groups = Some(groups);
        let uids = result?;
        if uids.is_empty() {
            return Ok(());
        }
        let listed = |entry: &Entry| entry.texts("uid").any(|uid| uids.contains(uid));
        self.matching("(uid=*)", &["uid"], listed, members).await
    }

    /// Adds the members that a group and the groups within it name by DN. Returns those whom they name by `uid`.
    async fn descend(
        &mut self,
        group: &str,
        kind: Group,
        groups: &DigestSet,
        members: &mut DigestSet,
    ) -> Result<HashSet<String>, Unevaluated> {
        let mut reader: ValueReader = self.source.directory.value_reader().await?;
        let mut uids = HashSet::new();
        let (mut frontier, mut looked_into) = (vec![group.to_owned()], 0);
        while let Some(next) = frontier.pop() {
            looked_into += 1;
            if looked_into > MAX_GROUPS {
                return Err(LdapError::SearchRefused(ResultCode::ADMIN_LIMIT_EXCEEDED).into());
            }
            let mut shown = false;
            let take = |name: &str, value: &[u8]| {
                let Ok(value) = std::str::from_utf8(value) else {
                    return;
                };
                if name.eq_ignore_ascii_case(BY_UID) {
                    uids.insert(value.to_owned());
                    return;
                }
                shown = true;
                let digest = self.roles.digests.of(&Dn::given(value));
                // A group that was met before is among the members already, and so are its members. So circles end
                // here.
                if self.roles.add(digest, members) && groups.contains(digest) {
                    frontier.push(value.to_owned());
                }
            };
            let [member, unique_member] = BY_DN;
            reader.read(&next, &[member, unique_member, BY_UID], take).await?;
            match kind {
                // A group within it may have lost its members meanwhile, but the rule's own group had one a moment ago.
                Group::Computed if looked_into == 1 && !shown => return Err(NOT_EXPANDED.into()),
                Group::Lists {
                    never_empty: true, ..
                } if looked_into == 1 && !shown => {
                    return Err(NO_MEMBERS_SHOWN.into());
                }
                Group::Gone | Group::Computed | Group::Lists { .. } => {}
            }
        }
        Ok(uids)
    }

    async fn all_groups(&mut self) -> Result<AllGroups, Unevaluated> {
        let mut groups = AllGroups {
            dns: DigestSet::default(),
            unread: Vec::new(),
        };
        let attributes = ["1.1".to_owned()];
        for naming_context in self.source.naming_contexts {
            let search = Search {
                base_dn: naming_context.clone(),
                scope: SearchScope::Subtree,
                filter: group_classes(),
            };
            let mut pull = Pull::new(
                self.source.directory,
                &[search],
                &attributes,
                self.source.max_entries,
            );
            while let Some(entries) = pull.next_batch().await {
                if entries.iter().any(|entry| entry.tainted) {
                    return Err("the name of a group is not UTF-8".into());
                }
                for entry in entries {
                    groups.dns.insert(self.roles.digests.of(&Dn::given(&entry.dn)));
                }
            }
            match pull.finish().await {
                Ok(summary) => whole(summary.gaps)?,
                Err(LdapError::SearchRefused(ResultCode::NO_SUCH_OBJECT)) => {
                    groups.unread.push(naming_context.clone());
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(groups)
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.source.timeout
    }
}

/// A rule is evaluated on all entries or not at all.
async fn complete(pull: Pull) -> Result<(), Unevaluated> {
    whole(pull.finish().await?.gaps)
}

fn whole(gaps: Vec<String>) -> Result<(), Unevaluated> {
    gaps.into_iter()
        .next()
        .map_or(Ok(()), |gap| Err(Unevaluated(gap)))
}
