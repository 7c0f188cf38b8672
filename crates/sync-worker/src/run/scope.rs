//! One entry against the rules of a sync, asked of the server: is it in scope, and which role has it?

use std::collections::HashSet;
use std::time::Duration;

use rollcall_core::dialect::Dialect;
use rollcall_core::dn::Dn;
use rollcall_core::filter::{Attribute, Filter};
use rollcall_core::user_sync::{RoleCondition, Search, SearchScope, UserSyncSettings};
use rollcall_ldap::{LdapDirectory, LdapError, ReadRequest, ResultCode};
use tokio::time::Instant;

use super::pull::canonical;
use super::roles::in_chain;

/// Most groups that are looked at on the way up from an entry.
const MAX_GROUPS: usize = 2_000;

/// True if one of the searches takes the entry at `dn`.
///
/// # Errors
/// No answer: nothing can be said then.
pub(super) async fn in_scope(
    directory: &LdapDirectory,
    searches: &[Search],
    dn: &str,
    timeout: Duration,
) -> Result<bool, LdapError> {
    let Ok(entry) = Dn::parse(dn) else { return Ok(false) };
    for search in searches {
        let Ok(base) = Dn::parse(&search.base_dn) else { continue };
        let below = match search.scope {
            SearchScope::Base => entry == base,
            SearchScope::OneLevel => entry.is_child_of(&base),
            SearchScope::Subtree => entry == base || entry.is_under(&base),
        };
        if below && matches(directory, dn, &canonical(&search.filter), timeout).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The role of the entry at `dn`.
///
/// # Errors
/// A rule could not be evaluated: the role is not known then.
pub(super) async fn role<'a>(
    directory: &LdapDirectory,
    dialect: Dialect,
    settings: &'a UserSyncSettings,
    contexts: &[String],
    dn: &str,
    timeout: Duration,
) -> Result<&'a str, LdapError> {
    for rule in &settings.role_rules {
        let matched = match &rule.condition {
            RoleCondition::Filter(filter) => matches(directory, dn, &canonical(filter), timeout).await?,
            RoleCondition::GroupDn(group) if dialect == Dialect::ActiveDirectory => {
                matches(directory, dn, &in_chain(group), timeout).await?
            }
            RoleCondition::GroupDn(group) => is_member(directory, contexts, group, dn, timeout).await?,
        };
        if matched {
            return Ok(&rule.role);
        }
    }
    Ok(&settings.role)
}

async fn matches(directory: &LdapDirectory, dn: &str, filter: &str, timeout: Duration) -> Result<bool, LdapError> {
    let request = ReadRequest { dn: dn.to_owned(), filter: filter.to_owned(), attributes: vec!["1.1".to_owned()] };
    Ok(directory.read_entry(&request, Instant::now() + timeout).await?.is_some())
}

/// Goes up from the entry through the groups that name it, level by level.
async fn is_member(
    directory: &LdapDirectory,
    contexts: &[String],
    group: &str,
    dn: &str,
    timeout: Duration,
) -> Result<bool, LdapError> {
    let Ok(wanted) = Dn::parse(group) else { return Ok(false) };
    let mut seen = HashSet::new();
    let mut frontier = vec![dn.to_owned()];
    while let Some(member) = frontier.pop() {
        for parent in groups_of(directory, contexts, &member, timeout).await? {
            let Ok(parent_dn) = Dn::parse(&parent) else { continue };
            if parent_dn == wanted {
                return Ok(true);
            }
            if seen.insert(parent_dn) {
                frontier.push(parent);
            }
        }
        if seen.len() > MAX_GROUPS {
            return Err(LdapError::SearchRefused(ResultCode::ADMIN_LIMIT_EXCEEDED));
        }
    }
    Ok(false)
}

async fn groups_of(
    directory: &LdapDirectory,
    contexts: &[String],
    member: &str,
    timeout: Duration,
) -> Result<Vec<String>, LdapError> {
    let names = ["member", "uniqueMember"].into_iter().filter_map(Attribute::parse);
    let filter = Filter::or(names.map(|name| Filter::equality(name, member.as_bytes())).collect()).to_string();
    let mut groups = Vec::new();
    for context in contexts {
        let deadline = Instant::now() + timeout;
        let attributes = ["1.1".to_owned()];
        let limit = u32::try_from(MAX_GROUPS).unwrap_or(u32::MAX);
        let found = directory.find(context, SearchScope::Subtree, &filter, &attributes, limit, deadline).await?;
        if found.more {
            return Err(LdapError::SearchRefused(ResultCode::SIZE_LIMIT_EXCEEDED));
        }
        groups.extend(found.entries.into_iter().map(|entry| entry.dn));
    }
    Ok(groups)
}
