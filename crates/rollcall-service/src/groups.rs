//! The group of a role rule: does it exist, and how does it name its members?
//!
//! A group that is gone counts as empty; a group that may not be read leaves its rule without an answer. LDAP tells the
//! two apart only by the entries around the group.

use rollcall_core::dialect::Dialect;
use rollcall_core::dn::Dn;
use rollcall_core::entry::Entry;
use rollcall_ldap::{LdapDirectory, LdapError, ReadRequest, is_group_class};
use tokio::time::Instant;

/// The attributes that name members by DN.
pub(crate) const BY_DN: [&str; 2] = ["member", "uniqueMember"];
/// The attribute that names members by their `uid` (RFC 2307).
pub(crate) const BY_UID: &str = "memberUid";

pub(crate) const NOT_READABLE: &str =
    "the service account can see neither the group nor the entries above it";
pub(crate) const NO_MEMBERS_SHOWN: &str = "the service account may not read the group's members";
pub(crate) const NOT_EXPANDED: &str =
    "the group names its members by a search, and the server shows none of them; use a filter instead";
pub(crate) const TREE_NOT_READABLE: &str = "the tree that holds the group cannot be searched";

/// Why a rule has no answer, for the tenant's admin.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Unevaluated(pub(crate) String);

impl From<&str> for Unevaluated {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<LdapError> for Unevaluated {
    fn from(error: LdapError) -> Self {
        Self(error.to_string())
    }
}

/// The group of a rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Group {
    /// It does not exist, but the entries around it do: it has no members.
    Gone,
    /// It names its members.
    Lists {
        /// Groups of its class can be found by a search.
        found_by_class: bool,
        /// Groups of its class must have a member. So one without members hides them.
        never_empty: bool,
    },
    /// Its members are the result of a search, which the server may show as members.
    Computed,
}

/// Looks at a group.
pub(crate) async fn look_at(
    directory: &LdapDirectory,
    dialect: Dialect,
    group: &str,
    naming_contexts: &[String],
    deadline: Instant,
) -> Result<Group, Unevaluated> {
    if let Some(entry) = read(directory, group, &["objectClass", "memberURL"], deadline).await? {
        return Ok(kind(dialect, &entry));
    }
    let (parent, naming_context) = (parent(group), naming_context_of(group, naming_contexts));
    for above in parent
        .iter()
        .chain(naming_context)
        .filter(|above| !above.is_empty())
    {
        if read(directory, above, &["1.1"], deadline).await?.is_some() {
            return Ok(Group::Gone);
        }
    }
    Err(NOT_READABLE.into())
}

fn kind(dialect: Dialect, entry: &Entry) -> Group {
    let is = |class: &str| {
        entry
            .texts("objectClass")
            .any(|name| name.eq_ignore_ascii_case(class))
    };
    if dialect.row().has_computed_groups && (is("groupOfURLs") || !entry.values("memberURL").is_empty()) {
        return Group::Computed;
    }
    Group::Lists {
        found_by_class: entry.texts("objectClass").any(is_group_class),
        never_empty: dialect.row().keeps_a_member && (is("groupOfNames") || is("groupOfUniqueNames")),
    }
}

async fn read(
    directory: &LdapDirectory,
    dn: &str,
    attributes: &[&str],
    deadline: Instant,
) -> Result<Option<Entry>, LdapError> {
    let request = ReadRequest {
        dn: dn.to_owned(),
        filter: "(objectClass=*)".to_owned(),
        attributes: attributes.iter().map(|name| (*name).to_owned()).collect(),
    };
    directory.read_entry(&request, deadline).await
}

/// The tree that holds an entry: the innermost that does.
pub(crate) fn naming_context_of<'a>(dn: &str, naming_contexts: &'a [String]) -> Option<&'a String> {
    let dn = Dn::parse(dn).ok()?;
    let holds = |naming_context: &&String| {
        Dn::parse(naming_context).is_ok_and(|naming_context| dn.is_within(&naming_context))
    };
    naming_contexts
        .iter()
        .filter(holds)
        .max_by_key(|naming_context| naming_context.len())
}

/// The DN above this one, as it is written. `None` if there is none.
fn parent(dn: &str) -> Option<String> {
    let mut escaped = false;
    let end = dn.char_indices().find(|(_, c)| {
        let ends = !escaped && (*c == ',' || *c == ';');
        escaped = !escaped && *c == '\\';
        ends
    });
    let rest = dn[end?.0 + 1..].trim_start();
    (!rest.is_empty()).then(|| rest.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entry_above_is_behind_the_first_comma_that_is_none_of_a_value() {
        assert_eq!(parent("cn=a, ou=b,dc=c").as_deref(), Some("ou=b,dc=c"));
        assert_eq!(parent(r"cn=a\, b\\,dc=c").as_deref(), Some("dc=c"));
        assert_eq!(parent("dc=c"), None);
    }

    #[test]
    fn the_innermost_tree_holds_an_entry() {
        let naming_contexts = ["dc=c", "ou=b,dc=c", "dc=d"].map(str::to_owned);
        let of = |dn: &str| naming_context_of(dn, &naming_contexts).map(String::as_str);
        assert_eq!(of("cn=a,OU=b, dc=c"), Some("ou=b,dc=c"));
        assert_eq!(of("cn=a,dc=c"), Some("dc=c"));
        assert_eq!(of("cn=a,dc=x"), None);
    }
}
