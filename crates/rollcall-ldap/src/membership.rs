//! Is somebody in a group, directly, through other groups, or by having it as primary group?
//!
//! Active Directory follows groups in groups by a matching rule, which does not count the primary group; nor does any
//! `member` attribute name it (MS-ADTS 3.1.1.4.5.19 does for `tokenGroups`, which only a base search has). Other
//! servers have no such rule: there the search goes up from the entry, level by level.

use std::collections::HashSet;

use rollcall_core::dn::Dn;
use rollcall_core::entry::Entry;
use rollcall_core::filter::{Attribute, Filter, MatchingRule};
use rollcall_core::user_sync::SearchScope;
use tokio::time::Instant;

use crate::directory::{LdapDirectory, ReadRequest};
use crate::error::LdapError;
use crate::result_code::ResultCode;

/// Most groups that are looked at on the way up from an entry, or down into a group.
const MAX_GROUPS: usize = 2_000;
/// Members that one filter asks for at most.
const NAMES_AT_ONCE: usize = 50;
/// Classes of groups that count within other groups, elsewhere than on Active Directory.
const CLASSES: [&str; 6] = [
    "groupOfNames",
    "groupOfUniqueNames",
    "groupOfMembers",
    "groupOfEntries",
    "group",
    "posixGroup",
];
/// The attributes that name members by DN.
const MEMBERS: [&str; 2] = ["member", "uniqueMember"];
/// `LDAP_MATCHING_RULE_IN_CHAIN` (MS-ADTS 3.1.1.3.4.4.3): membership through other groups too.
const IN_CHAIN: &str = "1.2.840.113556.1.4.1941";

/// A security identifier as Active Directory stores it (MS-DTYP 2.4.2.2).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Sid(Vec<u8>);

impl Sid {
    /// What an entry must be read with for [`Sid::of_primary_group`].
    pub const ATTRIBUTES: [&str; 2] = ["objectSid", "primaryGroupID"];

    /// The entry's primary group: in the entry's own domain, with that relative id. `None` if the entry has none.
    pub fn of_primary_group(entry: &Entry) -> Option<Self> {
        let own = entry.values("objectSid").first()?;
        let id: u32 = entry.text("primaryGroupID")?.parse().ok()?;
        let (domain, _) = own.split_last_chunk::<4>()?;
        Some(Self([domain, &id.to_le_bytes()].concat()))
    }

    /// Its last part, by which `primaryGroupID` names it.
    pub fn relative_id(&self) -> Option<u32> {
        self.0.last_chunk::<4>().map(|bytes| u32::from_le_bytes(*bytes))
    }

    /// The form of a DN that finds its entry (MS-ADTS 3.1.1.3.1.2.4).
    fn dn(&self) -> String {
        let hex: String = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("<SID={hex}>")
    }
}

/// The filter that matches Active Directory's members of a group, through any number of groups. It does not match those
/// whose primary group is one of these groups.
pub fn in_chain(group: &str) -> Filter {
    Filter::Extensible {
        attribute: Attribute::parse("memberOf"),
        dn_attributes: false,
        rule: MatchingRule::parse(IN_CHAIN),
        value: group.as_bytes().to_vec(),
    }
}

/// The groups that somebody is in.
#[derive(Default)]
pub struct Above {
    /// All of them, direct or not.
    pub groups: HashSet<Dn>,
    /// The same, as the server wrote them.
    pub dns: Vec<String>,
    /// Trees that cannot be looked into: they have no root entry, or it may not be read.
    pub unread: Vec<String>,
}

/// The filter that finds the groups which count within other groups, elsewhere than on Active Directory.
pub fn group_classes() -> String {
    let classes = CLASSES.map(|class| format!("(objectClass={class})"));
    format!("(|{})", classes.concat())
}

/// True if an entry of this class counts within other groups.
pub fn is_group_class(class: &str) -> bool {
    CLASSES.iter().any(|known| known.eq_ignore_ascii_case(class))
}

impl LdapDirectory {
    /// On Active Directory: the group and all groups within it. Any of them may be somebody's primary group. Groups
    /// within it are looked for under `naming_contexts`.
    ///
    /// # Errors
    /// No answer, or more groups than can be looked at: then nothing is known.
    pub async fn primary_groups(
        &self,
        group: &str,
        naming_contexts: &[String],
        deadline: Instant,
    ) -> Result<Vec<Sid>, LdapError> {
        let attributes = ["objectSid".to_owned()];
        let request = ReadRequest {
            dn: group.to_owned(),
            filter: "(objectClass=group)".to_owned(),
            attributes: attributes.to_vec(),
        };
        let mut groups = Vec::from_iter(self.read_entry(&request, deadline).await?);
        let filter = format!("(&(objectClass=group){})", in_chain(group));
        groups.extend(
            self.groups(&filter, &attributes, naming_contexts, deadline)
                .await?,
        );
        let sid = |entry: &Entry| entry.values("objectSid").first().cloned().map(Sid);
        Ok(groups.iter().filter_map(sid).collect())
    }

    /// On Active Directory: true if the entry at `dn` is in the group, through any number of groups or by its primary
    /// group.
    ///
    /// # Errors
    /// No answer.
    pub async fn is_in_chain(&self, dn: &str, group: &str, deadline: Instant) -> Result<bool, LdapError> {
        let matches = async |dn: String, filter: &Filter, attributes: &[&str]| {
            let request = ReadRequest {
                dn,
                filter: filter.to_string(),
                attributes: attributes.iter().map(|name| (*name).to_owned()).collect(),
            };
            self.read_entry(&request, deadline).await
        };
        let by_groups = in_chain(group);
        if matches(dn.to_owned(), &by_groups, &["1.1"]).await?.is_some() {
            return Ok(true);
        }
        let (Some(anything), Some(own_name)) = (
            Attribute::parse("objectClass").map(Filter::present),
            Attribute::parse("distinguishedName"),
        ) else {
            return Ok(false);
        };
        let entry = matches(dn.to_owned(), &anything, &Sid::ATTRIBUTES).await?;
        let Some(primary) = entry.as_ref().and_then(Sid::of_primary_group) else {
            return Ok(false);
        };
        let is_it = Filter::or(vec![Filter::equality(own_name, group.as_bytes()), by_groups]);
        Ok(matches(primary.dn(), &is_it, &["1.1"]).await?.is_some())
    }

    /// All groups that the entry at `dn` is in, directly or through others, elsewhere than on Active Directory. `uids`
    /// are the names by which groups of RFC 2307 know it. `naming_contexts` are the trees where groups may be.
    ///
    /// # Errors
    /// No answer, or more groups than can be looked at: then nothing is known.
    pub async fn groups_above(
        &self,
        dn: &str,
        uids: &[String],
        naming_contexts: &[String],
        deadline: Instant,
    ) -> Result<Above, LdapError> {
        let mut above = Above::default();
        let mut frontier = names(&[dn.to_owned()], uids);
        while !frontier.is_empty() {
            let mut next = Vec::new();
            for some in frontier.chunks(NAMES_AT_ONCE) {
                let filter = format!("(&{}{})", group_classes(), Filter::or(some.to_vec()));
                let attributes = ["1.1".to_owned()];
                let groups = self
                    .groups_where_readable(&filter, &attributes, naming_contexts, &mut above.unread, deadline)
                    .await?;
                for group in groups {
                    // Through other groups, a group may be in itself.
                    if above.groups.insert(Dn::given(&group.dn)) {
                        next.push(group.dn);
                    }
                }
                if above.groups.len() > MAX_GROUPS {
                    return Err(LdapError::SearchRefused(ResultCode::ADMIN_LIMIT_EXCEEDED));
                }
            }
            above.dns.extend(next.iter().cloned());
            frontier = names(&next, &[]);
        }
        Ok(above)
    }

    /// True if the group itself names one of these entries, or one of these uids, as its member.
    ///
    /// # Errors
    /// No answer.
    pub async fn names_a_member(
        &self,
        group: &str,
        dns: &[String],
        uids: &[String],
        deadline: Instant,
    ) -> Result<bool, LdapError> {
        for some in names(dns, uids).chunks(NAMES_AT_ONCE) {
            let request = ReadRequest {
                dn: group.to_owned(),
                filter: Filter::or(some.to_vec()).to_string(),
                attributes: vec!["1.1".to_owned()],
            };
            if self.read_entry(&request, deadline).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn groups(
        &self,
        filter: &str,
        attributes: &[String],
        naming_contexts: &[String],
        deadline: Instant,
    ) -> Result<Vec<Entry>, LdapError> {
        let limit = u32::try_from(MAX_GROUPS).unwrap_or(u32::MAX);
        let mut groups = Vec::new();
        for naming_context in naming_contexts {
            let scope = SearchScope::Subtree;
            let found = self
                .find(naming_context, scope, filter, attributes, limit, deadline)
                .await?;
            if found.more {
                return Err(LdapError::SearchRefused(ResultCode::SIZE_LIMIT_EXCEEDED));
            }
            groups.extend(found.entries);
        }
        Ok(groups)
    }

    /// Like [`groups`](Self::groups), but a tree without a root entry, or whose root entry may not be read, counts as
    /// empty.
    async fn groups_where_readable(
        &self,
        filter: &str,
        attributes: &[String],
        naming_contexts: &[String],
        unread: &mut Vec<String>,
        deadline: Instant,
    ) -> Result<Vec<Entry>, LdapError> {
        let mut groups = Vec::new();
        for naming_context in naming_contexts {
            if unread.contains(naming_context) {
                continue;
            }
            let one = std::slice::from_ref(naming_context);
            match self.groups(filter, attributes, one, deadline).await {
                Ok(found) => groups.extend(found),
                Err(LdapError::SearchRefused(ResultCode::NO_SUCH_OBJECT)) => {
                    unread.push(naming_context.clone())
                }
                Err(error) => return Err(error),
            }
        }
        Ok(groups)
    }
}

/// Filters for the groups that name one of these entries, or one of these uids. Together they cover all names.
fn names(dns: &[String], uids: &[String]) -> Vec<Filter> {
    let equals = |name: &str, value: &String| {
        Attribute::parse(name).map(|name| Filter::equality(name, value.as_bytes()))
    };
    let by_dn = dns.iter().flat_map(|dn| {
        MEMBERS
            .iter()
            .filter_map(|name| equals(name, dn))
            .collect::<Vec<_>>()
    });
    let by_uid = uids.iter().filter_map(|uid| equals("memberUid", uid));
    by_dn.chain(by_uid).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_primary_group_is_of_the_entry_s_own_domain() {
        let mut entry = Entry::default();
        assert_eq!(Sid::of_primary_group(&entry), None);
        let own = [1, 2, 0, 0, 0, 0, 0, 5, 21, 0, 0, 0, 0x51, 4, 0, 0];
        entry
            .attributes
            .insert("objectsid".to_owned(), vec![own.to_vec()]);
        entry
            .attributes
            .insert("primarygroupid".to_owned(), vec![b"513".to_vec()]);
        let group = Sid::of_primary_group(&entry);
        assert_eq!(
            group.as_ref().map(Sid::dn).as_deref(),
            Some("<SID=01020000000000051500000001020000>")
        );
        assert_eq!(group.and_then(|group| group.relative_id()), Some(513));
    }

    #[test]
    fn the_group_s_dn_is_escaped_in_the_filter() {
        assert_eq!(
            in_chain("cn=Admins (all),dc=acme").to_string(),
            "(memberOf:1.2.840.113556.1.4.1941:=cn=Admins \\28all\\29,dc=acme)"
        );
    }
}
